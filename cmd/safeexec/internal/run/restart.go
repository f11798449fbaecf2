package run

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/inherit"
	"github.com/safeexec/safeexec/spawn"
)

// A restart starts this program again, as the supervisor: with the same arguments, and with all that this process has inherited. The
// two talk over a socket; each message is two bytes. The name that the other one is started by says what it has to know, and nothing
// that the user couldn't do without us.
type restart struct {
	control int // our end of the socket
	number  int // theirs, as they have it
	theirs  int
	taken   map[int]bool
	given   map[int]int
	next    int
	pass    []spawn.Descriptor
	session bool // it leads a session of its own
}

func newRestart() (*restart, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	inherited, err := fdtable.AllInherited()
	if err != nil {
		return nil, fmt.Errorf("the inherited descriptors can't be listed: %w", err)
	}
	r := &restart{control: ends[0], theirs: ends[1], taken: map[int]bool{}, given: map[int]int{}, next: 3}
	for _, fd := range inherited {
		r.taken[fd] = true
		r.pass = append(r.pass, spawn.Descriptor{Number: fd, FD: fd})
	}
	r.number = r.give(r.theirs, spawn.Relayed)
	return r, nil
}

// give passes something besides, under a number that is free.
func (r *restart) give(fd int, mode spawn.Mode) int {
	if number, ok := r.given[fd]; ok {
		return number
	}
	for r.taken[r.next] {
		r.next++
	}
	r.taken[r.next], r.given[fd] = true, r.next
	r.pass = append(r.pass, spawn.Descriptor{Number: r.next, FD: fd, Mode: mode})
	return r.next
}

// start returns the PID of the other one, which is to do what the act is about.
func (r *restart) start(name string, o *Options, a *act) (int, error) {
	defer unix.Close(r.theirs)
	attr := &spawn.ChildAttr{Session: r.session, Terminal: none}
	attr.Pass, attr.Blocked, attr.Ignored, attr.DeathSignal = r.pass, a.attr.Blocked, a.attr.Ignored, a.attr.DeathSignal
	if o.keepListen {
		attr.OwnPID = "LISTEN_PID"
	}
	argv := append([]string{name}, os.Args[1:]...)
	child, err := spawn.StartChild("/proc/self/exe", argv, inherit.Environment(), attr)
	if err != nil {
		var start *spawn.StartError
		if errors.As(err, &start) {
			err = start.Err // there is a command, but it isn't the one that couldn't be started
		}
		return 0, fmt.Errorf("start the supervisor, /proc/self/exe: %w", err)
	}
	return child.PID, nil
}

// What the two tell each other.
const (
	sayStays = 'g' // to the one in front: with which status the command has ended; the supervisor goes on guarding

	// These are a session's alone.
	sayStarted    = 'r' // to the host: the command runs
	sayStopped    = 's' // and by which signal it was stopped
	sayEnded      = 'e' // what it wrote has to be carried before the terminal hangs up, which the leader's end does
	sayForeground = 'f' // to the session: the caller's terminal is ours; a SIGCONT follows
	sayBackground = 'b'
	sayDone       = 'k' // all has been carried
)

// say sends a message. Whether anybody is there to get it shows elsewhere.
func say(control int, what, value byte) {
	unix.SendmsgN(control, []byte{what, value}, nil, nil, unix.MSG_NOSIGNAL)
}

// hear waits for the next message; ok is false when the other one is gone.
func hear(control int) (message [2]byte, ok bool) {
	for {
		n, _, err := unix.Recvfrom(control, message[:], unix.MSG_WAITALL)
		if err != unix.EINTR {
			return message, err == nil && n == len(message)
		}
	}
}
