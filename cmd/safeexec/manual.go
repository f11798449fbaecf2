//go:build manual

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/safeexec/safeexec/cmd/safeexec/internal/manual"
	"github.com/safeexec/safeexec/cmd/safeexec/internal/run"
)

// With the build tag manual this isn't the command, but what writes its manual pages and completions into the directory
// SAFEEXEC_MANUAL, as make install wants them: man1/, bash/, zsh/ and fish/. SOURCE_DATE_EPOCH is their date, and
// SAFEEXEC_VERSION their version. (Arguments would be the command's, which is why there are none.)
func init() {
	if err := writeManual(os.Getenv("SAFEEXEC_MANUAL")); err != nil {
		fmt.Fprintln(os.Stderr, "manual:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func writeManual(directory string) error {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	commands := allCommands()
	files := map[string]string{
		"bash/safeexec":      manual.Bash(commands),
		"zsh/_safeexec":      manual.Zsh(commands),
		"fish/safeexec.fish": manual.Fish(commands),
	}
	for _, c := range commands {
		name := strings.TrimSuffix("safeexec-"+c.Name, "-")
		files["man1/"+name+".1"], err = manual.Page(c, "safeexec "+os.Getenv("SAFEEXEC_VERSION"), time.Unix(seconds, 0))
		if err != nil {
			return err
		}
	}
	for name, text := range files {
		name = filepath.Join(directory, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// allCommands are the command and its subcommands as --help has them.
func allCommands() []manual.Command {
	app := newApp(nil, nil)
	all := []manual.Command{{Summary: app.Usage, Synopsis: synopses(app), Options: optionsOf(run.Table)}}
	for _, c := range app.Commands {
		one := manual.Command{Name: c.Name, Summary: c.Usage, Synopsis: strings.Split(c.UsageText, "\n"), Options: flagOptions(c.Flags)}
		if c.Name == "policy" {
			one.Options = optionsOf(run.PolicyTable())
		}
		all = append(all, one)
	}
	return all
}

// synopses are the command's own and those of its subcommands.
func synopses(app *cli.App) []string {
	lines := []string{app.UsageText}
	for _, c := range app.Commands {
		lines = append(lines, strings.Split(c.UsageText, "\n")...)
	}
	return lines
}

// optionsOf are the options of a table that a run parses by.
func optionsOf(table []run.Option) []manual.Option {
	var options []manual.Option
	for _, o := range table {
		value, text := placeholder(o.Usage)
		options = append(options, manual.Option{Names: dashed(o.Name, o.Aliases), Value: value, Optional: o.Bare != "", Text: text})
	}
	return options
}

// flagOptions are the options of a subcommand that urfave/cli parses, with the --help that it adds.
func flagOptions(flags []cli.Flag) []manual.Option {
	var options []manual.Option
	for _, flag := range append(slices.Clone(flags), cli.HelpFlag) {
		value, text := placeholder(flag.(cli.DocGenerationFlag).GetUsage())
		names := flag.Names()
		options = append(options, manual.Option{Names: dashed(names[0], names[1:]), Value: value, Text: text})
	}
	return options
}

var quoted = regexp.MustCompile("`([^`]*)`")

// placeholder takes the name of an option's value out of its usage.
func placeholder(usage string) (value, text string) {
	if match := quoted.FindStringSubmatch(usage); match != nil {
		value = match[1]
	}
	return value, quoted.ReplaceAllString(usage, "<$1>")
}

// dashed puts dashes before an option's names: one before a letter.
func dashed(name string, aliases []string) []string {
	names := append([]string{name}, aliases...)
	for i, name := range names {
		names[i] = strings.Repeat("-", min(len(name), 2)) + name
	}
	return names
}
