package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/safeexec/safeexec/fdtable"
)

func (p *patient) write(c *cli.Context) error {
	if c.Bool("json") {
		return writeJSON(c.App.Writer, newDoctorJSON(p))
	}
	return p.writeText(c.App.Writer, mayPaint(c.App.Writer))
}

// writeText writes a paragraph for each descriptor with a finding.
func (p *patient) writeText(w io.Writer, colours bool) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "process %d (%s)", p.process.PID, fdtable.Printable(p.process.Name))
	if p.process.Parent > 0 {
		fmt.Fprintf(out, ", child of %d (%s)", p.process.Parent, p.nameOf(p.process.Parent))
	}
	fmt.Fprintln(out)
	if p.forked {
		fmt.Fprintln(out, "a fork of its parent, without an exec: what it shares with that isn't counted")
	}
	for rest := p.findings; len(rest) > 0; {
		n := len(rest)
		if other := slices.IndexFunc(rest, func(f finding) bool { return f.held.descriptor.Number != rest[0].held.descriptor.Number }); other > 0 {
			n = other
		}
		writeFindings(out, rest[:n], colours)
		rest = rest[n:]
	}
	p.writeUnknown(out, colours)
	if len(p.findings) == 0 {
		fmt.Fprintf(out, "\nnothing found among %s\n", count(len(p.held), "descriptor", "descriptors"))
	} else {
		fmt.Fprintf(out, "\n%s among %s\n", count(len(p.findings), "finding", "findings"), count(len(p.held), "descriptor", "descriptors"))
	}
	return out.Flush()
}

// writeFindings writes those of one descriptor, and then what would have prevented them.
func writeFindings(w io.Writer, findings []finding, colours bool) {
	d := findings[0].held.descriptor
	fmt.Fprintf(w, "\n%s\n", painted(fmt.Sprintf("descriptor %d: %s", d.Number, shortText(d)), paintGreen, colours))
	var remedies []string
	for _, f := range findings {
		fmt.Fprintf(w, "    %s %s\n", painted(fmt.Sprintf("%-13s", f.kind), paintYellow, colours), f.text)
		if f.option != "" && !slices.Contains(remedies, f.how) {
			remedies = append(remedies, f.how)
		}
	}
	for _, how := range remedies {
		fmt.Fprintf(w, "    %-13s %s\n", "prevent it:", how)
	}
}

// shortText says what a descriptor refers to, without what the findings tell.
func shortText(d fdtable.Descriptor) string {
	words := []string{string(d.Kind), d.Flags.Access(), flagsText(d.Flags), locksText(d.Locks), targetText(d)}
	return strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), "  ")
}

// writeUnknown says what couldn't be looked at. It may hide anything, and counts for nothing.
func (p *patient) writeUnknown(w io.Writer, colours bool) {
	for _, h := range p.held {
		for _, text := range h.unknownTexts() {
			fmt.Fprintf(w, "\n%s\n", painted(fmt.Sprintf("unknown: descriptor %d: %s", h.descriptor.Number, text), paintYellow, colours))
		}
	}
	if p.unseen > 0 {
		fmt.Fprintf(w, "\nunknown: what %s, not ours to see\n", count(p.unseen, "process shares with it", "processes share with it"))
	}
}

// unknownTexts say why something couldn't be found out about a descriptor.
func (h held) unknownTexts() (texts []string) {
	if h.unknown != nil {
		texts = append(texts, "with whom it is shared: "+unknownText(h.unknown))
	}
	if h.unknownPlace != nil {
		texts = append(texts, "where it leads: "+h.unknownPlace.Error())
	}
	return texts
}

// The JSON of "safeexec doctor --json" is one object:
//
//	pid             number
//	name            string: the name that the process gave itself
//	parent          number: its parent; 0 for none that can be seen
//	forked          true when it is a fork of its parent, without an exec: what it shares with that isn't counted
//	descriptors     number: how many were looked at
//	findings        list of objects, by number; empty when nothing was found
//	  finding       string: "escape", "lock", "power", "inherited", "shared", "deleted", "non-blocking" or "passed-on"; new ones
//	                may come
//	  text          string: the finding in words
//	  option        string: the option that would have prevented it: "--keep" (leave the number out), "--close", "--private",
//	                "--guard"; null where none would
//	  how           string: the option in words; null where there is none
//	  holders       list of objects: the descriptors of other processes that refer to the same description
//	    pid, name, number, close_on_exec
//	                as in "safeexec fds --shared --json"
//	  number, close_on_exec, kind, access, flags, offset, locks, target, target_bytes, device, inode, detail, socket
//	                as in "safeexec fds --json"
//	unknown         list of objects: what couldn't be found out
//	  number        number: of the descriptor
//	  reason        string: what, and why
//	unseen          number: how many processes aren't ours to see, and may share something
type doctorJSON struct {
	PID         int           `json:"pid"`
	Name        string        `json:"name"`
	Parent      int           `json:"parent"`
	Forked      bool          `json:"forked"`
	Descriptors int           `json:"descriptors"`
	Findings    []findingJSON `json:"findings"`
	Unknown     []unseenJSON  `json:"unknown"`
	Unseen      int           `json:"unseen"`
}

type findingJSON struct {
	Finding string       `json:"finding"`
	Text    string       `json:"text"`
	Option  *string      `json:"option"`
	How     *string      `json:"how"`
	Holders []holderJSON `json:"holders"`
	descriptorJSON
}

type unseenJSON struct {
	Number int    `json:"number"`
	Reason string `json:"reason"`
}

func newDoctorJSON(p *patient) doctorJSON {
	j := doctorJSON{
		PID: p.process.PID, Name: p.process.Name, Parent: p.process.Parent, Forked: p.forked, Descriptors: len(p.held),
		Findings: []findingJSON{}, Unknown: []unseenJSON{}, Unseen: p.unseen,
	}
	for _, f := range p.findings {
		one := findingJSON{Finding: f.kind, Text: f.text, Holders: []holderJSON{}, descriptorJSON: newDescriptorJSON(f.held.descriptor)}
		if f.option != "" {
			one.Option, one.How = &f.option, &f.how
		}
		for _, o := range f.held.others {
			one.Holders = append(one.Holders, newHolderJSON(o))
		}
		j.Findings = append(j.Findings, one)
	}
	for _, h := range p.held {
		for _, text := range h.unknownTexts() {
			j.Unknown = append(j.Unknown, unseenJSON{h.descriptor.Number, text})
		}
	}
	return j
}
