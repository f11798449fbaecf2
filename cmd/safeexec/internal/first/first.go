// Package first runs the plainest command lines before the rest of the program has been initialised.
//
// Most runs are a few --keep, and a command. Packages are initialised by dependency and then by import path (the language's
// specification, Package initialization), so one that needs little is ready before most of what formatting, help and the
// subcommands need. A run that begins here pays for none of that, neither for its initialisation nor for the memory it touches.
//
// Nothing depends on that order but speed. Whatever this package doesn't know, and whatever is wrong, it leaves to package
// run, which does the same with all the options and all the words. Only when the kernel has refused at the very end is there no
// way back: then main reports what stands in Refusal.
//
// The command alone imports it, and it has no tests of its own: a test binary that imports it would become a command. The
// tests of the command line go through here.
package first

import (
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/forkexec"
	"github.com/safeexec/safeexec/internal/inherit"
	"github.com/safeexec/safeexec/internal/poller"
	"github.com/safeexec/safeexec/internal/search"
)

// Refusal, when it isn't nil, is why the kernel didn't take the program at Path. The table has been emptied then.
var (
	Refusal *forkexec.Error
	Path    string
)

// IsSubcommand reports whether the first word of a command line is a subcommand.
func IsSubcommand(word string) bool {
	return word == "fds" || word == "policy" || word == "doctor" || word == "check"
}

func init() {
	if p, ok := read(inherit.Arguments()[1:], inherit.Environment()); ok && p.fits() {
		p.become()
	}
}

// plain is a command line that needs no more than this package knows.
type plain struct {
	moves         []fdtable.Move
	command       []string
	path          string
	env           []string
	noNewPrivs    bool
	dieWithParent bool
}

// read takes the options --keep, --close, --no-new-privs and --die-with-parent, and says no to everything else.
func read(args, env []string) (p *plain, ok bool) {
	if len(args) == 0 || IsSubcommand(args[0]) {
		return nil, false
	}
	p = &plain{env: env}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		name, value, hasValue := strings.Cut(args[0], "=")
		args = args[1:]
		if name == "--" && !hasValue {
			break
		}
		takesValue := name == "--keep" || name == "-k" || name == "--close"
		if takesValue && !hasValue {
			if len(args) == 0 {
				return nil, false
			}
			value, args = args[0], args[1:]
		}
		if hasValue && !takesValue || !p.option(name, value) {
			return nil, false
		}
	}
	p.command = args
	return p, len(args) > 0 && args[0] != "" && !slices.ContainsFunc(args, namesDescriptor) && !slices.ContainsFunc(env, isListen)
}

func (p *plain) option(name, value string) bool {
	switch name {
	case "--keep", "-k", "--close":
		items, err := fdtable.ParseList(value)
		if err != nil {
			return false
		}
		for _, item := range items {
			if item.All || item.Suffix != "" || !p.add(item, name == "--close") {
				return false
			}
		}
	case "--no-new-privs", "--nnp":
		p.noNewPrivs = true
	case "--die-with-parent":
		p.dieWithParent = true
	default:
		return false
	}
	return true
}

// add says no to what isn't inherited, and to a number that is taken.
func (p *plain) add(item fdtable.Item, closed bool) bool {
	if closed && (item.To >= 0 || item.Last > 2) {
		return false
	}
	for n := item.First; n <= item.Last; n++ {
		move := fdtable.Move{From: n, To: n}
		switch {
		case closed:
			move.From = fdtable.Null
		case !fdtable.Inherited(n):
			return false
		case item.To >= 0:
			move.To = item.To
		}
		if p.holds(move.To) {
			return false
		}
		p.moves = append(p.moves, move)
	}
	return true
}

func (p *plain) holds(number int) bool {
	return slices.ContainsFunc(p.moves, func(m fdtable.Move) bool { return m.To == number })
}

// namesDescriptor: package run has something to say about such an argument.
func namesDescriptor(arg string) bool {
	return strings.Contains(arg, "/dev/fd/") || strings.Contains(arg, "/proc/self/fd/")
}

// isListen: variables of socket activation are removed, or kept with their sockets.
func isListen(variable string) bool { return strings.HasPrefix(variable, "LISTEN_") }

// fits completes the plan: the standard descriptors, and the program. It says no when the numbers need more thought, and
// when there is no such program.
func (p *plain) fits() bool {
	if poller.Descriptors() != nil || forkexec.WhyProc() != nil { // closing by /proc takes room in the table
		return false
	}
	for n := range 3 {
		if !p.holds(n) && fdtable.Inherited(n) {
			p.moves = append(p.moves, fdtable.Move{From: n, To: n})
		}
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return false
	}
	for _, m := range p.moves {
		// Standard error must be there for the message, should the exec fail.
		if m.From != m.To && (m.To == 2 || uint64(m.To) >= limit.Cur) {
			return false
		}
	}
	path := search.DefaultPath
	for _, variable := range p.env {
		if value, ok := strings.CutPrefix(variable, "PATH="); ok {
			path = value
			break
		}
	}
	var err error
	p.path, err = search.Find(p.command[0], path)
	return err == nil
}

// become is the act. It returns when the kernel refused.
func (p *plain) become() {
	ignored, blocked := inherit.Signals()
	sys := &syscall.SysProcAttr{}
	attr := &forkexec.Attr{
		Path: p.path, Argv: p.command, Env: p.env, Moves: p.moves, Sys: sys,
		Leave: []int{}, NoNewPrivs: p.noNewPrivs, Mask: &blocked, Ignored: ignored,
	}
	if p.dieWithParent {
		sys.Pdeathsig, attr.Parent = syscall.SIGKILL, syscall.Getppid()
	}
	if refusal, ok := forkexec.Exec(attr).(*forkexec.Error); ok {
		Path, Refusal = p.path, refusal
	}
}
