package guest

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/probe"
	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/ofd"
)

// helpStarts tells what it inherited, and what it may do to its standard input.
func helpStarts([]string) int {
	f := found{}
	var open []string
	for fd := range 1000 {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			open = append(open, fmt.Sprint(fd))
		}
	}
	f["table"] = strings.Join(open, " ")
	f.try("flags", second(unix.FcntlInt(0, unix.F_SETFL, unix.O_NONBLOCK)))
	return f.print()
}

func present(t *testing.T, name string) bool {
	t.Helper()
	for _, f := range probe.All() {
		if f.Name == name {
			return f.Present
		}
	}
	t.Fatalf("no feature is called %s", name)
	return false
}

// TestStarts: what falls back on older kernels does the same there.
func TestStarts(t *testing.T) {
	safeexec := binary(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	run := func(t *testing.T, options ...string) found {
		cmd := exec.Command(safeexec, slices.Concat(options, []string{"--", proctest.Program(t)})...)
		cmd.Env = proctest.Environment("starts")
		cmd.Stdin = r
		for range 500 { // leaked: os/exec takes the close-on-exec flag off
			cmd.ExtraFiles = append(cmd.ExtraFiles, w)
		}
		return ask(t, cmd)
	}
	t.Run("500 leaked descriptors are closed", func(t *testing.T) {
		if got := run(t)["table"]; got != "0 1 2" {
			t.Fatalf("the command has %s", got)
		}
		if present(t, "close-range-cloexec") {
			tell(t, "close_range")
		} else {
			tell(t, "fallback: by way of /proc")
		}
	})
	t.Run("flags denied", func(t *testing.T) {
		if got := run(t, "--deny", "flags"); got["flags"] != "EPERM" || got["table"] != "0 1 2" {
			t.Fatal(got)
		}
		tell(t, "refused: EPERM")
	})
	t.Run("a private pipe keeps the caller's flags", func(t *testing.T) {
		got := run(t, "--private", "0")
		flags, err := unix.FcntlInt(r.Fd(), unix.F_GETFL, 0)
		if got["flags"] != "ok" || err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Fatalf("%v; the caller's flags are %#x, %v", got, flags, err)
		}
	})
	t.Run("one description under two numbers is known", func(t *testing.T) {
		again, err := unix.FcntlInt(r.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(again)
		one, err := ofd.Same(int(r.Fd()), again)
		other, errOther := ofd.Same(int(r.Fd()), int(w.Fd()))
		if err != nil || errOther != nil || !one || other {
			t.Fatalf("%v %v, %v %v", one, err, other, errOther)
		}
		if present(t, "f-dupfd-query") {
			tell(t, "F_DUPFD_QUERY")
		} else {
			tell(t, "fallback: kcmp")
		}
	})
}
