package guest

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func init() {
	proctest.Helper("gate", helpGate)
	proctest.Helper("gated", helpGated)
}

// Numbers of the i386 table.
const (
	i386Getpid  = 20
	i386Dup     = 41
	i386Fcntl   = 55
	i386Flock   = 143
	i386Fcntl64 = 221
)

// helpGate fails where 64-bit code can't use the i386 table.
func helpGate([]string) int {
	if int(gate(i386Getpid, 0, 0, 0)) != os.Getpid() {
		return 1
	}
	return 0
}

// helpGated changes descriptor 3 from 64-bit code, with registers whose upper halves aren't zero.
func helpGated([]string) int {
	const garbage = 0xdeadbeef << 32
	f := found{}
	for name, arguments := range map[string][4]uintptr{
		"flags: fcntl F_SETFL":    {i386Fcntl, 3, unix.F_SETFL, unix.O_APPEND},
		"flags: fcntl64 F_SETFL":  {i386Fcntl64, 3, unix.F_SETFL, unix.O_APPEND | unix.O_NONBLOCK},
		"owner: fcntl64 F_SETSIG": {i386Fcntl64, 3, unix.F_SETSIG, uintptr(unix.SIGURG)},
		"lock: flock":             {i386Flock, 3, unix.LOCK_EX | unix.LOCK_NB, 0},
		"dup: dup":                {i386Dup, 3, 0, 0},
		"dup: fcntl F_DUPFD":      {i386Fcntl, 3, unix.F_DUPFD, 10},
	} {
		a := arguments
		result := gate(a[0], a[1]|garbage, a[2]|garbage, a[3])
		var err error
		if errno := -int32(result); errno > 0 {
			err = unix.Errno(errno)
		}
		f.try(name, err)
	}
	return f.print()
}

// TestI386Gate: the i386 table is a gate in every program, and the halves of the registers that the kernel doesn't look at
// make no difference.
func TestI386Gate(t *testing.T) {
	needProgram(t) // for its skip
	gated := func(t *testing.T, options []string) (*shared, *exec.Cmd) {
		s := newShared(t)
		cmd := s.command(t, options, proctest.Program(t))
		cmd.Env = proctest.Environment("gated")
		return s, cmd
	}
	s, cmd := gated(t, nil)
	for what, got := range ask(t, cmd) {
		if got != "ok" {
			t.Errorf("outside of any guard %s: %s", what, got)
		}
	}
	if s.state(t) == s.before {
		t.Error("outside of any guard nothing changes")
	}
	t.Run("--abi native", func(t *testing.T) {
		_, cmd := gated(t, guarding())
		if err := cmd.Run(); !killed(err) {
			t.Fatalf("%v, want SIGSYS", err)
		}
		tell(t, "killed: SIGSYS")
	})
	for _, c := range []struct {
		name    string
		options []string
		dup     string
	}{
		{"guarded by number", guarding("--abi", "compat"), "EPERM"},
		{"guarded by description", guarding("--abi", "compat", "--supervise"), "ok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, cmd := gated(t, c.options)
			ask(t, cmd).came(t, map[string]string{"flags": "EPERM", "owner": "EPERM", "lock": "EPERM", "dup": c.dup})
			if now := s.state(t); now != s.before {
				t.Errorf("the caller's description changed from %s to %s", s.before, now)
			}
		})
	}
}
