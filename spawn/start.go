package spawn

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/forkexec"
	"github.com/safeexec/safeexec/internal/notify"
	"github.com/safeexec/safeexec/seccomp"
)

// Start starts the command and doesn't wait for it. When it returns nil the program is running, and Wait must be called; otherwise
// there is no process, and the error is of os/exec's types or a *StartError.
func (c *Cmd) Start() (err error) {
	if atomic.SwapInt32(&c.started, 1) != 0 {
		return errors.New("exec: already started")
	}
	defer func() {
		closeAll(c.theirs)
		c.theirs = nil
		if err != nil {
			closeAll(c.ours)
			c.ours, c.copies = nil, nil
		}
	}()
	if err := c.mayStart(); err != nil {
		return err
	}
	entries, err := c.entries()
	if err != nil {
		return err
	}
	env, err := c.environ()
	if err != nil {
		return err
	}
	pid, err := c.launch(entries, env)
	if err != nil {
		return err
	}
	// Nobody has waited for the process, so the number is still its own.
	if c.Process, err = os.FindProcess(pid); err != nil {
		return err
	}
	c.carry()
	c.copying, c.copies = startCopying(c.copies), nil
	c.watch()
	return nil
}

// mayStart refuses what needs no look at the descriptors.
func (c *Cmd) mayStart() error {
	if c.Path == "" && c.Err == nil {
		c.Err = errors.New("exec: no command")
	}
	switch {
	case c.Err != nil:
		return c.Err
	case c.Cancel != nil && c.ctx == nil:
		return errors.New("exec: command with a non-nil Cancel was not created with CommandContext")
	case c.ctx != nil && c.ctx.Err() != nil:
		return c.ctx.Err()
	}
	return nil
}

// environ is Environ with the errors that it passes over.
func (c *Cmd) environ() ([]string, error) {
	given := c.Env
	if given == nil && c.Dir != "" {
		pwd, err := filepath.Abs(c.Dir)
		if err != nil {
			return nil, err
		}
		given = []string{pwd}
	}
	if slices.ContainsFunc(given, func(s string) bool { return strings.IndexByte(s, 0) >= 0 }) {
		return nil, errors.New("exec: environment variable contains NUL")
	}
	return c.Environ(), nil
}

// launch makes the process with the table that the entries describe.
func (c *Cmd) launch(entries []entry, env []string) (pid int, err error) {
	attr := &forkexec.Attr{
		Path: c.Path, Argv: c.Args, Env: env, Dir: c.Dir,
		Sys: c.SysProcAttr, NoNewPrivs: c.NoNewPrivs,
	}
	if len(attr.Argv) == 0 {
		attr.Argv = []string{c.Path}
	}
	t := table{path: c.Path, entries: entries, guard: c.Guard}
	defer t.release()
	err = t.with(0, func() error {
		attr.Moves = t.moves
		rulesets, err := addFilters(attr, t.settled.filter, c.Filter)
		defer closeNumbers(rulesets)
		if err != nil {
			return err
		}
		defer keptSlots.lower(attr)()
		var guard *notify.Guard
		if pid, guard, err = t.start(attr); err != nil {
			return notStarted(attr, err)
		}
		if guard != nil {
			go func() {
				guard.Serve()
				guard.Close()
			}()
		}
		c.relays, t.relays = t.relays, nil
		return nil
	})
	return pid, err
}

// start makes the process, and what answers for it where something is guarded by description: that is for the caller to serve.
func (t *table) start(attr *forkexec.Attr) (pid int, guard *notify.Guard, err error) {
	if t.settled.asking == nil {
		pid, err = forkexec.Start(attr)
		return pid, nil, err
	}
	g := t.guard
	options := notify.Options{Action: g.Action, Learning: g.Learn}
	if g.Observe != nil {
		options.Observe = func(a notify.Attempt) { g.Observe(Attempt(a)) }
	}
	if guard, err = notify.New(t.settled.watched, options); err != nil {
		return 0, nil, &StartError{Path: t.path, Stage: stageGuard, Number: -1, Err: err}
	}
	var listener int
	attr.Listener = &listener
	attr.Asking = &forkexec.Filter{Program: t.settled.asking.Instructions(), Flags: unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW}
	if pid, err = forkexec.Start(attr); err != nil {
		guard.Close()
		return 0, nil, err
	}
	guard.Listen(listener)
	return pid, guard, nil
}

// addFilters puts filters, those that aren't nil, and their Landlock domains into an attr. The rulesets are for the caller to
// close, also beside an error.
func addFilters(a *forkexec.Attr, filters ...*seccomp.Filter) (rulesets []int, err error) {
	for _, f := range filters {
		if f == nil {
			continue
		}
		ruleset, err := f.Ruleset()
		if err != nil {
			return rulesets, &StartError{Path: a.Path, Stage: forkexec.StageLandlock.String(), Number: -1, Err: err}
		}
		if ruleset >= 0 {
			rulesets = append(rulesets, ruleset)
			a.Landlock = append(a.Landlock, ruleset)
		}
		// The flag keeps kernels before 5.16 from turning on costly mitigations for whoever has a filter.
		a.Filters = append(a.Filters, forkexec.Filter{Program: f.Instructions(), Flags: f.Flags()})
	}
	return rulesets, nil
}

func closeNumbers(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// notStarted is os/exec's error, bare, where the program itself was at fault or the start was asked for wrongly: programs
// assert its type and ask os.IsNotExist, which looks no deeper. Else it is a *StartError.
func notStarted(a *forkexec.Attr, err error) error {
	var at *forkexec.Error
	var start *StartError
	switch {
	case errors.As(err, &start):
		return start
	case !errors.As(err, &at):
		return &os.PathError{Op: "fork/exec", Path: a.Path, Err: err}
	}
	if at.Stage == forkexec.StageExec {
		return &os.PathError{Op: "fork/exec", Path: a.Path, Err: syscall.Errno(at.Errno)}
	}
	return refused(a, err)
}
