package run

import (
	"fmt"
	"io"
	"os"

	"github.com/safeexec/safeexec/seccomp"
	"github.com/safeexec/safeexec/spawn"
)

// restrictions are the options that say what the command may not do: --guard, --deny, and what goes with them.
type restrictions struct {
	guard       operations
	guardReopen choice
	guardStdio  choice
	guardSteal  choice
	passing     passing
	deny        operations
	onViolation action
	abi         abi
	filters     files
}

func (r *restrictions) table() []Option {
	r.guard.parse, r.deny.parse = seccomp.ParseGuard, seccomp.ParseDeny
	r.guardReopen.allow = []string{"auto", "never"}
	r.guardStdio.allow = []string{"advisory", "strict", "off"}
	r.guardSteal.allow = []string{"on", "off"}
	return []Option{
		{
			Name: "guard", Value: &r.guard, Bare: "default",
			Usage: "keep operations off the caller's descriptions: --guard alone means flags,owner,lock,seek; --guard=`OPS` names them, also offset and mode",
		},
		{
			Name: "guard-reopen", Value: &r.guardReopen,
			Usage: "`WHEN` a guard makes private what the command can't tell from the shared description: auto (the default) or never",
		},
		{
			Name: "guard-stdio", Value: &r.guardStdio,
			Usage: "how a guard treats those of 0, 1 and 2 that stay shared: `MODE` is advisory (the default), strict, or off",
		},
		{
			Name: "guard-steal", Value: &r.guardSteal,
			Usage: "whether a guard keeps the command from driving other processes, by Landlock: `MODE` is on (the default) or off",
		},
		{
			Name: "fd-passing", Value: &r.passing,
			Usage: "how a guard keeps descriptors from being sent away: `MODE` is tree (the default), no-unix, no-sendmsg, or allow",
		},
		{
			Name: "deny", Value: &r.deny,
			Usage: "refuse operations on every descriptor: `OPS` of dup, pass, steal, flags, owner, lock, seek, mode, wberr, tty",
		},
		{
			Name: "on-violation", Value: &r.onViolation,
			Usage: "what happens on an operation that was named: `ACTION` is errno (EPERM, the default), errno=NAME, pretend, kill, or log",
		},
		{
			Name: "abi", Value: &r.abi,
			Usage: "32-bit programs under a filter: `MODE` is native (the default: they are killed) or compat (the same rules)",
		},
		{
			Name: "seccomp-bpf", Value: &r.filters,
			Usage: "also install the compiled filter in `FILE`, as bwrap --seccomp and setpriv --seccomp-filter take it; repeatable",
		},
	}
}

// restrict fills in what the command is kept from.
func (o *Options) restrict(attr *spawn.ExecAttr, stderr io.Writer) error {
	r := &o.restrictions
	if err := r.alone(); err != nil {
		return err
	}
	switch {
	case r.guard.set:
		attr.Guard = r.spawnGuard()
		if o.verbose {
			r.explain(attr.Guard, stderr)
		}
	case r.deny.set:
		filter, err := seccomp.Compile(r.denial())
		if err != nil {
			return about("--deny "+r.deny.ops.String(), none, err)
		}
		attr.Filters = append(attr.Filters, filter)
	}
	for _, file := range r.filters {
		filter, err := importFilter(file)
		if err != nil {
			return about("--seccomp-bpf "+printable(file), none, err)
		}
		attr.Filters = append(attr.Filters, filter)
	}
	return nil
}

// alone refuses options that say how to guard or deny, where nothing is to be guarded or denied: the user believes that there is.
func (r *restrictions) alone() error {
	for _, option := range []struct {
		name string
		set  bool
		goes bool
		with string
	}{
		{"--guard-reopen", r.guardReopen.word != "", r.guard.set, "no --guard"},
		{"--guard-stdio", r.guardStdio.word != "", r.guard.set, "no --guard"},
		{"--guard-steal", r.guardSteal.word != "", r.guard.set, "no --guard"},
		{"--fd-passing", r.passing.set, r.guard.set, "no --guard"},
		{"--on-violation", r.onViolation.set, r.guard.set || r.deny.set, "no --guard and no --deny"},
		{"--abi", r.abi.set, r.guard.set || r.deny.set, "no --guard and no --deny"},
	} {
		if option.set && !option.goes {
			return about(option.name, none, fmt.Errorf("there is %s that it could go with", option.with))
		}
	}
	return nil
}

func (r *restrictions) spawnGuard() *spawn.Guard {
	g := &spawn.Guard{
		Operations: r.guard.ops,
		Deny:       r.deny.ops,
		KeepShared: r.guardReopen.word == "never",
		AllowSteal: r.guardSteal.word == "off",
		Passing:    r.passing.mode,
		Action:     r.onViolation.action,
		ABI:        r.abi.mode,
	}
	switch r.guardStdio.word {
	case "strict":
		g.Stdio = spawn.StdioStrict
	case "off":
		g.Stdio = spawn.StdioOff
	}
	return g
}

// explain has the guard say what each descriptor gets, and says itself what it doesn't protect from.
func (r *restrictions) explain(g *spawn.Guard, stderr io.Writer) {
	g.Explain = func(number int, gets string) {
		fmt.Fprintf(stderr, "safeexec: guard: descriptor %d: %s\n", number, gets)
	}
	if g.AllowSteal {
		fmt.Fprintln(stderr, "safeexec: guard: advisory against ptrace and pidfd_getfd on other processes (--guard-steal off)")
	}
	if g.Passing == seccomp.PassAllow {
		fmt.Fprintln(stderr, "safeexec: guard: advisory against passing descriptors on (--fd-passing allow)")
	}
}

// denial is the policy of --deny without a guard.
func (r *restrictions) denial() seccomp.Policy {
	return seccomp.Policy{
		Deny: r.deny.ops, Action: r.onViolation.action, ABI: r.abi.mode, Landlock: seccomp.LandlockABI(),
	}
}

func importFilter(file string) (*seccomp.Filter, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return seccomp.Import(raw)
}

// operations are what --guard and --deny collect. The word "default" is --guard without a value.
type operations struct {
	parse func(string) (seccomp.Op, error)
	ops   seccomp.Op
	set   bool
}

func (o *operations) String() string { return "" }

func (o *operations) Set(text string) error {
	if text == "default" {
		o.set = true
		return nil
	}
	ops, err := o.parse(text)
	o.ops, o.set = o.ops|ops, true
	return err
}

type passing struct {
	mode seccomp.Passing
	set  bool
}

func (p *passing) String() string { return "" }

func (p *passing) Set(text string) (err error) {
	p.mode, err = seccomp.ParsePassing(text)
	p.set = true
	return err
}

type action struct {
	action seccomp.Action
	set    bool
}

func (a *action) String() string { return "" }

func (a *action) Set(text string) (err error) {
	a.action, err = seccomp.ParseAction(text)
	a.set = true
	return err
}

type abi struct {
	mode seccomp.ABI
	set  bool
}

func (a *abi) String() string { return "" }

func (a *abi) Set(text string) (err error) {
	a.mode, err = seccomp.ParseABI(text)
	a.set = true
	return err
}

// files are names, in the order given.
type files []string

func (f *files) String() string { return "" }

func (f *files) Set(name string) error {
	*f = append(*f, name)
	return nil
}
