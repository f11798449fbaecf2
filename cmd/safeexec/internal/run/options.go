package run

import (
	"fmt"
	"strings"

	"github.com/safeexec/safeexec/fdtable"
)

// Options are what a command line asks for.
type Options struct {
	keep, private list
	close         list
	keepArgs      toggle
	keepListen    toggle
	keepJobserver toggle
	leaks         choice
	statusFD      number
	noNewPrivs    toggle
	dieWithParent toggle
	verbose       toggle
	help, version toggle

	restrictions
}

// An Option is one option's definition: the one that a plain run parses by, and that help and completion are made from. In
// the usage the name of the option's value stands between backquotes.
type Option struct {
	Name    string
	Aliases []string
	Usage   string
	Value   Value
	Bare    string // what the option means without a value, which it then takes only after "="; empty: it needs one
}

// A Value takes what a command line gives for an option. It is all of urfave/cli's Generic.
type Value interface {
	Set(text string) error
	String() string
}

// IsToggle reports whether the option takes no value.
func (o *Option) IsToggle() bool {
	_, ok := o.Value.(*toggle)
	return ok
}

// Table is the definition of all options.
func (o *Options) Table() []Option {
	o.leaks.allow = []string{"close", "warn", "error"}
	options := []Option{
		{
			Name: "keep", Aliases: []string{"k"}, Value: &o.keep,
			Usage: "pass the descriptors in `LIST`, shared: N, N-M, SRC:DST or all, separated by commas; 0, 1 and 2 are always passed unless closed",
		},
		{
			Name: "private", Aliases: []string{"p"}, Value: &o.private,
			Usage: "pass the descriptors in `LIST` as private, blocking descriptions; @append or @offset behind an item says how a file that isn't opened for appending is written",
		},
		{
			Name: "close", Value: &o.close,
			Usage: "give the command /dev/null in the place of those of 0, 1 and 2 that are in `LIST`",
		},
		{
			Name: "keep-args", Value: &o.keepArgs,
			Usage: "also keep every N that an argument names as /dev/fd/N or /proc/self/fd/N",
		},
		{
			Name: "keep-listen", Value: &o.keepListen,
			Usage: "keep the sockets that LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES hand over; without it the variables are removed",
		},
		{
			Name: "keep-jobserver", Value: &o.keepJobserver,
			Usage: "keep the descriptors of GNU make's jobserver, as MAKEFLAGS names them",
		},
	}
	options = append(options, o.restrictions.table()...)
	return append(options, []Option{
		{
			Name: "leaks", Value: &o.leaks,
			Usage: "what to do about descriptors that were inherited and aren't kept: `MODE` is close (the default), warn, or error",
		},
		{
			Name: "json-status-fd", Value: &o.statusFD,
			Usage: "when the start fails, write a JSON object that says why to descriptor `N`, which is never passed on",
		},
		{
			Name: "no-new-privs", Aliases: []string{"nnp"}, Value: &o.noNewPrivs,
			Usage: "set no_new_privs: no set-user-ID program can give the command more rights",
		},
		{Name: "die-with-parent", Value: &o.dieWithParent, Usage: "kill the command when the caller dies"},
		{Name: "verbose", Value: &o.verbose, Usage: "say on standard error what is passed, how, and what is closed"},
		{Name: "help", Aliases: []string{"h"}, Value: &o.help, Usage: "show this help"},
		{Name: "version", Value: &o.version, Usage: "show the version"},
	}...)
}

// Wants says what a command line asks for instead of a command.
func (o *Options) Wants() (help, version bool) { return bool(o.help), bool(o.version) }

// Parse reads a command line into new Options; see ParseTable.
func Parse(args []string) (*Options, []string, error) {
	o := &Options{}
	rest, err := ParseTable(o.Table(), args)
	return o, rest, err
}

