package run

import (
	"fmt"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/seccomp"
)

// maxExported bounds what a range may name where no table bounds it: more would not fit into a filter of any use.
const maxExported = 4096

// A PolicyLine is the command line of the subcommand that prints filters instead of running something.
type PolicyLine struct {
	options Options
	Format  choice
	Call    verbatim
	Help    toggle
}

// verbatim is a value taken as it is.
type verbatim struct{ Text string }

func (v *verbatim) String() string { return "" }

func (v *verbatim) Set(text string) error {
	v.Text = text
	return nil
}

// Word is the format that was chosen: text, unless another was.
func (c *choice) Word() string {
	if c.word == "" {
		return c.allow[0]
	}
	return c.word
}

// Table is the definition of the subcommand's options: those of a run that a filter depends on, and its own.
func (l *PolicyLine) Table() []Option {
	l.Format.allow = []string{"text", "bpf", "oci", "pfc"}
	var options []Option
	for _, o := range l.options.Table() {
		switch o.Name {
		case "keep", "private", "close", "guard", "guard-reopen", "guard-stdio", "guard-steal", "fd-passing", "deny", "on-violation", "abi":
			options = append(options, o)
		}
	}
	return append(options, []Option{
		{
			Name: "format", Value: &l.Format,
			Usage: "print the filter as `FORMAT`: text (the default), bpf (raw, for bwrap and setpriv), oci (JSON for container engines), pfc (libseccomp's)",
		},
		{
			Name: "explain", Value: &l.Call,
			Usage: "say what would happen to `CALL`, written as in C: fcntl(1, F_SETFL)",
		},
		{Name: "help", Aliases: []string{"h"}, Value: &l.Help, Usage: "show this help"},
	}...)
}

// Parse reads the subcommand's arguments; nothing may be left over.
func (l *PolicyLine) Parse(args []string) error {
	rest, err := ParseTable(l.Table(), args)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("policy runs no command, so %s is one word too many", printable(rest[0]))
	}
	return err
}

// Compile makes the filter, and lists what it can't carry. No descriptor is looked at: each kept number counts as shared, of unknown kind.
func (l *PolicyLine) Compile() (f *seccomp.Filter, missing []string, err error) {
	o := &l.options
	if err := o.alone(); err != nil {
		return nil, nil, err
	}
	numbers, private, err := o.exported()
	if err != nil {
		return nil, nil, err
	}
	switch {
	case o.guard.set:
		f, err = seccomp.Compile(o.spawnGuard().Policy(numbers))
	case o.deny.set:
		f, err = seccomp.Compile(o.denial())
	default:
		return nil, nil, fmt.Errorf("there is neither --guard nor --deny to make a filter from")
	}
	if err != nil {
		return nil, nil, err
	}
	missing = f.Missing()
	for _, n := range private {
		missing = append(missing, fmt.Sprintf("the private description that descriptor %d gets", n))
	}
	if o.guard.set && o.guardReopen.word != "never" {
		missing = append(missing, "private descriptions where the command can't tell them from shared ones (--guard-reopen auto)")
	}
	return f, missing, nil
}

// exported returns the numbers that the command would have shared, and private; 0, 1 and 2 are shared unless something else
// is said of them.
func (o *Options) exported() (shared, private []int, err error) {
	taken := map[int]bool{}
	take := func(option string, items []fdtable.Item) (numbers []int, err error) {
		for _, item := range items {
			if item.All {
				return nil, about(option+" all", none, fmt.Errorf("policy looks at no descriptor: name them"))
			}
			first, last := item.First, item.Last
			if item.To >= 0 {
				first, last = item.To, item.To
			}
			if last-first >= maxExported {
				return nil, about(option+" "+item.String(), none, fmt.Errorf("a filter for more than %d numbers isn't offered", maxExported))
			}
			for n := first; n <= last; n++ {
				if taken[n] {
					return nil, about(option+" "+item.String(), n, fmt.Errorf("descriptor %d is named already", n))
				}
				taken[n] = true
				numbers = append(numbers, n)
			}
		}
		return numbers, nil
	}
	if shared, err = take("--keep", o.keep.items); err != nil {
		return nil, nil, err
	}
	if private, err = take("--private", o.private.items); err != nil {
		return nil, nil, err
	}
	if _, err = take("--close", o.close.items); err != nil {
		return nil, nil, err
	}
	for n := range 3 {
		if !taken[n] {
			shared = append(shared, n)
		}
	}
	return shared, private, nil
}
