package command

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

// What the plainest command lines do before Go's runtime starts must be what all the others do.

// testEarlyCalls: which lines are plain, and that nothing of the runtime shows in those.
func (c *caller) testEarlyCalls(t *testing.T) {
	proctest.NeedTool(t, "strace")
	allowed := []string{"fcntl", "newfstatat", "faccessat2", "prlimit64", "close_range", "dup3", "getppid", "prctl", "execve"}
	call := regexp.MustCompile(`(?m)^(\w+)\(`)
	for _, tt := range []struct {
		line  string
		early bool
	}{
		{"$safeexec true", true},
		{"$safeexec -- true", true},
		{"$safeexec -- /bin/true --keep 9", true},
		{"$safeexec -k 3 true", true},
		{"$safeexec -k3 true", true},
		{"$safeexec -k=3 -- true", true},
		{"$safeexec --keep 3-4 -- true", true},
		{"$safeexec --keep=3,4 -- true", true},
		{"$safeexec -k 3:9,4:0 -k4 -- true", true},
		{"$safeexec -k 0:9,3:1 -- true", true},
		{"$safeexec --nnp -- true", true},
		{"$safeexec --no-new-privs --die-with-parent -- true", true},
		{"$safeexec -- fds", true},
		{"$safeexec -- true /dev/fd /proc/self/fd", true},

		{late + " true", false},
		{"$safeexec fds", false},
		{"$safeexec policy --explain dup", false},
		{"$safeexec doctor 1", false},
		{"$safeexec check", false},
		{"$safeexec -k 9 true", false},
		{"$safeexec -k 3,3 true", false},
		{"$safeexec -k 3:4,4:3 true", false},
		{"$safeexec -k 3:4,4:5 true", false},
		{"$safeexec -k 3:2 true", false},
		{"$safeexec -k all true", false},
		{"$safeexec --close 0 true", false},
		{"$safeexec -- true /dev/fd/3", false},
		{"$safeexec -- true =/proc/self/fd/3", false},
		{"LISTEN_X=1 $safeexec true", false},
		{"$safeexec true <&-", false},
		{"$safeexec true 2>&-", false},
		{"$safeexec no-such-program", false},
		{"ulimit -S -n 9; $safeexec -k 3:9 true", false},
	} {
		before, line, _ := strings.Cut(tt.line, "$safeexec")
		r := c.bash(t, "exec 3<a 4<b; ulimit -S -n 100; ln -sf /bin/true fds; PATH=$PATH:$PWD; "+before+
			"strace -qqq -e signal=none -o trace $safeexec"+line)
		trace, err := os.ReadFile(filepath.Join(c.dir, "trace"))
		if err != nil {
			t.Fatal(err, r.stderr)
		}
		var calls []string
		for _, match := range call.FindAllStringSubmatch(string(trace), -1)[1:] { // but for the execve of safeexec
			if calls = append(calls, match[1]); match[1] == "execve" {
				break
			}
		}
		early := !slices.ContainsFunc(calls, func(name string) bool { return !slices.Contains(allowed, name) })
		if early != tt.early || early && r.status != 0 {
			t.Errorf("%s: early %v, want %v; status %d, stderr %q, calls %v", tt.line, early, tt.early, r.status, r.stderr, calls)
		}
	}
}

// same runs a script with the binary as it is, and with everything done late. It must make no difference.
func (c *caller) same(t *testing.T, script string) result {
	t.Helper()
	early, later := c.bash(t, script), c.bash(t, strings.ReplaceAll(script, "$safeexec", late))
	if early != later {
		a, b := early.String(), later.String()
		from := 0 // where the interesting part begins
		for from < min(len(a), len(b)) && a[from] == b[from] {
			from++
		}
		from = max(from-200, 0)
		t.Errorf("%.300s:\n early ...%.500s\n late  ...%.500s", script, a[from:], b[from:])
	}
	return early
}

// each is a script that runs a line for every one of the words, and says how that ended.
func each(words []string, line func(word string) string) string {
	script := ""
	for i, word := range words {
		script += fmt.Sprintf("( %s ); echo %d: $?\n", line(word), i)
	}
	return script
}

