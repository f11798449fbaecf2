package run

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/seccomp"
)

// Options are what a command line asks for.
type Options struct {
	keep, private list
	close         list
	keepArgs      toggle
	keepListen    toggle
	keepJobserver toggle
	leaks         leaks
	statusFD      number
	noNewPrivs    toggle
	dieWithParent toggle
	verbose       toggle
	help, version toggle

	restrictions
	supervision
	export // of the subcommand policy
}

// An Option is one option's definition: the one that a run parses by, and that help and completion are made from. In
// the usage the name of the option's value stands between backquotes.
type Option struct {
	Name    string
	Aliases []string
	Usage   string
	Bare    string // what the option means without a value, which it then takes only after "="; empty: it needs one
	Toggle  bool   // it takes no value
	value   func(*Options) Value
}

// Value is where the option's value goes.
func (option *Option) Value(o *Options) Value { return option.value(o) }

// A Value takes what a command line gives for an option. It is all of urfave/cli's Generic.
type Value interface {
	Set(text string) error
	String() string
}

// Table is the definition of all options. It is static: a plain run pays for what it uses, not for what there is.
var Table = []Option{
	{
		Name: "keep", Aliases: []string{"k"},
		Usage: "pass the descriptors in `LIST`, shared: N, N-M, SRC:DST or all, separated by commas; 0, 1 and 2 are always passed unless closed",
		value: func(o *Options) Value { return &o.keep },
	},
	{
		Name: "private", Aliases: []string{"p"},
		Usage: "pass the descriptors in `LIST` as private, blocking descriptions; @append or @offset behind an item says how a file that isn't opened for appending is written",
		value: func(o *Options) Value { return &o.private },
	},
	{
		Name: "relay", Aliases: []string{"r"},
		Usage: "pass fresh pipes, socket pairs and pseudo-terminals in the place of those in `LIST`, and carry the bytes (supervised)",
		value: func(o *Options) Value { return &o.relay },
	},
	{
		Name:  "close",
		Usage: "give the command /dev/null in the place of those of 0, 1 and 2 that are in `LIST`",
		value: func(o *Options) Value { return &o.close },
	},
	{
		Name: "keep-args", Toggle: true,
		Usage: "also keep every N that an argument names as /dev/fd/N or /proc/self/fd/N",
		value: func(o *Options) Value { return &o.keepArgs },
	},
	{
		Name: "keep-listen", Toggle: true,
		Usage: "keep the sockets that LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES hand over; without it the variables are removed",
		value: func(o *Options) Value { return &o.keepListen },
	},
	{
		Name: "keep-jobserver", Toggle: true,
		Usage: "keep the descriptors of GNU make's jobserver, as MAKEFLAGS names them",
		value: func(o *Options) Value { return &o.keepJobserver },
	},
	{
		Name: "guard", Bare: "default",
		Usage: "keep operations off the caller's descriptions: --guard alone means flags,owner,lock,seek; --guard=`OPS` names them, also offset and mode",
		value: func(o *Options) Value { return &o.guard },
	},
	{
		Name:  "guard-reopen",
		Usage: "`WHEN` a guard makes private what the command can't tell from the shared description: auto (the default) or never",
		value: func(o *Options) Value { return &o.guardReopen },
	},
	{
		Name:  "guard-stdio",
		Usage: "how a guard treats those of 0, 1 and 2 that stay shared: `MODE` is advisory (the default), strict, or off",
		value: func(o *Options) Value { return &o.guardStdio },
	},
	{
		Name:  "guard-steal",
		Usage: "whether a guard keeps the command from driving other processes, by Landlock: `MODE` is on (the default) or off",
		value: func(o *Options) Value { return &o.guardSteal },
	},
	{
		Name:  "fd-passing",
		Usage: "how a guard keeps descriptors from being sent away: `MODE` is tree (the default), no-unix, no-sendmsg, or allow",
		value: func(o *Options) Value { return &o.passing },
	},
	{
		Name:  "deny",
		Usage: "refuse operations on every descriptor: `OPS` of dup, pass, steal, flags, owner, lock, seek, mode, wberr, tty",
		value: func(o *Options) Value { return &o.deny },
	},
	{
		Name:  "on-violation",
		Usage: "what happens on an operation that was named: `ACTION` is errno (EPERM, the default), errno=NAME, pretend, kill, or log",
		value: func(o *Options) Value { return &o.onViolation },
	},
	{
		Name:  "abi",
		Usage: "32-bit programs under a filter: `MODE` is native (the default: they are killed) or compat (the same rules)",
		value: func(o *Options) Value { return &o.abi },
	},
	{
		Name:  "seccomp-profile",
		Usage: "also install the seccomp profile in `FILE`, JSON as docker, podman, Kubernetes and OCI runtimes take it; repeatable",
		value: func(o *Options) Value { return &filterFiles{&o.filters, "--seccomp-profile", readProfile} },
	},
	{
		Name:  "seccomp-bpf",
		Usage: "also install the compiled filter in `FILE`, as bwrap --seccomp and setpriv --seccomp-filter take it; repeatable",
		value: func(o *Options) Value { return &filterFiles{&o.filters, "--seccomp-bpf", seccomp.Import} },
	},
	{
		Name: "supervise", Toggle: true,
		Usage: "stay as the command's parent: pass signals on, reap orphans, end with its exit status, 128+N when signal N killed it",
		value: func(o *Options) Value { return &o.stay },
	},
	{
		Name: "forward-to-group", Toggle: true,
		Usage: "with supervision: start the command in a process group of its own, and pass signals on to the whole group",
		value: func(o *Options) Value { return &o.toGroup },
	},
	{
		Name: "restore", Toggle: true,
		Usage: "when the command has ended, put the status flags and terminal settings of what it shared back as they were (supervised)",
		value: func(o *Options) Value { return &o.restore },
	},
	{
		Name: "report", Bare: bareReport,
		Usage: "when the command has ended, say what it did to what it shared: on standard error, or as JSON in `FILE` (supervised)",
		value: func(o *Options) Value { return &o.reportTo },
	},
	{
		Name:  "leaks",
		Usage: "what to do about descriptors that were inherited and aren't kept: `MODE` is close (the default), warn, or error",
		value: func(o *Options) Value { return &o.leaks },
	},
	{
		Name:  "json-status-fd",
		Usage: "write JSON lines to descriptor `N`, which is never passed on: why the start failed; supervised, also the child's PID and exit code",
		value: func(o *Options) Value { return &o.statusFD },
	},
	{
		Name: "no-new-privs", Aliases: []string{"nnp"}, Toggle: true,
		Usage: "set no_new_privs: no set-user-ID program can give the command more rights",
		value: func(o *Options) Value { return &o.noNewPrivs },
	},
	{
		Name: "die-with-parent", Toggle: true,
		Usage: "kill the command when the caller dies",
		value: func(o *Options) Value { return &o.dieWithParent },
	},
	{
		Name: "verbose", Toggle: true,
		Usage: "say on standard error what is passed, how, and what is closed",
		value: func(o *Options) Value { return &o.verbose },
	},
	{
		Name: "help", Aliases: []string{"h"}, Toggle: true,
		Usage: "show this help",
		value: func(o *Options) Value { return &o.help },
	},
	{
		Name: "version", Toggle: true,
		Usage: "show the version",
		value: func(o *Options) Value { return &o.version },
	},
}

