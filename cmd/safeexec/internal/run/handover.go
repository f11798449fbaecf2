package run

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/spawn"
)

// Who goes on guarding what the command left behind is this program again, under a name that no command line begins with. A variable
// names the descriptor that it reads what it needs from: the kernel bounds the length of variables, and calls in flight may be many.
const (
	guardName     = "safeexec (guarding)"
	guardVariable = "SAFEEXEC_GUARD"
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
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	reading, writing := ends[0], os.NewFile(uintptr(ends[1]), "state")
	defer writing.Close()
	attr := spawn.ChildAttr{Terminal: none}
	for n := range 3 {
		attr.Pass = append(attr.Pass, spawn.Descriptor{Number: n, FD: spawn.DevNull})
	}
	for _, n := range append(s.started.Descriptors(), s.own, reading) {
		attr.Pass = append(attr.Pass, spawn.Descriptor{Number: n, FD: n})
	}
	blocked := uint64(0)
	attr.Blocked = &blocked
	variables := []string{guardVariable + "=" + strconv.Itoa(reading)}
	_, err = spawn.StartChild(fmt.Sprintf("/proc/self/fd/%d", s.own), []string{guardName}, variables, &attr)
	unix.Close(reading)
	if err == nil {
		_, err = writing.Write(state)
	}
	return err
}

// IsGuard reports whether handOver has started this process.
func IsGuard(args []string) bool { return len(args) == 1 && args[0] == guardName }

// ResumeGuard answers until nobody is left, and returns the exit status. Signals that ask a process to end are for those that it
// answers for: it ends when they have ended.
func ResumeGuard() int {
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM)
	unix.Setsid()
	unix.Chdir("/")
	from, err := strconv.Atoi(os.Getenv(guardVariable))
	if err != nil {
		return exitFailed
	}
	reading := os.NewFile(uintptr(from), "state")
	if reading == nil {
		return exitFailed
	}
	state, err := io.ReadAll(reading)
	reading.Close()
	if err != nil || spawn.ResumeGuard(state) != nil {
		return exitFailed
	}
	return 0
}
