package run

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/forkexec"
	"github.com/safeexec/safeexec/internal/inherit"
	"github.com/safeexec/safeexec/internal/search"
	"github.com/safeexec/safeexec/spawn"
)

// Run becomes the command, or reports why it can't, and returns the exit status for that.
func (o *Options) Run(command []string, stderr io.Writer) int {
	if o.session = sessionOf(os.Args[0]); o.session != nil {
		o.front = number{o.session.control, true}
	} else {
		o.front = frontOf(os.Args[0])
	}
	act, err := o.prepare(command, o.quiet(stderr))
	switch {
	case err != nil:
	case o.wanted():
		return o.supervise(act, command, stderr)
	default:
		err = explain(spawn.Exec(act.path, command, act.variables, &act.attr))
	}
	return o.Fail(err, stderr)
}

// Fail reports an error and returns its exit status.
func (o *Options) Fail(err error, stderr io.Writer) int {
	o.report(stderr, err)
	return exitStatus(err)
}

// An act is all that is needed to become the command.
type act struct {
	path      string
	variables []string
	attr      spawn.ExecAttr
	shared    map[int]int // for --restore and --report: the caller's descriptor by the command's, of those that stay shared
}

// prepare refuses and gathers. It says what there is to say, and changes nothing.
func (o *Options) prepare(command []string, stderr io.Writer) (*act, error) {
	if err := o.supervision.check(); err != nil {
		return nil, err
	}
	env := environment{variables: inherit.Environment(), pid: os.Getpid()}
	t, err := o.plan(command, env)
	if errors.Is(err, errNotForUs) {
		fmt.Fprintf(stderr, "safeexec: warning: %v\n", err)
		o.keepListen = false
		t, err = o.plan(command, env)
	}
	if err != nil {
		return nil, err
	}
	inherited, err := o.list(t)
	if err != nil {
		return nil, err
	}
	t.expandAll(inherited, o.statusFD)
	t.warnOfArgs(command, stderr)
	if err := o.handleLeaks(t, inherited, stderr); err != nil {
		return nil, err
	}
	path, err := findCommand(command[0], env)
	if err != nil {
		return nil, err
	}
	if o.verbose {
		o.describe(t, path, inherited, stderr)
	}
	a := o.act(t, path, env)
	if bool(o.restore) || o.reportTo.set {
		a.shared = t.shared()
	}
	return a, o.restrict(&a.attr, stderr)
}

// list returns everything inherited, where an option wants to know it: a plain run doesn't look.
func (o *Options) list(t *table) ([]int, error) {
	option := ""
	switch {
	case t.all:
		option = "--keep all"
	case o.leaks.word == "warn" || o.leaks.word == "error":
		option = "--leaks " + o.leaks.word
	case bool(o.verbose):
		option = "--verbose"
	default:
		return nil, nil
	}
	inherited, err := fdtable.AllInherited()
	if err != nil {
		return nil, about(option, none, fmt.Errorf("the inherited descriptors can't be listed: %w", err))
	}
	return inherited, nil
}

// act fills in what package spawn takes. What may still be needed when the exec fails is spared: standard error and the
// status descriptor.
func (o *Options) act(t *table, path string, env environment) *act {
	ignored, blocked := inherit.Signals()
	a := &act{path: path, variables: env.variables, attr: spawn.ExecAttr{
		Pass:       t.descriptors(),
		NoNewPrivs: bool(o.noNewPrivs),
		Blocked:    &blocked,
		Ignored:    ignored,
		Alone:      true,
	}}
	for _, n := range []number{{2, true}, o.statusFD} {
		if n.set && fdtable.Inherited(n.n) && writable(n.n) {
			a.attr.Spare = append(a.attr.Spare, n.n)
		}
	}
	if o.dieWithParent {
		a.attr.DeathSignal, a.attr.Parent = syscall.SIGKILL, parentAtStart
	}
	if !o.keepListen {
		a.variables = env.withoutListen()
	}
	return a
}

// parentAtStart is who started us: should it be gone when the command is to die with it, nobody would tell.
var parentAtStart = os.Getppid()

// findCommand looks the command up in PATH. Without one it goes by execvp(3)'s default.
func findCommand(name string, env environment) (string, error) {
	if name == "" {
		return "", errors.New("the command's name is empty")
	}
	path, ok := env.get("PATH")
	if !ok {
		path = search.DefaultPath
	}
	found, err := search.Find(name, path)
	if err != nil {
		return "", &spawn.StartError{Path: name, Stage: stageExecute, Number: none, Err: err}
	}
	return found, nil
}

// FailStart reports a command that the kernel didn't take, and returns the exit status for that.
func FailStart(path string, refusal *forkexec.Error, stderr io.Writer) int {
	err := &spawn.StartError{Path: path, Stage: refusal.Stage.String(), Number: refusal.Number, Err: refusal.Errno}
	return new(Options).Fail(explain(err), stderr)
}

// explain says what the kernel's "no such file" means for a program that was there a moment ago.
func explain(err error) error {
	var start *spawn.StartError
	if errors.As(err, &start) && start.Stage == stageExecute && errors.Is(err, unix.ENOENT) {
		start.Err = fmt.Errorf("its interpreter or loader, or a descriptor on the way to it, is missing (%w)", missing{})
	}
	return err
}

// missing is ENOENT that doesn't mean the command: it was found, so the exit status is 126.
type missing struct{}

func (missing) Error() string { return unix.ENOENT.Error() }

func (missing) As(target any) bool {
	errno, ok := target.(*syscall.Errno)
	if ok {
		*errno = unix.ENOENT
	}
	return ok
}

// warnOfArgs: an argument that names a descriptor which was inherited but isn't kept is a mistake as a rule, and the
// command's own message about it ("/dev/fd/63: no such file") doesn't help to find the option.
func (t *table) warnOfArgs(command []string, stderr io.Writer) {
	for _, n := range descriptorsInArgs(command) {
		if !t.holds(n) && fdtable.Inherited(n) {
			fmt.Fprintf(stderr, "safeexec: warning: an argument names descriptor %d, which is closed; --keep-args keeps it\n", n)
		}
	}
}

// describe says what the command gets, from where, and what is closed.
func (o *Options) describe(t *table, path string, inherited []int, stderr io.Writer) {
	say := func(format string, args ...any) { fmt.Fprintf(stderr, "safeexec: "+format+"\n", args...) }
	say("command: %s", printable(path))
	entries := slices.Clone(t.entries)
	for n := range 3 {
		if t.index(n) < 0 {
			entries = append(entries, entry{from: n, to: n, option: "always passed"})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return a.to - b.to })
	for _, e := range entries {
		how := "shared"
		switch {
		case e.private:
			how = "private"
		case e.relayed:
			how = "relayed"
		case o.guard.set:
			how = "under the guard" // which says itself what that means
		}
		switch {
		case e.from == spawn.DevNull:
			say("descriptor %d: /dev/null (%s)", e.to, e.option)
		case e.from == e.to:
			say("descriptor %d: %s, %s (%s)", e.to, how, whatIs(e.from), e.option)
		default:
			say("descriptor %d: %s, the caller's %d, %s (%s)", e.to, how, e.from, whatIs(e.from), e.option)
		}
	}
	var closed []string
	for _, n := range o.leaked(t, inherited) {
		closed = append(closed, fmt.Sprintf("%d (%s)", n, whatIs(n)))
	}
	if len(closed) > 0 {
		say("closed: %s", strings.Join(closed, ", "))
	}
}
