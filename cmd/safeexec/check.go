package main

import (
	"bufio"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/probe"
)

// stdioNote is true on every kernel, and so no probe's business.
const stdioNote = "a 0, 1 or 2 that the caller left closed is /dev/null in the command: " +
	"Go's runtime opens it when it starts"

// checkCommand says what this kernel and this container offer, and what that means for the promises.
func checkCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "say what this kernel and this container offer, and which promise would fall back or fail",
		UsageText: "safeexec check [--json]",
		Description: "Changes nothing and starts nothing. Exits with 0 when every promise holds at full strength, with 1 when one falls\n" +
			"back or fails here. What only newer kernels have is told, and doesn't count.",
		HideHelpCommand: true,
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return err },
		Flags:           []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "write JSON for programs"}},
		Action:          runCheck,
	}
}

func runCheck(c *cli.Context) error {
	if c.Args().Present() {
		return cli.Exit(fmt.Sprintf("check: unexpected argument %q", c.Args().First()), exitFailed)
	}
	features := probe.All()
	var err error
	if c.Bool("json") {
		err = writeJSON(c.App.Writer, newCheckJSON(probe.Kernel(), features))
	} else {
		err = writeCheck(c.App.Writer, probe.Kernel(), features, mayPaint(c.App.Writer))
	}
	switch {
	case err != nil:
		return cli.Exit("check: "+err.Error(), exitFailed)
	case !probe.FullStrength(features):
		return cli.Exit("", exitFound)
	}
	return nil
}

// The JSON of "safeexec check --json" is one object:
//
//	kernel          string: the running kernel's release
//	full_strength   true when no feature is missing that counts
//	features        list of objects
//	  name          string: "close-range", "landlock", ...; new ones may come
//	  since         string: the version of Linux that brought it; null where no version decides
//	  present       true or false
//	  value         string: what there is more to tell, "ABI 7"; null for nothing
//	  reason        string: the errno's name or a text that says why it isn't present; null when it is
//	  if_missing    "falls back", "fails" (what needs it is refused) or "extra" (doesn't count)
//	  effect        string: if_missing in words
//	notes           list of strings for people
type checkJSON struct {
	Kernel       string        `json:"kernel"`
	FullStrength bool          `json:"full_strength"`
	Features     []featureJSON `json:"features"`
	Notes        []string      `json:"notes"`
}

type featureJSON struct {
	Name      string  `json:"name"`
	Since     *string `json:"since"`
	Present   bool    `json:"present"`
	Value     *string `json:"value"`
	Reason    *string `json:"reason"`
	IfMissing string  `json:"if_missing"`
	Effect    string  `json:"effect"`
}

func newCheckJSON(kernel string, features []probe.Feature) checkJSON {
	j := checkJSON{Kernel: kernel, FullStrength: probe.FullStrength(features), Notes: []string{stdioNote}}
	optional := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	for _, f := range features {
		j.Features = append(j.Features, featureJSON{
			f.Name, optional(f.Since), f.Present, optional(f.Value), optional(f.Reason), string(f.Loss), f.Effect,
		})
	}
	return j
}

func writeCheck(w io.Writer, kernel string, features []probe.Feature, colours bool) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "kernel %s\n", fdtable.Printable(kernel))
	var present, missing [][]string
	counted := 0
	for _, f := range features {
		switch {
		case f.Present:
			present = append(present, []string{f.Name, f.Since, f.Value})
		default:
			missing = append(missing, []string{f.Name, f.Since, fdtable.Printable(f.Reason), string(f.Loss), f.Effect})
		}
		if f.Counts() {
			counted++
		}
	}
	writeTable(out, []column{{title: "PRESENT", paint: paintGreen}, {title: "SINCE"}, {title: "VALUE"}}, present, colours)
	if len(missing) > 0 {
		fmt.Fprintln(out)
		writeTable(out, []column{
			{title: "MISSING", paint: paintRed}, {title: "SINCE"}, {title: "WHY"}, {title: "PROMISE"}, {title: "SO"},
		}, missing, colours)
	}
	fmt.Fprintf(out, "\nnote: %s\n", stdioNote)
	switch counted {
	case 0:
		fmt.Fprintln(out, "every promise holds at full strength")
	default:
		fmt.Fprintf(out, "not at full strength: %d missing of what the promises build on\n", counted)
	}
	return out.Flush()
}
