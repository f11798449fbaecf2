package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/safeexec/safeexec/fdtable"
)

// exitFound is a subcommand's status for: something found or fallen back, or a process gone.
const exitFound = 1

// fdsCommand lists descriptors: those that safeexec itself inherited, or all of the processes that are named.
func fdsCommand() *cli.Command {
	return &cli.Command{
		Name:            "fds",
		Usage:           "list descriptors: number, kind, access, flags, offset, locks, target",
		UsageText:       "safeexec fds [--pid PID]... [--json]",
		Description:     "Without a selection, lists what safeexec itself inherited; --pid $$ is the shell.",
		HideHelpCommand: true,
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return err },
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "pid", Usage: "list the descriptors of process `PID`; repeatable"},
			&cli.BoolFlag{Name: "json", Usage: "write JSON for programs"},
		},
		Action: runFds,
	}
}

func runFds(c *cli.Context) error {
	pids, err := parsePIDs(c.StringSlice("pid"))
	if err == nil && c.Args().Present() {
		err = fmt.Errorf("unexpected argument %q", c.Args().First())
	}
	if err != nil {
		return cli.Exit("fds: "+err.Error(), exitFailed)
	}
	listings, err := listProcesses(pids)
	if err != nil {
		return cli.Exit("fds: "+err.Error(), exitFailed)
	}
	if c.Bool("json") {
		err = writeListingsJSON(c.App.Writer, listings)
	} else {
		err = writeListings(c.App.Writer, listings, len(pids) > 0, mayPaint(c.App.Writer))
	}
	if err != nil {
		return cli.Exit("fds: "+err.Error(), exitFailed)
	}
	return reportFailures(c, listings)
}

func parsePIDs(words []string) ([]int, error) {
	var pids []int
	for _, word := range words {
		pid, err := strconv.Atoi(word)
		if err != nil || pid <= 0 {
			return nil, fmt.Errorf("--pid %s: not the number of a process", fdtable.Printable(word))
		}
		if !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// A listing is one process with its descriptors, or with the reason why they can't be listed.
type listing struct {
	process     fdtable.Process
	descriptors []fdtable.Descriptor
	err         error
}

// listProcesses lists the named processes, or what this one inherited. It fails as a whole only where no process could be
// listed at all.
func listProcesses(pids []int) ([]listing, error) {
	reader, err := fdtable.NewReader()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	if len(pids) == 0 {
		own, err := listInherited(reader)
		return []listing{own}, err
	}
	var listings []listing
	for _, pid := range pids {
		l := listing{process: fdtable.Process{PID: pid}}
		if l.descriptors, l.err = reader.List(pid); l.err == nil {
			l.process, l.err = reader.Process(pid)
		}
		listings = append(listings, l)
	}
	return listings, nil
}

// listInherited lists this process's descriptors without close-on-exec: an exec closes those that have it, so they are the
// Go runtime's. (On a 0, 1 or 2 that was closed, the runtime has opened /dev/null before we could look.)
func listInherited(reader *fdtable.Reader) (l listing, err error) {
	if l.process, err = reader.Process(0); err != nil {
		return l, err
	}
	l.descriptors, err = reader.List(0)
	l.descriptors = slices.DeleteFunc(l.descriptors, func(d fdtable.Descriptor) bool { return d.CloseOnExec })
	return l, err
}

// reportFailures writes a line for each process that couldn't be listed, and turns the worst into the exit status.
func reportFailures(c *cli.Context, listings []listing) error {
	status := 0
	for _, l := range listings {
		if l.err == nil {
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
func mayPaint(w any) bool {
	if w != os.Stdout || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return false
	}
	d, err := fdtable.Inspect(1)
	return err == nil && d.Kind == fdtable.KindTerminal
}
