package run

import (
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/spawn"
)

// Who goes on guarding what the command left behind is this program again, under a name that no command line begins with. A variable
// names the descriptor that it reads what it needs from (the kernel bounds the length of variables, and calls in flight may be many), and the
// front's, with the status that it is to be told, or none.
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

// handOver leaves the processes which outlive the command to one that answers for them: a daemon would fail on the first guarded call
// otherwise. Meanwhile the kernel lets the calls wait. Behind a front, or a relay's host, this process becomes that one itself, and doesn't return.
func (s *supervisor) handOver() error {
	state, err := s.started.HandOver()
	if err != nil {
		return err
	}
	reading, err := memory(state)
	if err != nil {
		return err
	}
	defer unix.Close(reading)
	attr := spawn.ChildAttr{Terminal: none}
	for n := range 3 {
		attr.Pass = append(attr.Pass, spawn.Descriptor{Number: n, FD: spawn.DevNull})
	}
	for _, n := range append(s.started.Descriptors(), s.own, reading) {
		attr.Pass = append(attr.Pass, spawn.Descriptor{Number: n, FD: n})
	}
	all := ^uint64(0)
	attr.Blocked = &all
	path, argv := fmt.Sprintf("/proc/self/fd/%d", s.own), []string{guardName}
	front := s.options.front
	if !front.set {
		_, err = spawn.StartChild(path, argv, []string{fmt.Sprintf("%s=%d %d 0", guardVariable, reading, none)}, &attr)
		return err
	}
	s.session.leave()
	unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) // that was for the command's sake
	attr.Pass = append(attr.Pass, spawn.Descriptor{Number: front.n, FD: front.n})
	return spawn.Exec(path, argv, []string{fmt.Sprintf("%s=%d %d %d", guardVariable, reading, front.n, s.status)}, &attr.ExecAttr)
}

// memory returns a descriptor to read the text from. A pipe might be too small.
func memory(text []byte) (int, error) {
	fd, err := unix.MemfdCreate("safeexec", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL) // a system may insist on the seal
	if err == unix.EINVAL {                                                        // which came with Linux 6.3
		fd, err = unix.MemfdCreate("safeexec", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return none, fmt.Errorf("memfd_create: %w", err)
	}
	if _, err = unix.Pwrite(fd, text, 0); err != nil {
		unix.Close(fd)
		return none, err
	}
	return fd, nil
}

// IsGuard reports whether handOver has started this process.
func IsGuard(args []string) bool { return len(args) == 1 && args[0] == guardName }

// ResumeGuard answers until nobody is left, and returns the exit status: the command's, because the one in front may see this process's end
// before it has heard. Signals that ask a process to end or to stop are for those that it answers for: it ends when they have ended.
func ResumeGuard() int {
	var reading, front, status int
	if _, err := fmt.Sscan(os.Getenv(guardVariable), &reading, &front, &status); err != nil {
		return exitFailed
	}
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM) // which Go's runtime doesn't leave blocked
	signal.Ignore(unix.SIGCHLD)                                         // so the kernel reaps orphans, which this process may have adopted
	reap(none, nil)
	unix.Setsid()
	unix.Chdir("/")
	file := os.NewFile(uintptr(reading), "state")
	if file == nil {
		return exitFailed
	}
	state, err := io.ReadAll(file)
	file.Close()
	if err != nil {
		return exitFailed
	}
	if front != none {
		say(front, sayStays, byte(status))
		unix.Close(front)
	}
	if spawn.ResumeGuard(state) != nil {
		return exitFailed
	}
	return status
}
