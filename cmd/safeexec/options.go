package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/safeexec/safeexec/fdtable"
)

// options is what a command line asks for.
type options struct {
	keep, close   list
	keepArgs      bool
	keepListen    bool
	keepJobserver bool
	leaks         choice
	statusFD      number
	noNewPrivs    bool
	dieWithParent bool
	verbose       bool
	help, version bool
}

// flags is the one definition of the options: what a plain run parses, and what help, manual and completion are made from.
func (o *options) flags() []cli.Flag {
	o.leaks.allow = []string{"close", "warn", "error"}
	return []cli.Flag{
		&cli.GenericFlag{
			Name: "keep", Aliases: []string{"k"}, Value: &o.keep,
			Usage: "pass the descriptors in `LIST`, shared: N, N-M, SRC:DST or all, separated by commas; 0, 1 and 2 are always passed unless closed",
		},
		&cli.GenericFlag{
			Name: "close", Value: &o.close,
			Usage: "give the command /dev/null in the place of those of 0, 1 and 2 that are in `LIST`",
		},
		&cli.BoolFlag{
			Name: "keep-args", Destination: &o.keepArgs,
			Usage: "also keep every N that an argument names as /dev/fd/N or /proc/self/fd/N",
		},
		&cli.BoolFlag{
			Name: "keep-listen", Destination: &o.keepListen,
			Usage: "keep the sockets that LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES hand over; without it the variables are removed",
		},
		&cli.BoolFlag{
			Name: "keep-jobserver", Destination: &o.keepJobserver,
			Usage: "keep the descriptors of GNU make's jobserver, as MAKEFLAGS names them",
		},
		&cli.GenericFlag{
			Name: "leaks", Value: &o.leaks,
			Usage: "what to do about descriptors that were inherited and aren't kept: `MODE` is close (the default), warn, or error",
		},
		&cli.GenericFlag{
			Name: "json-status-fd", Value: &o.statusFD,
			Usage: "when the start fails, write a JSON object that says why to descriptor `N`, which is never passed on",
		},
		&cli.BoolFlag{
			Name: "no-new-privs", Aliases: []string{"nnp"}, Destination: &o.noNewPrivs,
			Usage: "set no_new_privs: no set-user-ID program can give the command more rights",
		},
		&cli.BoolFlag{
			Name: "die-with-parent", Destination: &o.dieWithParent,
			Usage: "kill the command when the caller dies",
		},
		&cli.BoolFlag{
			Name: "verbose", Destination: &o.verbose,
			Usage: "say on standard error what is passed, how, and what is closed",
		},
		&cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Destination: &o.help, Usage: "show this help"},
		&cli.BoolFlag{Name: "version", Destination: &o.version, Usage: "show the version"},
	}
}

// parse reads the options up to the first argument that is none, or to --. It returns the options also beside an error, for
// the report of it.
func parse(args []string) (*options, []string, error) {
	o := &options{}
	flags := o.flags()
	set := flag.NewFlagSet("safeexec", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	for _, f := range flags {
		if err := f.Apply(set); err != nil {
			return o, nil, err
		}
	}
	if err := set.Parse(args); err != nil {
		return o, nil, usageError(err, flags)
	}
	return o, set.Args(), nil
}

// usageError words package flag's errors as the rest of the command's, and names the option that may have been meant.
func usageError(err error, flags []cli.Flag) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		name = dashed(strings.TrimPrefix(name, "-"))
		if near := cli.SuggestFlag(flags, strings.TrimLeft(name, "-"), true); near != "" {
			return fmt.Errorf("unknown option %s; did you mean %s?", printable(name), near)
		}
		return fmt.Errorf("unknown option %s", printable(name))
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return fmt.Errorf("%s needs a value", dashed(name))
	}
	if rest, ok := strings.CutPrefix(text, "invalid value "); ok {
		// invalid value "x" for flag -leaks: reason
		if _, after, ok := strings.Cut(rest, " for flag -"); ok {
			name, reason, _ := strings.Cut(after, ": ")
			return fmt.Errorf("%s: %s", dashed(name), reason)
		}
	}
	if rest, ok := strings.CutPrefix(text, "invalid boolean value "); ok {
		if value, after, ok := strings.Cut(rest, " for -"); ok {
			name, _, _ := strings.Cut(after, ":")
			return fmt.Errorf("%s takes no value, not %s", dashed(name), value)
		}
	}
	return errors.New(printable(text))
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// printable keeps an error on its one line, whatever was on the command line.
func printable(s string) string {
	quoted := fmt.Sprintf("%q", s)
	if quoted == `"`+s+`"` {
		return s
	}
	return quoted
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

// version is the module's, as the go command recorded it in the binary.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
