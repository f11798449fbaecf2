package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/safeexec/safeexec/fdtable"
)

// A column of a table for people. The last one isn't padded.
type column struct {
	title  string
	right  bool   // aligned to the right
	paint  string // SGR parameters of its cells
	indent int    // blanks before it
}

const (
	paintDim    = "2"
	paintYellow = "33"
	paintRed    = "31"
	paintGreen  = "32"
)

// painted puts text into a colour.
func painted(text, sgr string, colours bool) string {
	if !colours || sgr == "" || text == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

// writeTable aligns the columns and leaves out those in which no row has anything. Cells must be printable.
func writeTable(w io.Writer, columns []column, rows [][]string, colours bool) {
	widths := make([]int, len(columns))
	for i := range columns {
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		if widths[i] > 0 {
			widths[i] = max(widths[i], len(columns[i].title))
		}
	}
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.title
	}
	writeRow(w, columns, widths, titles, func(int) string { return paintDim }, colours)
	for _, row := range rows {
		writeRow(w, columns, widths, row, func(i int) string { return columns[i].paint }, colours)
	}
}

func writeRow(w io.Writer, columns []column, widths []int, cells []string, paint func(int) string, colours bool) {
	var line strings.Builder
	gap := 0 // blanks are written before the next cell only: no line ends in them
	for i, cell := range cells {
		if widths[i] == 0 {
			continue
		}
		pad := widths[i] - utf8.RuneCountInString(cell)
		gap += columns[i].indent
		if columns[i].right {
			gap, pad = gap+pad, 0
		}
		if cell != "" {
			line.WriteString(strings.Repeat(" ", gap))
			line.WriteString(painted(cell, paint(i), colours))
			gap = 0
		}
		gap += pad + 2
	}
	fmt.Fprintln(w, line.String())
}

func descriptorColumns() []column {
	return []column{
		{title: "FD", right: true},
		{title: "KIND"},
		{title: "ACCESS"},
		{title: "FLAGS"},
		{title: "CLOEXEC"},
		{title: "OFFSET", right: true},
		{title: "LOCKS", paint: paintYellow},
		{title: "TARGET"},
	}
}

func descriptorCells(d fdtable.Descriptor) []string {
	cells := []string{strconv.Itoa(d.Number), string(d.Kind), d.Flags.Access(), flagsText(d.Flags), "", "", locksText(d.Locks), targetText(d)}
	if d.CloseOnExec {
		cells[4] = "yes"
	}
	if hasOffset(d) {
		cells[5] = strconv.FormatInt(d.Offset, 10)
	}
	return cells
}

// hasOffset is what the kind says, unless the descriptor is for the place alone.
func hasOffset(d fdtable.Descriptor) bool { return d.Kind.HasOffset() && d.Flags.Access() != "path" }

// flagsText leaves out what tells a reader nothing: O_LARGEFILE depends on the system call that opened, and O_PATH is the access.
func flagsText(flags fdtable.Flags) string {
	names := slices.DeleteFunc(flags.Names(), func(name string) bool { return name == "O_LARGEFILE" || name == "O_PATH" })
	return strings.Join(names, ",")
}

func locksText(locks []fdtable.Lock) string {
	var texts []string
	for _, lock := range locks {
		texts = append(texts, lock.String())
	}
	return strings.Join(texts, "; ")
}

func targetText(d fdtable.Descriptor) string {
	text := fdtable.Printable(d.Target)
	if d.Socket != nil && d.Socket.String() != "" {
		text = d.Socket.String() + "  " + text
	}
	if d.Detail != "" {
		text += " (" + fdtable.Printable(d.Detail) + ")"
	}
	return text
}

// writeListings writes a table for each process, under its name where processes were asked for.
func writeListings(w io.Writer, listings []listing, named, colours bool) error {
	out := bufio.NewWriter(w)
	first := true
	for _, l := range listings {
		if l.err != nil {
			continue
		}
		if !first {
			fmt.Fprintln(out)
		}
		first = false
		if named {
			fmt.Fprintf(out, "process %d (%s)\n", l.process.PID, fdtable.Printable(l.process.Name))
		}
		if len(l.descriptors) == 0 {
			fmt.Fprintln(out, "no descriptors")
			continue
		}
		rows := make([][]string, 0, len(l.descriptors))
		for _, d := range l.descriptors {
			rows = append(rows, descriptorCells(d))
		}
		writeTable(out, descriptorColumns(), rows, colours)
	}
	return out.Flush()
}
