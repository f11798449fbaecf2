package command

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

// testNoProc: without /proc close_range does everything that doesn't need a list; without both nothing starts.
func (c *caller) testNoProc(t *testing.T) {
	proctest.NeedRoot(t)
	for _, place := range []struct{ name, script string }{
		{"unmounted", "umount -l /proc"},
		{"tmpfs in its place", "mount -t tmpfs none /proc"},
		{"a forged one", `mount -t tmpfs none /proc; mkdir -p /proc/self/fd /proc/thread-self
			printf 'Name:\tx\nFDSize:\t8\n' | tee /proc/self/status >/proc/thread-self/status`},
	} {
		// The table is shown from outside: a second /proc, mounted elsewhere.
		run := func(command string) result {
			return c.bash(t, `mkdir -p proc; exec unshare -m bash -c 'mount -t proc none proc; `+place.script+`
				exec 3<a 4<b 9<c; `+command+`'`)
		}
		const show = `bash -c "exec 2>/dev/null; cd proc/\$\$/fd && stat -c %N * || true"`
		t.Run(place.name, func(t *testing.T) {
			for _, tt := range []struct{ options, want string }{{"", "0 1 2"}, {"-k 3", "0 1 2 3:a"}, {"-k 3:4,4:3", "0 1 2 3:b 4:a"}, {"--close 2 -k 9:30", "0 1 2 30:c"}} {
				r := run("exec $safeexec " + tt.options + " -- " + show)
				if got := summary(r.stdout); r.status != 0 || got != tt.want {
					t.Errorf("%q: status %d, %q, want %q; stderr %q", tt.options, r.status, got, tt.want, r.stderr)
				}
			}
			for _, tt := range []struct{ prefix, options, want string }{
				{"$filter close_range=ENOSYS", "", "/proc"},
				{"$filter close_range=EPERM", "-k 3", "/proc"},
				{"$filter close_range=EPERM", "-k 3:4", "/proc"},
				{"$filter close_range=ENOSYS", "--close 2", "/proc"},
				{"$filter close_range=ENOSYS", "-k 3:2", "/proc"},
				{"", "--keep all", "--keep all: the inherited descriptors can"},
				{"", "--leaks error", "--leaks error: the inherited descriptors can"},
				{"", "--leaks warn", "--leaks warn: the inherited descriptors can"},
			} {
				c.refused(t, run("exec "+tt.prefix+" $safeexec "+tt.options+" touch ran"), 125, tt.want)
			}
		})
	}
}

// summary turns stat's "'3' -> '/dir/a'" into "3:a", and leaves out where 0 to 2 lead.
func summary(text string) string {
	var held []string
	for line := range strings.Lines(text) {
		number, target, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(line), "'", ""), " -> ")
		if len(number) > 1 || number > "2" {
			number += ":" + target[strings.LastIndexByte(target, '/')+1:]
		}
		held = append(held, number)
	}
	return strings.Join(held, " ")
}

// testFullTable: as many descriptors as the hard limit allows.
func (c *caller) testFullTable(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	full := min(limit.Max, 20000)
	fill := fmt.Sprintf(`exec <in >out 2>err; ulimit -n %d; exec %%s $python -c 'import os, sys
f = os.open("a", os.O_RDONLY); os.set_inheritable(f, True)
try:
    while True: os.set_inheritable(os.dup(f), True)
except OSError: pass
os.execv(sys.argv[1], sys.argv[1:])' `, full) // safeexec needs no libraries, which could not be opened
	for _, branch := range branches[:4] {
		t.Run(branch.name, func(t *testing.T) {
			for _, tt := range []struct{ options, want string }{
				{"", standard},
				{"-k 17", standard + ", 17 a"},
				{"--close 0,2", "0 null, 1 out, 2 null"},
				{"-k 30:3,3:30", standard + ", 3 a, 30 a"},
				{fmt.Sprintf("-k %d", full-1), fmt.Sprintf("%s, %d a", standard, full-1)},
			} {
				r := c.bash(t, fmt.Sprintf(fill, branch.prefix)+branch.safeexec+" "+tt.options+" -- $table")
				if r.status != 0 || r.report != tt.want {
					t.Errorf("%q: status %d, table %q, want %q", tt.options, r.status, r.report, tt.want)
				}
			}
		})
	}
}

// testFailBefore: what safeexec asks of the kernel before there is a task.
func (c *caller) testFailBefore(t *testing.T) {
	proctest.NeedTool(t, "strace")
	for _, tt := range []struct{ name, inject, options, want string }{
		{"no thread", "clone3,clone:error=EAGAIN:when=1+", "--leaks close --keep 3", ""},
		{"the list", "openat:error=EMFILE:when=1+", "--keep all", "--keep all: the inherited descriptors can't be listed"},
		{"the list", "openat:error=EACCES:when=1+", "--leaks error", "--leaks error: the inherited descriptors can't be listed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := c.bash(t, "exec 3<a; exec strace -f -qqq -e signal=none -o trace --inject="+tt.inject+" $safeexec "+tt.options+" -- touch ran")
			if c.ran() || r.status == 0 {
				t.Errorf("status %d, stderr %q", r.status, r.stderr)
			}
			if tt.want != "" {
				c.refused(t, r, 125, tt.want)
			}
		})
	}
}
