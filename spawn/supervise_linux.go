package spawn

import (
	"errors"
	"syscall"

	"github.com/safeexec/safeexec/internal/forkexec"
	"github.com/safeexec/safeexec/internal/notify"
	"github.com/safeexec/safeexec/seccomp"
)

// A ChildAttr says what a program gets that is started as a child, by a process that stays for nothing else than to supervise it.
type ChildAttr struct {
	// ExecAttr means what it means for Exec. Alone and Spare don't matter: a child has a table of its own from the start. With
	// a DeathSignal, the calling thread is the parent (prctl(2), PR_SET_PDEATHSIG): it must live as long as the child.
	ExecAttr

	// Session makes the child the leader of a session of its own (setsid(2)): a terminal's signals don't reach it.
	Session bool

	// Group puts the child into a process group of its own, and Terminal, unless negative, is a descriptor of the controlling
	// terminal whose foreground that group becomes; the child doesn't keep it.
	Group    bool
	Terminal int

	// OwnPID is a variable of the environment whose value becomes the child's PID, like LISTEN_PID (sd_listen_fds(3)).
	OwnPID string
}

// A Child is a program that StartChild has started.
type Child struct {
	PID   int
	guard *notify.Guard
}

// StartChild starts the program at path as Exec would, but as a child, which the caller waits for by wait4(2). The caller's
// table stays as it is. It returns a *StartError when anything was refused: then there is no child.
//
// Under a guard by description the child's guarded calls wait until Serve is called.
//
// It needs Linux 5.9 (close_range(2)) or procfs at /proc.
func StartChild(path string, argv, env []string, attr *ChildAttr) (*Child, error) {
	sys := &syscall.SysProcAttr{Pdeathsig: attr.DeathSignal, Setsid: attr.Session}
	if attr.Group {
		sys.Setpgid = true
		sys.Foreground, sys.Ctty = attr.Terminal >= 0, attr.Terminal
	}
	a := &forkexec.Attr{
		Path: path, Argv: argv, Env: env, Sys: sys,
		NoNewPrivs: attr.NoNewPrivs,
		OwnPID:     attr.OwnPID,
		Mask:       attr.Blocked,
		Ignored:    attr.Ignored,
	}
	t := table{path: path, guard: attr.Guard}
	var err error
	if t.entries, err = execEntries(path, attr.Pass); err != nil {
		return nil, err
	}
	defer t.release()
	child := &Child{}
	err = t.with(0, func() error {
		a.Moves = t.moves
		rulesets, err := addFilters(a, append([]*seccomp.Filter{t.settled.filter}, attr.Filters...)...)
		defer closeNumbers(rulesets)
		if err != nil {
			return err
		}
		var start *StartError
		if child.PID, child.guard, err = t.start(a); err != nil && !errors.As(err, &start) {
			return refused(a, err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return child, nil
}

// Serve answers the calls that a guard by description asks about, until nobody is left to make them, or HandOver is called.
// Without such a guard it does nothing.
func (c *Child) Serve() {
	if c.guard != nil {
		c.guard.Serve()
	}
}

// Descriptors are those that Serve needs open.
func (c *Child) Descriptors() []int {
	if c.guard == nil {
		return nil
	}
	return c.guard.Descriptors()
}

// Left reports whether a process is still under the guard by description, if there is one.
func (c *Child) Left() bool { return c.guard != nil && c.guard.Left() }

// HandOver ends Serve and returns what ResumeGuard needs in another process, which must hold the descriptors under the same
// numbers.
func (c *Child) HandOver() (state []byte, err error) { return c.guard.HandOver() }

// ResumeGuard goes on with another process's guard by description, and returns when nobody is left under it.
func ResumeGuard(state []byte) error {
	guard, err := notify.Resume(state)
	if err == nil {
		guard.Serve()
	}
	return err
}
