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

// doctorCommand says what a running process holds that it shouldn't.
func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "say what a running process holds that it shouldn't, and which option would have prevented it",
		UsageText: "safeexec doctor [--keep LIST] [--json] PID",
		Description: "Looks for directories outside of the process's root, locks that it keeps alive for others, what it got from its\n" +
			"parent, what it shares with unrelated processes, deleted files, non-blocking terminals and pipes, and what its next\n" +
			"child would get. Exits with 0 when there is nothing of that, with 1 when there is or the process is gone.",
		HideHelpCommand: true,
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return err },
		Flags: []cli.Flag{
			&cli.GenericFlag{Name: "keep", Value: new(words), Usage: "the process is meant to have the descriptors in `LIST`, and to pass them on"},
			&cli.BoolFlag{Name: "json", DisableDefaultText: true, Usage: "write JSON for programs"},
		},
		Action: func(c *cli.Context) error {
			p, err := examine(c)
			if err == nil {
				err = p.write(c)
			}
			switch {
			case errors.Is(err, syscall.ESRCH):
				return cli.Exit("doctor: "+err.Error(), exitFound)
			case err != nil:
				return cli.Exit("doctor: "+err.Error(), exitFailed)
			case len(p.findings) > 0:
				return cli.Exit("", exitFound)
			}
			return nil
		},
	}
}

// examine looks at the process that the command line names.
func examine(c *cli.Context) (*patient, error) {
	if c.Args().Len() != 1 {
		return nil, errors.New("it takes the number of one process; see safeexec doctor --help")
	}
	pids, err := parsePIDs("PID", c.Args().Slice())
	if err != nil {
		return nil, err
	}
	meant, err := parseMeant(wordsOf(c, "keep"))
	if err != nil {
		return nil, err
	}
	reader, err := fdtable.NewReader()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	progress := startProgress(c.App.ErrWriter)
	defer progress.stop()
	p, err := newPatient(reader, pids[0], progress)
	if err != nil {
		return nil, err
	}
	p.meant = meant
	p.findings = p.judge()
	return p, nil
}

// parseMeant reads which descriptors need no excuse.
func parseMeant(lists []string) ([]fdtable.Item, error) {
	var meant []fdtable.Item
	for _, list := range lists {
		items, err := fdtable.ParseList(list)
		if err != nil {
			return nil, fmt.Errorf("--keep: %w", err)
		}
		for _, item := range items {
			if item.All || item.To >= 0 || item.Suffix != "" {
				return nil, fmt.Errorf("--keep %s: only N and N-M mean something here", item)
			}
		}
		meant = append(meant, items...)
	}
	return meant, nil
}

// newPatient reads the process's table, and compares it with those of all processes that can be seen.
func newPatient(reader *fdtable.Reader, pid int, progress *progress) (*patient, error) {
	processes, err := reader.Processes()
	if err != nil {
		return nil, err
	}
	listings, err := selection{pids: []int{pid}, all: true}.list(reader, progress, true)
	if err != nil {
		return nil, err
	}
	self := slices.IndexFunc(listings, func(l listing) bool { return l.process.PID == pid })
	if err := listings[self].err; err != nil {
		return nil, err
	}
	p := &patient{process: listings[self].process, family: familyOf(processes, pid)}
	progress.say("comparing descriptions")
	if err := p.compare(reader, listings, &listings[self].process); err != nil {
		return nil, err
	}
	p.forked = p.sameProgram() && p.sharesClosing()
	return p, nil
}

// compare fills in the descriptors, and who else holds their descriptions.
func (p *patient) compare(reader *fdtable.Reader, listings []listing, self *fdtable.Process) error {
	own, err := reader.Process(0)
	if err != nil {
		return err
	}
	if own.PID != os.Getpid() {
		return errOtherNumbers
	}
	descriptions := gather(holdersOf(onlyComparable(listings, self)), group)
	descriptions = slices.DeleteFunc(descriptions, func(d description) bool {
		return !slices.ContainsFunc(d.holders, func(h holder) bool { return h.process == self })
	})
	if err := readHolders(reader, listings, descriptions); err != nil {
		return err
	}
	for _, d := range settle(descriptions, reader.Process) {
		for i, h := range d.holders {
			if h.process == self {
				others := slices.Delete(slices.Clone(d.holders), i, i+1)
				p.held = append(p.held, p.look(reader, *h.descriptor, others, d.unknown))
			}
		}
	}
	slices.SortFunc(p.held, func(a, b held) int { return a.descriptor.Number - b.descriptor.Number })
	if again, err := reader.Process(p.process.PID); err != nil || again.Started != self.Started {
		return fmt.Errorf("process %d: %w", p.process.PID, syscall.ESRCH)
	}
	for _, l := range listings {
		if l.unseen() {
			p.unseen++
		}
	}
	return nil
}

// onlyComparable leaves out what can't be the same description as anything that the process has.
func onlyComparable(listings []listing, self *fdtable.Process) []listing {
	keys := map[string]bool{}
	for i := range listings {
		if &listings[i].process == self {
			for _, identity := range listings[i].identities {
				keys[keyOf(identity)] = true
			}
		}
	}
	for i := range listings {
		l := &listings[i]
		l.identities = slices.DeleteFunc(l.identities, func(identity fdtable.Identity) bool { return !keys[keyOf(identity)] })
	}
	return listings
}

// look completes what is known of a descriptor. Of a process's own duplicates the others aren't holders of their own.
func (p *patient) look(reader *fdtable.Reader, d fdtable.Descriptor, others []holder, unknown error) held {
	h := held{descriptor: d, unknown: unknown}
	h.others = slices.DeleteFunc(others, func(o holder) bool { return o.process.PID == p.process.PID })
	if d.Kind == fdtable.KindDirectory {
		h.outside, h.unknownPlace = reader.Outside(p.process.PID, d.Number)
	}
	return h
}

// sameProgram reports whether the parent runs the same file.
func (p *patient) sameProgram() bool {
	own, err1 := os.Stat(program(p.process.PID))
	parent, err2 := os.Stat(program(p.process.Parent))
	return err1 == nil && err2 == nil && os.SameFile(own, parent)
}

func program(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/exe" }
