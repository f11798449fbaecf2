package signals

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Helper("catch", catch)
	proctest.Helper("fault", fault)
	proctest.Main(m)
}

// catch says what comes in, and passes it on where it is told to whom.
func catch(args []string) int {
	runtime.LockOSThread()
	q, err := Catch()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if _, err := Catch(); err == nil {
		fmt.Println("caught twice")
		return 1
	}
	unix.Kill(os.Getpid(), unix.SIGUSR2) // one of our own doesn't count
	runtime.GC()                         // the runtime sends its threads SIGURG
	fmt.Println("ready")
	for {
		info, err := q.Next()
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(info.Signo, info.Code, info.PID, value(&info), info.FromKernel())
		if len(args) > 0 {
			var pid int
			fmt.Sscan(args[0], &pid)
			if err := info.Send(pid); err != nil {
				fmt.Println(err)
			}
		}
		if info.Signal() == unix.SIGTERM {
			return 0
		}
	}
}

// fault makes a mistake of its own after signals have been taken.
func fault([]string) int {
	if _, err := Catch(); err != nil {
		return 1
	}
	defer func() { fmt.Println("recovered:", recover()) }()
	var nowhere *int
	*nowhere = 1
	return 1
}

// value is what sigqueue(3) sends along: it follows PID and UID.
func value(i *Info) int { return int(*(*uint64)(unsafe.Pointer(&i.rest[0]))) }

type catcher struct {
	*exec.Cmd
	lines *bufio.Reader
}

func start(t *testing.T, args ...string) catcher {
	t.Helper()
	cmd := proctest.Command(t, "catch", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); io.Copy(io.Discard, out); cmd.Wait() })
	c := catcher{cmd, bufio.NewReader(out)}
	if line := c.line(t); line != "ready" {
		t.Fatal(line)
	}
	return c
}

func (c catcher) line(t *testing.T) string {
	t.Helper()
	line, err := c.lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestEverySignal(t *testing.T) {
	c := start(t)
	for sig := unix.Signal(1); sig <= 64; sig++ {
		if sig == unix.SIGKILL || sig == unix.SIGSTOP {
			continue
		}
		if err := unix.Kill(c.Process.Pid, sig); err != nil {
			t.Fatal(err)
		}
		if got, want := c.line(t), fmt.Sprint(int(sig), 0, os.Getpid(), 0, false); got != want {
			t.Errorf("signal %d: got %q, want %q", sig, got, want)
		}
		if sig == unix.SIGTERM {
			c = start(t)
		}
	}
}

// Real-time signals are queued, each with its value, and passed on so.
func TestValues(t *testing.T) {
	last := start(t)
	first := start(t, fmt.Sprint(last.Process.Pid))
	for n := 1; n <= 3; n++ {
		sig := unix.Signal(40)
		info := Info{Signo: int32(sig), Code: codeQueue, PID: int32(os.Getpid()), UID: uint32(os.Getuid())}
		*(*uint64)(unsafe.Pointer(&info.rest[0])) = uint64(n)
		if err := info.Send(first.Process.Pid); err != nil {
			t.Fatal(err)
		}
	}
	var want, got, passed []string
	for n := 1; n <= 3; n++ {
		want = append(want, fmt.Sprint(40, codeQueue, os.Getpid(), n, false))
		got, passed = append(got, first.line(t)), append(passed, last.line(t))
	}
	// Two threads may have taken two of them at once.
	slices.Sort(got)
	slices.Sort(passed)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !slices.Equal(passed, want) {
		t.Errorf("passed on: got %q, want %q", passed, want)
	}
}

// What the process itself does wrong still reaches the runtime.
func TestFault(t *testing.T) {
	out, err := proctest.Command(t, "fault").CombinedOutput()
	if !strings.Contains(string(out), "recovered: runtime error: invalid memory address") {
		t.Errorf("%v: %s", err, out)
	}
}
