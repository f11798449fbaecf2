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
	Format string // "text", "bpf", "oci" or "pfc"
	Call   string // what is to be explained, instead
	Help   bool

	options Options
}

// PolicyTable is the definition of the subcommand's options: those of a run that a filter depends on, and its own.
func PolicyTable() []Option {
	var options []Option
	for _, o := range Table {
		switch o.Name {
		case "keep", "private", "close", "guard", "guard-reopen", "guard-stdio", "guard-steal", "fd-passing", "deny", "on-violation", "abi",
			"seccomp-profile":
			options = append(options, o)
		}
	}
	return append(options, []Option{
		{
			Name:  "format",
			Usage: "print the filter as `FORMAT`: text (the default), bpf (raw, for bwrap and setpriv), oci (JSON for container engines), pfc (libseccomp's)",
			value: func(o *Options) Value { return &o.format },
		},
		{
			Name:  "explain",
			Usage: "say what would happen to `CALL`, written as in C: fcntl(1, F_SETFL)",
			value: func(o *Options) Value { return &o.explain },
		},
		{
			Name: "help", Aliases: []string{"h"}, Toggle: true,
			Usage: "show this help",
			value: func(o *Options) Value { return &o.help },
		},
	}...)
}

// export is what the subcommand has beside the options of a run.
type export struct {
	format  format
	explain verbatim
}

type format struct{ word string }

func (f *format) String() string { return f.word }

func (f *format) Set(text string) error { return oneOf(&f.word, text, "text", "bpf", "oci", "pfc") }

// verbatim is a value taken as it is.
type verbatim string

func (v *verbatim) String() string { return string(*v) }

func (v *verbatim) Set(text string) error {
	*v = verbatim(text)
	return nil
}

// ParsePolicy reads the subcommand's arguments; nothing may be left over.
func ParsePolicy(args []string) (*PolicyLine, error) {
	l := &PolicyLine{Format: "text"}
	rest, err := parseOptions(&l.options, PolicyTable(), args)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("policy runs no command, so %s is one word too many", printable(rest[0]))
	}
	if l.options.format.word != "" {
		l.Format = l.options.format.word
	}
	l.Call, l.Help = string(l.options.explain), bool(l.options.help)
	return l, err
}

// Compile makes the filter, and lists what it can't carry. No descriptor is looked at: each kept number counts as shared, of unknown kind.
func (l *PolicyLine) Compile() (f *seccomp.Filter, missing []string, err error) {
	o := &l.options
	if err := o.alone(); err != nil {
		return nil, nil, err
	}
	if len(o.filters) > 0 {
		f, err = o.profile()
		return f, nil, err
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
		return nil, nil, fmt.Errorf("there is no --guard, --deny or --seccomp-profile to make a filter from")
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

// profile is the filter of --seccomp-profile. A run loads each filter by itself, so that one can't be printed with another.
func (o *Options) profile() (*seccomp.Filter, error) {
	file := o.filters[0]
	switch {
	case o.guard.set || o.deny.set:
		return nil, file.about(fmt.Errorf("it makes a filter beside that of --guard or --deny: print them one by one"))
	case len(o.filters) > 1:
		return nil, o.filters[1].about(fmt.Errorf("each profile makes a filter of its own: print them one by one"))
	}
	return file.filter()
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
