// Package first runs a command before the rest of the program has been initialised.
//
// Packages are initialised by dependency and then by import path (the language's specification, Package initialization).
// All that help, subcommands and completion need comes late in that order, so a plain run that begins here doesn't pay for
// it: measured, a third of a whole start. Nothing depends on the order but speed: what isn't done here is done by main.
//
// It is imported by the command alone, and has no tests of its own, since a test binary that imports it would become a command.
package first

import (
	"os"

	"github.com/safeexec/safeexec/cmd/safeexec/internal/run"
)

func init() {
	if o, command, ok := run.Plain(os.Args[1:]); ok {
		os.Exit(o.Run(command, os.Stderr))
	}
}
