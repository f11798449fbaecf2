package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/safeexec/safeexec/fdtable"
)

// writeSharing writes a paragraph for each description that is shared: what it is, and who refers to it.
func writeSharing(w io.Writer, listings []listing, s sharing, colours bool) error {
	out := bufio.NewWriter(w)
	shared := s.shared()
	for _, d := range shared {
		fmt.Fprintln(out, painted(descriptionText(d), paintGreen, colours))
		writeTable(out, holderColumns(), holderRows(d.holders), colours)
		fmt.Fprintln(out)
	}
	writeUnknown(out, s.unknown(), colours)
	fmt.Fprintln(out, summary(listings, s, len(shared)))
	if s.unseen > 0 {
		fmt.Fprintf(out, "unknown: what %s, not ours to see\n", count(s.unseen, "process shares", "processes share"))
	}
	return out.Flush()
}

// summary counts. Where something isn't known, it claims nothing about what it doesn't count.
func summary(listings []listing, s sharing, shared int) string {
	seen := 0
	for _, l := range listings {
		if l.err == nil {
			seen++
		}
	}
	known := ""
	if seen < len(listings) || len(s.unknown()) > 0 {
		known = "known to be "
	}
	return fmt.Sprintf("%s %sshared among %s of %s", count(shared, "description is", "descriptions are"), known,
		count(s.looked, "descriptor", "descriptors"), count(seen, "process", "processes"))
}

func count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + several
}

// descriptionText says in one line what a description is.
func descriptionText(d description) string {
	first := d.first()
	words := []string{string(first.Kind), first.Flags.Access(), flagsText(first.Flags)}
	if hasOffset(first) {
		words = append(words, "offset "+strconv.FormatInt(first.Offset, 10))
	}
	words = append(words, locksText(d.locks), d.ownerText(), targetText(first))
	words = slices.DeleteFunc(words, func(word string) bool { return word == "" })
	return strings.Join(words, "  ")
}

func holderColumns() []column {
	return []column{{title: "PID", right: true, indent: 4}, {title: "NAME"}, {title: "FD"}, {title: "CLOEXEC"}}
}

// holderRows has a row for each process. Holders come in the order of the listings, a process's descriptors together.
func holderRows(holders []holder) [][]string {
	var rows [][]string
	for len(holders) > 0 {
		p := holders[0].process
		n := slices.IndexFunc(holders, func(h holder) bool { return h.process != p })
		if n < 0 {
			n = len(holders)
		}
		var all, closed []int
		for _, h := range holders[:n] {
			all = append(all, h.descriptor.Number)
			if h.descriptor.CloseOnExec {
				closed = append(closed, h.descriptor.Number)
			}
		}
		rows = append(rows, []string{strconv.Itoa(p.PID), fdtable.Printable(p.Name), numbersText(all), numbersText(closed)})
		holders = holders[n:]
	}
	return rows
}

// numbersText writes ascending numbers as "0-2,7".
func numbersText(numbers []int) string {
	var text []string
	for i := 0; i < len(numbers); {
		last := i
		for last+1 < len(numbers) && numbers[last+1] == numbers[last]+1 {
			last++
		}
		switch last - i {
		case 0:
			text = append(text, strconv.Itoa(numbers[i]))
		case 1:
			text = append(text, strconv.Itoa(numbers[i]), strconv.Itoa(numbers[last]))
		default:
			text = append(text, strconv.Itoa(numbers[i])+"-"+strconv.Itoa(numbers[last]))
		}
		i = last + 1
	}
	return strings.Join(text, ",")
}

// writeUnknown names each descriptor that couldn't be compared with others that it may share with.
func writeUnknown(w io.Writer, unknown []description, colours bool) {
	if len(unknown) == 0 {
		return
	}
	fmt.Fprintln(w, painted("unknown: whether these are shared, and with whom", paintYellow, colours))
	columns := []column{
		{title: "PID", right: true, indent: 4},
		{title: "NAME"},
		{title: "FD", right: true},
		{title: "KIND"},
		{title: "ACCESS"},
		{title: "WHY", paint: paintYellow},
		{title: "TARGET"},
	}
	var rows [][]string
	for _, d := range unknown {
		first, p := d.first(), d.holders[0].process
		rows = append(rows, []string{
			strconv.Itoa(p.PID), fdtable.Printable(p.Name), strconv.Itoa(first.Number), string(first.Kind), first.Flags.Access(),
			unknownText(d.unknown), targetText(first),
		})
	}
	writeTable(w, columns, rows, colours)
	fmt.Fprintln(w)
}
