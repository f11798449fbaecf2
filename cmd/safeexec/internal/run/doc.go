// Package run is what safeexec does when it runs a command: parse the options, plan the command's table, become the command.
//
//	options.go  the options, defined once
//	plan.go     options to a plan: which number gets what
//	restrict.go --guard, --deny, filters
//	policy.go   the same options for the subcommand that prints the filter
//	found.go    numbers that arguments and variables name
//	leaks.go    --leaks, and descriptors in words
//	become.go   the walk from a plan to the exec
//	supervise.go  staying as the command's parent; terminal.go: job control; relay*.go: --relay
//	handover.go   guarding what outlives the command; front.go, restart.go: two processes, where it takes an ancestor
//	report.go   errors: one line, one JSON object, one exit status
//
// It knows nothing of help, completion and subcommands. The plainest command lines don't come here: internal/early does them.
package run