// Wants says what a command line asks for instead of a command.
func (o *Options) Wants() (help, version bool) { return bool(o.help), bool(o.version) }

// Parse reads the options up to the first argument that is none, or to --; the rest is the command. It returns the options
// beside an error too, for the report of it: a value that is refused doesn't keep a --json-status-fd behind it from being read.
func Parse(args []string) (*Options, []string, error) {
	o := &Options{}
	rest, err := parseOptions(o, Table, args)
	return o, rest, err
}

// parseOptions reads options of a table into o. Options are written --name VALUE, --name=VALUE, -k VALUE or -kVALUE, and
// toggles --name. (Package flag would do, but for its errors' wording; and building its tables shows in the start-up time.)
func parseOptions(o *Options, table []Option, args []string) ([]string, error) {
	var refused error
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
			if option = find(table, name); option != nil && option.Toggle {
				option = nil
			}
		}
		switch {
		case option == nil:
			name, _, _ = strings.Cut(arg, "=")
			return nil, first(refused, &UnknownOption{Name: name})
		case option.Toggle && hasValue:
			return nil, first(refused, fmt.Errorf("%s takes no value", name))
		case !hasValue && (option.Toggle || option.Bare != ""):
			value = option.Bare
		case !hasValue && len(args) == 0:
			return nil, first(refused, fmt.Errorf("%s needs a value", name))
		case !hasValue:
			value, args = args[0], args[1:]
		}
		if err := option.value(o).Set(value); err != nil {
			refused = first(refused, about(name, none, err))
		}
	}
	if refused != nil {
		return nil, refused
	}
	return args, nil
}

// first is the earlier of two errors, the later where there is none.
func first(earlier, later error) error {
	if earlier != nil {
		return earlier
	}
	return later
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

// printable is a name from the command line as it may stand in an error: quoted when it isn't plain text.
func printable(s string) string {
	if fdtable.Printable(s) == s {
		return s
	}
	return strconv.Quote(s)
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

// oneOf accepts one of a few words.
func oneOf(word *string, text string, allowed ...string) error {
	if !slices.Contains(allowed, text) {
		return fmt.Errorf("%q is none of %s", text, strings.Join(allowed, ", "))
	}
	*word = text
	return nil
}

// leaks is what --leaks says; empty is "close".
type leaks struct{ word string }

func (l *leaks) String() string { return l.word }

func (l *leaks) Set(text string) error { return oneOf(&l.word, text, "close", "warn", "error") }

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
