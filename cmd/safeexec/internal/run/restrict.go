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
	guard       guardOps
	guardReopen guardReopen
	guardStdio  guardStdio
	guardSteal  guardSteal
	passing     passing
	deny        denyOps
	onViolation action
	abi         abi
	filters     []filterFile
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
		attr.Guard.ByDescription = o.wanted()
		if o.verbose {
			r.explainGuard(attr.Guard, stderr)
		}
	case r.deny.set:
		filter, err := seccomp.Compile(r.denial())
		if err != nil {
			return about("--deny "+r.deny.ops.String(), none, err)
		}
		attr.Filters = append(attr.Filters, filter)
	}
	for _, file := range r.filters {
		filter, err := file.filter()
		if err != nil {
			return err
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

// explainGuard has the guard say what each descriptor gets, and says itself what it doesn't protect from.
func (r *restrictions) explainGuard(g *spawn.Guard, stderr io.Writer) {
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

// filterFile is a file that an option names for a filter to be made of.
type filterFile struct {
	option, name string
	read         func([]byte) (*seccomp.Filter, error)
}

func (f filterFile) filter() (*seccomp.Filter, error) {
	text, err := os.ReadFile(f.name)
	if err != nil {
		return nil, f.about(err)
	}
	filter, err := f.read(text)
	if err != nil {
		return nil, f.about(err)
	}
	return filter, nil
}

func (f filterFile) about(err error) error { return about(f.option+" "+printable(f.name), none, err) }

// readProfile goes by the capabilities that safeexec itself has: below no_new_privs, which every filter takes, nothing can
// have more.
func readProfile(text []byte) (*seccomp.Filter, error) {
	env, err := seccomp.ProfileEnvironment()
	if err != nil {
		return nil, err
	}
	return seccomp.ParseProfile(text, env)
}

// guardOps are what --guard collects; the word "default" is --guard without a value.
type guardOps struct {
	ops seccomp.Op
	set bool
}

func (g *guardOps) String() string { return "" }

func (g *guardOps) Set(text string) error {
	g.set = true
	if text == "default" {
		return nil
	}
	ops, err := seccomp.ParseGuard(text)
	g.ops |= ops
	return err
}

// denyOps are what --deny collects.
type denyOps struct {
	ops seccomp.Op
	set bool
}

func (d *denyOps) String() string { return "" }

func (d *denyOps) Set(text string) error {
	ops, err := seccomp.ParseDeny(text)
	d.ops, d.set = d.ops|ops, true
	return err
}

// The words of --guard-reopen, --guard-stdio and --guard-steal; empty is the default.
type (
	guardReopen struct{ word string }
	guardStdio  struct{ word string }
	guardSteal  struct{ word string }
)

func (g *guardReopen) String() string { return g.word }
func (g *guardStdio) String() string  { return g.word }
func (g *guardSteal) String() string  { return g.word }

func (g *guardReopen) Set(text string) error { return oneOf(&g.word, text, "auto", "never") }
func (g *guardStdio) Set(text string) error  { return oneOf(&g.word, text, "advisory", "strict", "off") }
func (g *guardSteal) Set(text string) error  { return oneOf(&g.word, text, "on", "off") }

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

// filterFiles collects the files of one option in the list of all, in the order given.
type filterFiles struct {
	all    *[]filterFile
	option string
	read   func([]byte) (*seccomp.Filter, error)
}

func (f *filterFiles) String() string { return "" }

func (f *filterFiles) Set(name string) error {
	*f.all = append(*f.all, filterFile{f.option, name, f.read})
	return nil
}