// ParseTable reads the options up to the first argument that is none, or to --; it returns the rest. What came
// before an error has been set. Options are written --name VALUE, --name=VALUE, -k VALUE or -kVALUE, and
// toggles --name. (Package flag would do, but for its errors' wording; and building its tables shows in the start-up time.)
func ParseTable(table []Option, args []string) ([]string, error) {
	for len(args) > 0 {
		arg := args[0]
		if len(arg) < 2 || arg[0] != '-' {
			break
		}
		args = args[1:]
		if arg == "--" {
			break
		}
		name, value, hasValue := strings.Cut(arg, "=")
		option := find(table, name)
		if option == nil && arg[1] != '-' { // -kVALUE
			name, value, hasValue = arg[:2], arg[2:], true
			if option = find(table, name); option != nil && option.IsToggle() {
				option = nil
			}
		}
		switch {
		case option == nil:
			name, _, _ = strings.Cut(arg, "=")
			return nil, &UnknownOption{Name: name}
		case option.IsToggle() && hasValue:
			return nil, fmt.Errorf("%s takes no value", name)
		case !hasValue && (option.IsToggle() || option.Bare != ""):
			value = option.Bare
		case !hasValue && len(args) == 0:
			return nil, fmt.Errorf("%s needs a value", name)
		case !hasValue:
			value, args = args[0], args[1:]
		}
		if err := option.Value.Set(value); err != nil {
			return nil, about(name, none, err)
		}
	}
	return args, nil
}

// find returns the option that is written so, with its dashes: two before a word, one before a letter.
func find(table []Option, written string) *Option {
	for i := range table {
		option := &table[i]
		if matches(option.Name, written) {
			return option
		}
		for _, alias := range option.Aliases {
			if matches(alias, written) {
				return option
			}
		}
	}
	return nil
}

func matches(name, written string) bool {
	dashes := 2
	if len(name) == 1 {
		dashes = 1
	}
	return len(written) == len(name)+dashes && written[dashes:] == name && written[:dashes] == "--"[:dashes]
}

// Plain parses a command line that does nothing but run a command; of anything else, and of any error, it says no.
func Plain(args []string) (o *Options, command []string, ok bool) {
	if len(args) > 0 && IsSubcommand(args[0]) {
		return nil, nil, false
	}
	o, command, err := Parse(args)
	return o, command, err == nil && len(command) > 0 && !bool(o.help) && !bool(o.version)
}

// Subcommands are words that aren't commands when they stand first.
var Subcommands = []string{"fds", "policy", "check"}

// IsSubcommand reports whether the first word of a command line is a subcommand.
func IsSubcommand(word string) bool {
	for _, name := range Subcommands {
		if word == name {
			return true
		}
	}
	return false
}

// An UnknownOption is the error for an option that doesn't exist.
type UnknownOption struct {
	Name string // as it was written
	Near string // the one that may have been meant, as it is written
}

func (e *UnknownOption) Error() string {
	if e.Near != "" {
		return "unknown option " + printable(e.Name) + "; did you mean " + e.Near + "?"
	}
	return "unknown option " + printable(e.Name)
}

// printable keeps an error on its one line, whatever was on the command line.
func printable(s string) string {
	quoted := fmt.Sprintf("%q", s)
	if quoted == `"`+s+`"` {
		return s
	}
	return quoted
}

// A toggle is on or off.
type toggle bool

func (t *toggle) String() string { return "" }

func (t *toggle) Set(string) error {
	*t = true
	return nil
}

// A list collects what a LIST option was given.
type list struct{ items []fdtable.Item }

func (l *list) String() string { return "" }

func (l *list) Set(value string) error {
	items, err := fdtable.ParseList(value)
	l.items = append(l.items, items...)
	return err
}

// A choice is one of a few words; the first is the default.
type choice struct {
	allow []string
	word  string
}

func (c *choice) String() string { return c.word }

func (c *choice) Set(value string) error {
	for _, word := range c.allow {
		if value == word {
			c.word = value
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", value, strings.Join(c.allow, ", "))
}

// A number is a descriptor's, or absent.
type number struct {
	n   int
	set bool
}

func (n *number) String() string { return "" }

func (n *number) Set(value string) error {
	items, err := fdtable.ParseList(value)
	if err != nil {
		return err
	}
	if len(items) != 1 || items[0].All || items[0].To >= 0 || items[0].Last != items[0].First || items[0].Suffix != "" {
		return fmt.Errorf("%q is not a descriptor number", value)
	}
	n.n, n.set = items[0].First, true
	return nil
}
