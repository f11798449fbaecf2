package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/safeexec/safeexec/cmd/safeexec/internal/run"
	"github.com/safeexec/safeexec/seccomp"
)

// policyCommand prints the filter that a run with the same options would install, or what it would do to a call.
func policyCommand() *cli.Command {
	return &cli.Command{
		Name:            "policy",
		Usage:           "print the filter of --guard and --deny, instead of running something",
		UsageText:       "safeexec policy [options] --format text|bpf|oci|pfc\nsafeexec policy [options] --explain CALL",
		Description:     "Looks at no descriptor: each kept number counts as shared, of unknown kind. What the format can't carry is listed on standard error.",
		Flags:           flagsOf(run.PolicyTable()),
		HideHelp:        true,
		HideHelpCommand: true,
		SkipFlagParsing: true, // the options are parsed as those of a run are
		Action: func(c *cli.Context) error {
			line, err := run.ParsePolicy(c.Args().Slice())
			if err != nil {
				return cli.Exit("policy: "+err.Error(), exitFailed)
			}
			if line.Help {
				return cli.ShowSubcommandHelp(c)
			}
			if err := printPolicy(line, c.App.Writer, c.App.ErrWriter); err != nil {
				return cli.Exit("policy: "+err.Error(), exitFailed)
			}
			return nil
		},
	}
}

func printPolicy(line *run.PolicyLine, stdout, stderr io.Writer) error {
	filter, missing, err := line.Compile()
	if err != nil {
		return err
	}
	if line.Call != "" {
		answer, err := filter.Explain(line.Call)
		if err == nil {
			_, err = fmt.Fprintln(stdout, answer)
		}
		return err
	}
	output, more, err := export(filter, line.Format)
	if err != nil {
		return err
	}
	for _, what := range append(missing, more...) {
		fmt.Fprintln(stderr, "safeexec: policy: not in the output: "+what)
	}
	_, err = stdout.Write(output)
	return err
}

// export is the filter in a format, with what that format can't say beyond what no format can.
func export(filter *seccomp.Filter, format string) (output []byte, missing []string, err error) {
	switch format {
	case "bpf":
		return filter.Raw(), nil, nil
	case "oci":
		return filter.OCI()
	case "pfc":
		output, err = pfc(filter)
		return output, nil, err
	}
	return []byte(filter.Text()), nil, nil
}