// testEarlyLists: the LIST grammar, which is read in two places.
func (c *caller) testEarlyLists(t *testing.T) {
	const show = ` sh -c 'cd /proc/$$/fd; echo *; readlink *'`
	lists := []string{
		"3", "03", "3,", ",3", "3,,4", "3-", "3:", "-3", ":3", "3-4", "3-4,5", "4-3", "3-9", "3-2147483647", "0-5", "3:4:5", "3-4:7", "3:4-5",
		"2147483647", "2147483648", "4294967299", "18446744073709551619", "000000000000000000000000000003", "3:2147483647", "3:25000", "25000",
		"3:3", "3,3", "3:4", "3:4,4", "3,4:3", "3:7,4:7", "3:0", "3:2", "0:3", "2:7", "3:0,0:9", "1:2", "0,1,2", "3:80,3:81,3", "1:1", "6:1",
		"all", "al", "3@append", "@", "", " 3", "3 ", "+3", "0x3", "3;4", "3=4", "٣", "3:9,4:10,5:11,0:12,2:14",
	}
	words := []string{
		"-k", "--keep", "-k3", "-k=3", "--keep=3", "-k=", "--keep=", "-k ''", "-k3=4", "--keep3", "--kee 3", "-", "--", "-- ''", "''", "-n", "-kk",
		"--nnp=1", "--no-new-privs=", "--die-with-parent=x", "-- --", "-- -k", "--=", "-k3 -k 4 --keep=5", "-k3 --keep 3", "-k 3 ''",
	}
	const open = "exec <in >out 2>err 3<a 4<b 5<c 6>>six; " // what pipes are called differs
	c.same(t, open+each(lists, func(list string) string { return "$safeexec --keep '" + list + "' --" + show })+"cat out err six >report; rm six")
	c.same(t, open+each(words, func(words string) string { return "$safeexec " + words + show })+"cat out err >report")
	c.same(t, open+each(words, func(words string) string { return "$safeexec " + words })+"cat out err >report")
	// More numbers than are taken early.
	for _, n := range []int{60, 61, 62, 64, 65, 200} {
		r := c.same(t, fmt.Sprintf("exec <in >out 2>err; for i in {10..%d}; do eval \"exec $i<a\"; done; exec $safeexec -k 10-%d -- $table", n+9, n+9))
		if strings.Count(r.report, " a") != n {
			t.Errorf("%d descriptors: %q", n, r.report)
		}
	}
}

// statusOfShell: the shell reads its own status. While it waits for somebody who does, it has its signals blocked now and then.
const statusOfShell = `'cat /proc/$$/limits /proc/$$/environ; cat /proc/$$/cmdline; while read -r line; do case $line in Sig[BICP]*|ShdPnd*|NoNew*|Cap*|Seccomp*) echo "$line"; esac; done </proc/$$/status'`

// testEarlyCallers: what the command gets from callers of all kinds.
func (c *caller) testEarlyCallers(t *testing.T) {
	options := []string{"", "-k 3", "-k 80:9", "-k 3:50", "-k 3:0", "--nnp --die-with-parent -k 0:3", "-k 80"}
	for _, before := range []string{
		":", "exec <&-", "exec >&-", "exec 2>&-", "exec <&- >&- 2>&-", "exec <&- 3<&-", "exec <>in >&0 2>&0",
		"ulimit -S -n 40", "ulimit -n 40", "ulimit -n 3", "ulimit -n 0", "ulimit -S -n 2", "ulimit -c 0; ulimit -S -s 1024",
		"trap '' PIPE INT TERM USR2", "exec 80<b; ulimit -S -n 40", "exec 80<b; ulimit -n 40", "umask 0; cd /",
	} {
		c.same(t, each(options, func(options string) string {
			return "exec <in >>out 2>>err 3<a; " + before + "; exec $safeexec " + options + " ls -go --time-style=+ /proc/self/fd"
		})+"sed s:/proc/.*/fd:itself: out err >report; rm out err")
		c.same(t, "exec 3<a; "+before+"; exec $safeexec -k 3 --nnp sh -c "+statusOfShell)
	}
	t.Run("table", func(t *testing.T) { // of a caller without 0, 1 or 2: the whole of it, as it must be
		for _, tt := range []struct{ before, want string }{
			{"<&-", "0 null, 1 out, 2 err, 3 a"}, {">&-", "0 in, 1 null, 2 err, 3 a"}, {"2>&-", "0 in, 1 out, 2 null, 3 a"}, {"<&- >&- 2>&-", "0 null, 1 null, 2 null, 3 a"},
		} {
			if r := c.same(t, "exec <in >out 2>err 3<a; exec "+tt.before+"; exec $safeexec -k 3 -- $table"); r.report != tt.want {
				t.Errorf("%s: %q, want %q", tt.before, r.report, tt.want)
			}
		}
	})
}

