// The runtime would hold the cgroup's files otherwise: this way all that is open at the start was inherited.
//go:debug containermaxprocs=0

// Command safeexec runs a program with exactly the descriptors that are named, and nothing else.
//
//	safeexec --keep 3 -- command argument...
//
// Running a command is in internal/run; internal/early does the plainest runs before Go's runtime starts. The subcommands
// have a file each.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/safeexec/safeexec/cmd/safeexec/internal/early"
	"github.com/safeexec/safeexec/cmd/safeexec/internal/run"
)

// exitFailed is the status of a failure of safeexec itself.
const exitFailed = 125

func main() {
	if run.IsGuard(os.Args) {
		os.Exit(run.ResumeGuard())
	}
	os.Exit(start(os.Args[1:], os.Stdout, os.Stderr))
}

// start does what the arguments ask for and returns an exit status; when a command takes this process over it doesn't return.
func start(args []string, stdout, stderr io.Writer) int {
	if path, err := early.Refusal(); err != nil {
		return run.FailStart(path, err, stderr)
	}
	if len(args) > 0 && early.IsSubcommand(args[0]) {
		return runApp(args, stdout, stderr)
	}
	o, command, err := run.Parse(args)
	var unknown *run.UnknownOption
	if errors.As(err, &unknown) {
		unknown.Near = cli.SuggestFlag(flags(), strings.TrimLeft(unknown.Name, "-"), true)
	}
	help, version := o.Wants()
	switch {
	case err != nil:
		return o.Fail(err, stderr)
	case help:
		return runApp(nil, stdout, stderr)
	case version:
		fmt.Fprintf(stdout, "safeexec %s\n", moduleVersion())
		return 0
	case len(command) == 0:
		return o.Fail(errors.New("no command is given; see safeexec --help"), stderr)
	}
	return o.Run(command, stderr)
}

// runApp shows the help, without arguments, or runs a subcommand. It returns the exit status.
func runApp(args []string, stdout, stderr io.Writer) int {
	return status(newApp(stdout, stderr).Run(append([]string{"safeexec"}, args...)), stderr)
}

// newApp is the definition of the help and of the subcommands.
func newApp(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:      "safeexec",
		Usage:     "run a program with exactly the descriptors that are named, and nothing else",
		UsageText: "safeexec [options] [--] command [argument ...]",
		Flags:     flags(),
		Commands:  subcommands(),
		Writer:    stdout,
		ErrWriter: stderr,

		HideHelpCommand: true, // "safeexec help" is a command that is called help
		HideHelp:        true, // --help is among our own options
		HideVersion:     true,
		ExitErrHandler:  func(*cli.Context, error) {}, // the status goes back to main, which alone ends the process
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return err },
		Action:          func(c *cli.Context) error { return cli.ShowAppHelp(c) },
	}
}

// status prints a subcommand's error and returns its exit status.
func status(err error, stderr io.Writer) int {
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

// flags are the options as urfave/cli knows them.
func flags() []cli.Flag { return flagsOf(run.Table) }

func flagsOf(table []run.Option) []cli.Flag {
	var flags []cli.Flag
	for _, option := range table {
		if option.Toggle {
			flags = append(flags, &cli.BoolFlag{Name: option.Name, Aliases: option.Aliases, Usage: option.Usage, DisableDefaultText: true})
		} else {
			value := option.Value(new(run.Options))
			flags = append(flags, &cli.GenericFlag{Name: option.Name, Aliases: option.Aliases, Usage: option.Usage, Value: value})
		}
	}
	return flags
}

func subcommands() []*cli.Command {
	return []*cli.Command{fdsCommand(), policyCommand(), doctorCommand(), checkCommand()}
}

// release is the version that a release was built as (-ldflags -X).
var release string

// moduleVersion is the release, or what the go command recorded in the binary.
func moduleVersion() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
