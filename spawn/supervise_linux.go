package spawn

import (
	"syscall"

	"github.com/safeexec/safeexec/internal/forkexec"
	"github.com/safeexec/safeexec/seccomp"
)

// A ChildAttr says what a program gets that is started as a child, by a process that stays for nothing else than to supervise it.
type ChildAttr struct {
	// ExecAttr means what it means for Exec. Alone and Spare don't matter: a child has a table of its own from the start. With
	// a DeathSignal, the calling thread is the parent (prctl(2), PR_SET_PDEATHSIG): it must live as long as the child.
	ExecAttr

	// Group puts the child into a process group of its own, and Terminal, unless negative, is a descriptor of the controlling
	// terminal whose foreground that group becomes; the child doesn't keep it.
	Group    bool
	Terminal int

	// OwnPID is a variable of the environment whose value becomes the child's PID, like LISTEN_PID (sd_listen_fds(3)).
	OwnPID string
}

// StartChild starts the program at path as Exec would, but as a child, which the caller waits for by wait4(2), and returns
// its PID. The caller's table stays as it is. It returns a *StartError when anything was refused: then there is no child.
//
// It needs Linux 5.9 (close_range(2)) or procfs at /proc.
func StartChild(path string, argv, env []string, attr *ChildAttr) (pid int, err error) {
	sys := &syscall.SysProcAttr{Pdeathsig: attr.DeathSignal}
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
	if t.entries, err = execEntries(path, attr.Pass); err != nil {
		return 0, err
	}
	defer t.release()
	err = t.with(0, func() error {
		a.Moves = t.moves
		rulesets, err := addFilters(a, append([]*seccomp.Filter{t.filter}, attr.Filters...)...)
		defer closeNumbers(rulesets)
		if err != nil {
			return err
		}
		if pid, err = forkexec.Start(a); err != nil {
			return refused(a, err)
		}
		return nil
	})
	return pid, err
}