// testEarlyEnvironments: where the command is found, and what it gets, in environments of all kinds.
func (c *caller) testEarlyEnvironments(t *testing.T) {
	const prepare = `mkdir -p none bin; : >none/cat; chmod -x none/cat; ln -sf loop loop; ln -sf "$(type -P cat)" bin/cat; ln -sf bin/cat .; exec 2>&1
		printf -v text '%0100000d' 0; `
	commands := []string{"sh -c " + statusOfShell, "cat in", "./cat in", "in", "none/cat", "no-such", "/", ".."}
	for _, environment := range []string{
		"-i", "-i PATH=", "-i PATH=:", "-i PATH=/nowhere", "-i PATH=/nowhere:", "-i PATH=:/bin", "-i PATH=none:/bin", "-i PATH=none", "-i PATH=in:/bin",
		"-i PATH=in", "-i PATH=loop:/bin", "-i PATH=bin", "-i PATH=../${PWD##*/}/bin:/bin", "-i PATH=//bin//", "-i PATH=" + strings.Repeat("x", 300) + ":/bin",
		"-i PATH=" + strings.Repeat("x/", 2040) + ":/bin", "-i PATH=" + strings.Repeat("/", 4092) + ":/bin", "-i PATH=" + strings.Repeat("/", 4087) + "bin:/bin",
		"-i PATH=/bin LISTEN_FDS=1", "-i PATH=/bin LISTENX=1", "-i PATH=/bin A= =B C", "-i APATH=/nowhere PATHS=/nowhere", "GODEBUG=gctrace=1 GOMAXPROCS=1",
		"-i PATH=/bin TEXT=$text",
	} {
		c.same(t, prepare+each(commands, func(command string) string { return "exec env " + environment + " $safeexec " + command }))
	}
}

// testEarlyArguments: odd ones, and many.
func (c *caller) testEarlyArguments(t *testing.T) {
	c.same(t, `exec $safeexec printf '%s.' '' '' ' ' $'\n\xff\x01' -k3 -- ''`)
	c.same(t, `exec $safeexec -k 2 printf '%s.' $(seq 30000)`)
	c.same(t, `exec $safeexec printf '%s.' {1..99}/dev/fd/{1..99} /dev/fd`)
	c.same(t, `exec 9<a; exec $safeexec cat x/dev/fd/9 /dev/fd/9 /proc/self/fd/9`)
	c.same(t, `exec 9<a; exec $safeexec cat /dev/fd/ /proc/self/fd/`)
	for _, words := range []string{"-- fds", "-k2 policy", "-- check --json", "checks"} {
		c.same(t, "exec $safeexec "+words)
	}
	// No arguments at all, not even the program's name, and no environment.
	c.refused(t, c.bash(t, "exec $bare $safeexec"), 125, "no command is given")

	t.Run("too many for the command", func(t *testing.T) {
		// The command's path is longer than safeexec's, so that it has less room for the same argument.
		script := func(safeexec string, size int) string {
			return fmt.Sprintf("ln -sf $safeexec s; ulimit -s 512; printf -v text '%%*s' %d; exec %s %strue \"$text\"",
				size, strings.Replace(safeexec, "$safeexec", "./s", 1), "/bin"+strings.Repeat("/", 2000))
		}
		for _, safeexec := range []string{"$safeexec", late} {
			size := 0 // the largest with which safeexec still starts
			for step := 1 << 17; step > 0; step /= 2 {
				if r := c.bash(t, script(safeexec, size+step)); r.status == 0 || strings.HasPrefix(r.stderr, "safeexec:") {
					size += step
				}
			}
			c.refused(t, c.bash(t, script(safeexec, size)), 126, "argument list too long")
		}
	})
}

// bareHelper executes a program with neither arguments nor an environment.
func bareHelper(args []string) int {
	path, err := unix.BytePtrFromString(args[0])
	if err != nil {
		panic(err)
	}
	var none [1]*byte
	vector := uintptr(unsafe.Pointer(&none))
	_, _, errno := unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(path)), vector, vector)
	panic(errno)
}
