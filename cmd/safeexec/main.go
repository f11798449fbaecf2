// The runtime would hold the cgroup's files otherwise: this way all that is open at the start was inherited.
//go:debug containermaxprocs=0

// Command safeexec runs a program with exactly the descriptors that are named, and nothing else.
//
//	safeexec --keep 3 -- command argument...
//
// The command line is parsed in options.go and becomes a plan in plan.go, which package spawn carries out; the subcommands
// have a file each. A plain run builds no more than the flags: what help, subcommands and completion cost is paid by those.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"
)

// Exit statuses of safeexec itself; any other is the command's.
const (
	exitFailed   = 125 // safeexec itself failed, or something was wrong with what it was asked
	exitNoExec   = 126 // the command was found but can't be executed
	exitNotFound = 127 // the command wasn't found
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run does what the arguments ask for and returns an exit status; when a command takes this process over it doesn't return.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && isSubcommand(args[0]) {
		return runApp(args, stdout, stderr)
	}
	o, command, err := parse(args)
	if err == nil && (o.help || o.version) {
		return runApp(args[:1], stdout, stderr)
	}
	if err == nil && len(command) == 0 {
		err = errors.New("no command is given")
	}
	if err != nil {
		o.report(stderr, err)
		return exitStatus(err)
	}
	err = o.become(command, stderr)
	o.report(stderr, err)
	return exitStatus(err)
}

// newApp is the whole command line as urfave/cli knows it: help, version, subcommands and completion come from it.
func newApp(o *options, stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:      "safeexec",
		Usage:     "run a program with exactly the descriptors that are named, and nothing else",
		UsageText: "safeexec [options] [--] command [argument ...]",
		Version:   version(),
		Flags:     o.flags(),
		Commands:  subcommands(),
		Writer:    stdout,
		ErrWriter: stderr,

		HideHelpCommand: true, // "safeexec help" is a command that is called help
		HideHelp:        true, // our own flags, so that a plain run knows them too
		HideVersion:     true,
		ExitErrHandler:  func(*cli.Context, error) {}, // run returns the status; only main exits
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return err },
		Action: func(c *cli.Context) error {
			if c.Bool("version") {
				_, err := fmt.Fprintf(stdout, "safeexec %s\n", version())
				return err
			}
			return cli.ShowAppHelp(c)
		},
	}
}

// runApp runs help, version or a subcommand, and returns its exit status.
func runApp(args []string, stdout, stderr io.Writer) int {
	app := newApp(&options{}, stdout, stderr)
	err := app.Run(append([]string{"safeexec"}, args...))
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(stderr, "safeexec: "+text)
	}
	var coder cli.ExitCoder
	if errors.As(err, &coder) {
		return coder.ExitCode()
	}
	return exitFailed
}

func isSubcommand(word string) bool {
	for _, name := range []string{} {
		if word == name {
			return true
		}
	}
	return false
}

func subcommands() []*cli.Command {
	return nil
}
