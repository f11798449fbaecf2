package main

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"

	"github.com/safeexec/safeexec/fdtable"
)

// writeDot draws a picture in the language of Graphviz: on the left the processes, a box each with a line for every
// descriptor, on the right the descriptions. Where it isn't known whether a description is shared its outline is dashed.
func writeDot(w io.Writer, listings []listing, descriptions []description) error {
	out := bufio.NewWriter(w)
	fmt.Fprint(out, `digraph descriptors {
	graph [rankdir=LR, nodesep=0.15, ranksep=1.6, bgcolor=white]
	node [fontname="sans-serif", fontsize=10, shape=plain]
	edge [color="#5b6770", arrowsize=0.6]
`)
	pictured := map[*fdtable.Process][]*fdtable.Descriptor{}
	for _, d := range descriptions {
		for _, h := range d.holders {
			pictured[h.process] = append(pictured[h.process], h.descriptor)
		}
	}
	for i := range listings {
		if p := &listings[i].process; len(pictured[p]) > 0 {
			writeDotProcess(out, p, pictured[p])
		}
	}
	for i, d := range descriptions {
		writeDotDescription(out, i, d)
	}
	fmt.Fprintln(out, "}")
	return out.Flush()
}

func writeDotProcess(w io.Writer, p *fdtable.Process, descriptors []*fdtable.Descriptor) {
	slices.SortFunc(descriptors, func(a, b *fdtable.Descriptor) int { return a.Number - b.Number })
	fmt.Fprintf(w, "\tp%d [label=<<table border=\"0\" cellborder=\"1\" cellspacing=\"0\" cellpadding=\"4\" color=\"#5b6770\">", p.PID)
	fmt.Fprintf(w, `<tr><td bgcolor="#dce9f7"><b>%s</b> %d</td></tr>`, dotText(p.Name), p.PID)
	for _, d := range descriptors {
		text := fmt.Sprint(d.Number)
		if d.CloseOnExec {
			text += ` <font color="#5b6770">cloexec</font>`
		}
		fmt.Fprintf(w, `<tr><td port="d%d" align="right">%s</td></tr>`, d.Number, text)
	}
	fmt.Fprintln(w, "</table>>]")
}

func writeDotDescription(w io.Writer, number int, d description) {
	fill, style := "#f4f4f4", "rounded"
	switch {
	case d.unknown != nil:
		style = "rounded,dashed"
	case slices.ContainsFunc(d.locks, fdtable.Lock.OnDescription):
		fill = "#fbe3d6"
	case len(d.holders) > 1:
		fill = "#fdf3d0"
	}
	fmt.Fprintf(w, "\to%d [label=<<table border=\"1\" cellborder=\"0\" cellspacing=\"0\" cellpadding=\"2\" color=\"#5b6770\" style=%q bgcolor=%q>",
		number, style, fill)
	for i, line := range dotLines(d) {
		if i == 0 {
			line = "<b>" + line + "</b>"
		}
		fmt.Fprintf(w, `<tr><td align="left">%s</td></tr>`, line)
	}
	fmt.Fprintln(w, "</table>>]")
	for _, h := range d.holders {
		fmt.Fprintf(w, "\tp%d:d%d:e -> o%d:w\n", h.process.PID, h.descriptor.Number, number)
	}
}

// dotLines are the lines of a description's box: what it refers to, then its state.
func dotLines(d description) []string {
	first := d.first()
	state := []string{string(first.Kind), first.Flags.Access(), flagsText(first.Flags)}
	if hasOffset(first) {
		state = append(state, fmt.Sprint("offset ", first.Offset))
	}
	lines := []string{targetText(first), strings.Join(slices.DeleteFunc(state, func(s string) bool { return s == "" }), "  ")}
	for _, lock := range d.locks {
		lines = append(lines, lock.String())
	}
	lines = append(lines, d.ownerText())
	if d.unknown != nil {
		lines = append(lines, "unknown whether shared: "+unknownText(d.unknown))
	}
	lines = slices.DeleteFunc(lines, func(s string) bool { return s == "" })
	for i := range lines {
		lines[i] = html.EscapeString(lines[i]) // printable already
	}
	return lines
}

func dotText(s string) string { return html.EscapeString(fdtable.Printable(s)) }
