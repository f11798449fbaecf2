package run

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/spawn"
)

// Who goes on guarding what the command left behind is this program again, under a name that no command line begins with and with
// what it needs in a variable.
const (
	guardName     = "safeexec (guarding)"
	guardVariable = "SAFEEXEC_GUARD="
)

// own opens this program for handOver: it may be replaced or out of sight by then.
func own() (int, error) {
	fd, err := unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return none, fmt.Errorf("open /proc/self/exe: %w", err)
	}
	return fd, nil
}

// handOver starts the process that answers for the processes which outlive the command: a daemon would fail on the first
// guarded call otherwise. Meanwhile the kernel lets the calls wait.
func (s *supervisor) handOver() error {
	state, err := s.started.HandOver()
	if err != nil {
		return err
	}
	attr := spawn.ChildAttr{Terminal: none}
	for n := range 3 {
		attr.Pass = append(attr.Pass, spawn.Descriptor{Number: n, FD: spawn.DevNull})
	}
	for _, n := range append(s.started.Descriptors(), s.own) {
		attr.Pass = append(attr.Pass, spawn.Descriptor{Number: n, FD: n})
	}
	blocked := uint64(0)
	attr.Blocked = &blocked
	_, err = spawn.StartChild(fmt.Sprintf("/proc/self/fd/%d", s.own), []string{guardName}, []string{guardVariable + string(state)}, &attr)
	return err
}

// IsGuard reports whether handOver has started this process.
func IsGuard(args []string) bool { return len(args) == 1 && args[0] == guardName }

// ResumeGuard answers until nobody is left, and returns the exit status.
func ResumeGuard() int {
	unix.Setsid()
	unix.Chdir("/")
	state := os.Getenv(guardVariable[:len(guardVariable)-1])
	if err := spawn.ResumeGuard([]byte(state)); err != nil {
		return exitFailed
	}
	return 0
}
