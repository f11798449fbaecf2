package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/safeexec/safeexec/fdtable"
)

// exitFound is a subcommand's status for: something found or fallen back, or a process gone.
const exitFound = 1

// fdsCommand lists descriptors: those that safeexec itself inherited, or all of the processes that are selected.
func fdsCommand() *cli.Command {
	return &cli.Command{
		Name:      "fds",
		Usage:     "list descriptors: number, kind, access, flags, offset, locks, target; and which of them share a description",
		UsageText: "safeexec fds [--pid PID | --tree PID | --cgroup PATH]... [--shared] [--json | --dot]",
		Description: "Without a selection, lists what safeexec itself inherited; --pid $$ is the shell. With --shared and no\n" +
			"selection it looks at every process that you may see. safeexec itself is left out where no --pid names it.",
		HideHelpCommand: true,
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return err },
		Flags: []cli.Flag{
			&cli.GenericFlag{Name: "pid", Value: new(words), Usage: "the process `PID`; repeatable, like all selections"},
			&cli.GenericFlag{Name: "tree", Value: new(words), Usage: "the process `PID` and all that descend from it"},
			&cli.GenericFlag{Name: "cgroup", Value: new(words), Usage: "the processes of the cgroup `PATH`, and of those below it"},
			&cli.BoolFlag{Name: "shared", DisableDefaultText: true, Usage: "list descriptions that several descriptors refer to, and which"},
			&cli.BoolFlag{Name: "json", DisableDefaultText: true, Usage: "write JSON for programs"},
			&cli.BoolFlag{Name: "dot", DisableDefaultText: true, Usage: "write a picture of processes, descriptors and descriptions, for Graphviz's dot"},
		},
		Action: runFds,
	}
}

// words are the values of a repeatable option as they were given. (The library would split them at commas.)
type words []string

func (w *words) Set(value string) error { *w = append(*w, value); return nil }
func (w *words) String() string         { return strings.Join(*w, " ") }

func wordsOf(c *cli.Context, name string) []string { return *c.Generic(name).(*words) }

func runFds(c *cli.Context) error {
	if err := listFds(c); err != nil {
		var coder cli.ExitCoder
		if errors.As(err, &coder) {
			return err
		}
		return cli.Exit("fds: "+err.Error(), exitFailed)
	}
	return nil
}

func listFds(c *cli.Context) error {
	chosen, err := parseSelection(c)
	if err != nil {
		return err
	}
	reader, err := fdtable.NewReader()
	if err != nil {
		return err
	}
	defer reader.Close()
	p := startProgress(c.App.ErrWriter)
	defer p.stop()
	listings, err := chosen.list(reader, p, c.Bool("shared"))
	if err != nil {
		return err
	}
	var s sharing
	if c.Bool("shared") || c.Bool("dot") {
		p.say("comparing descriptions")
		if s, err = findSharing(reader, listings, !c.Bool("shared")); err != nil {
			return err
		}
	}
	p.stop()
	if err := writeFds(c, chosen, listings, s); err != nil {
		return err
	}
	return reportFailures(c, listings)
}

func writeFds(c *cli.Context, chosen selection, listings []listing, s sharing) error {
	w := c.App.Writer
	if c.Bool("dot") {
		return writeDot(w, listings, s.descriptions)
	}
	if c.Bool("shared") {
		if c.Bool("json") {
			return writeSharingJSON(w, listings, s)
		}
		return writeSharing(w, listings, s, mayPaint(w))
	}
	if c.Bool("json") {
		return writeListingsJSON(w, listings)
	}
	return writeListings(w, listings, !chosen.own, mayPaint(w))
}

// reportFailures writes a line for each process that couldn't be listed and should have been, and turns the worst into the
// exit status.
func reportFailures(c *cli.Context, listings []listing) error {
	status := 0
	for _, l := range listings {
		if l.err == nil || l.unseen() || l.left() {
			continue
		}
		fmt.Fprintln(c.App.ErrWriter, "safeexec: fds:", l.err)
		if errors.Is(l.err, syscall.ESRCH) {
			status = max(status, exitFound)
		} else {
			status = exitFailed
		}
	}
	if status == 0 {
		return nil
	}
	return cli.Exit("", status)
}

// mayPaint reports whether colours are welcome: on a terminal that knows them, unless NO_COLOR says otherwise
// (no-color.org).
func mayPaint(w any) bool { return w == os.Stdout && os.Getenv("NO_COLOR") == "" && isTerminal(1) }

// isTerminal reports whether a descriptor is a terminal that understands more than lines.
func isTerminal(fd int) bool {
	if slices.Contains([]string{"", "dumb"}, os.Getenv("TERM")) {
		return false
	}
	d, err := fdtable.Inspect(fd)
	return err == nil && d.Kind == fdtable.KindTerminal
}
