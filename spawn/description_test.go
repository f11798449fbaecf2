package spawn_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/seccomp"
	"github.com/safeexec/safeexec/spawn"
)

// change sets a flag on descriptor 3, on a duplicate of it, and on a description of its own, and says what came of it.
func change([]string) int {
	dup, err := unix.Dup(3)
	if err != nil {
		fmt.Print(err)
		return 1
	}
	var own [2]int
	if err := unix.Pipe(own[:]); err != nil {
		fmt.Print(err)
		return 1
	}
	for _, fd := range []int{3, dup, own[0]} {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK)
		fmt.Print(err, "; ")
	}
	return 0
}

// shared is a file whose flags a guard has to keep.
func shared(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(t.TempDir() + "/shared")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// noLandlock leaves out of a guard what the kernel hasn't got.
var noLandlock = seccomp.LandlockABI() == 0

// attempts collects what a guard observes.
type attempts struct {
	mu  sync.Mutex
	all []spawn.Attempt
}

func (a *attempts) observe(one spawn.Attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, one)
}

func (a *attempts) results() (list []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range a.all {
		list = append(list, fmt.Sprintf("%d %v %s", one.Number, one.Operations, one.Result))
	}
	return list
}

// changing is a command that tries to change the file's flags under a guard.
func changing(t *testing.T, f *os.File, guard *spawn.Guard) (cmd *spawn.Cmd, out *bytes.Buffer) {
	t.Helper()
	out = &bytes.Buffer{}
	cmd = spawn.Command(proctest.Program(t))
	cmd.Env = proctest.Environment("change")
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.Pass = []spawn.Descriptor{{Number: 3, File: f}}
	guard.AllowSteal = noLandlock
	cmd.Guard = guard
	return cmd, out
}

func isNonblocking(t *testing.T, f *os.File) bool {
	t.Helper()
	conn, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var flags int
	conn.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0) })
	if err != nil {
		t.Fatal(err)
	}
	return flags&unix.O_NONBLOCK != 0
}

// TestByDescription: this process is the supervisor.
func TestByDescription(t *testing.T) {
	const refused, done = "operation not permitted; operation not permitted; <nil>; ", "<nil>; <nil>; <nil>; "
	for _, test := range []struct {
		name    string
		guard   spawn.Guard
		out     string
		result  string
		changed bool
	}{
		{"refused", spawn.Guard{}, refused, "3 flags refused with EPERM", false},
		{
			"named",
			spawn.Guard{Operations: seccomp.Flags, Action: seccomp.Errno(unix.EBUSY)},
			"device or resource busy; device or resource busy; <nil>; ", "3 flags refused with EBUSY", false,
		},
		{"pretended", spawn.Guard{Action: seccomp.Pretend}, done, "3 flags pretended", false},
		{"another operation", spawn.Guard{Operations: seccomp.Owner | seccomp.Lock}, done, "", true},
		{"learned", spawn.Guard{Learn: true}, done, "3 flags carried out", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := shared(t)
			var seen attempts
			test.guard.ByDescription, test.guard.Observe = true, seen.observe
			cmd, out := changing(t, f, &test.guard)
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			if out.String() != test.out || isNonblocking(t, f) != test.changed {
				t.Errorf("%q, O_NONBLOCK %v", out, isNonblocking(t, f))
			}
			want := []string{test.result, test.result}
			if test.result == "" {
				want = nil
			}
			if got := seen.results(); !slices.Equal(got, want) {
				t.Errorf("observed %q, want %q", got, want)
			}
		})
	}
}

// TestByDescriptionEnds: commands, and starts that fail, leave neither descriptors nor goroutines behind; and what one command leaves behind
// stays guarded.
func TestByDescriptionEnds(t *testing.T) {
	f := shared(t)
	run := func() {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				cmd, out := changing(t, f, &spawn.Guard{ByDescription: true})
				if err := cmd.Run(); err != nil || !strings.HasPrefix(out.String(), "operation not permitted") {
					t.Errorf("%v, %q", err, out)
				}
				cmd, _ = changing(t, f, &spawn.Guard{ByDescription: true})
				cmd.Path = "/no/such/program"
				if err := cmd.Run(); !os.IsNotExist(err) {
					t.Errorf("a program that doesn't exist: %v", err)
				}
			})
		}
		all.Wait()
	}
	run()
	fds, routines := settled(t, 0, 0)
	for range 3 {
		run()
	}
	if now, running := settled(t, fds, routines); now > fds || running > routines {
		t.Errorf("%d descriptors and %d goroutines instead of %d and %d", now, running, fds, routines)
	}

	dir := t.TempDir()
	cmd := spawn.Command("/bin/sh", "-c", `(while [ ! -e go ]; do sleep 0.02; done; "$0" >tried; mv tried result) >/dev/null 2>&1 &`, proctest.Program(t))
	cmd.Dir, cmd.Env = dir, proctest.Environment("change")
	cmd.Pass = []spawn.Descriptor{{Number: 3, File: f}}
	cmd.Guard = &spawn.Guard{ByDescription: true, AllowSteal: noLandlock}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/go", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	var text []byte
	for i := 0; i < 500 && text == nil; i++ {
		time.Sleep(20 * time.Millisecond)
		text, _ = os.ReadFile(dir + "/result")
	}
	if want := "operation not permitted; operation not permitted; <nil>; "; string(text) != want {
		t.Errorf("what was left behind saw %q, want %q", text, want)
	}
	if now, running := settled(t, fds, routines); now > fds || running > routines || isNonblocking(t, f) {
		t.Errorf("%d descriptors and %d goroutines instead of %d and %d", now, running, fds, routines)
	}
}

// settled counts descriptors and goroutines, when they are down to what is expected or stay as they are.
func settled(t *testing.T, fds, routines int) (int, int) {
	t.Helper()
	var open, running int
	for range 100 {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		open, running = len(entries), runtime.NumGoroutine()
		if open <= fds && running <= routines {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return open, running
}
