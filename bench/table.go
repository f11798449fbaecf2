package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// A table is what a part of the benchmark came to.
type table struct {
	title   string
	columns []column
	rows    []row
	notes   []string
}

type column struct {
	name  string
	unit  string
	chart bool // drawn in the chart
}

type row struct {
	name  string
	ours  bool
	cells []cell
}

// A cell holds a value in its column's unit, and a ratio to what the table compares with. NaN stands for none.
type cell struct{ value, ratio float64 }

func plain(value float64) cell { return cell{value, math.NaN()} }

// again ends the names of the rows that measure what another row has measured already, in order to see the noise.
const again = ", again"

func (t *table) write(w io.Writer) {
	lines := [][]string{{t.title}}
	for _, c := range t.columns {
		lines[0] = append(lines[0], c.name+" "+c.unit, "")
	}
	for _, r := range t.rows {
		line := []string{r.name}
		for _, c := range r.cells {
			line = append(line, figure(c.value), ratio(c.ratio))
		}
		lines = append(lines, line)
	}
	align(w, lines)
	for _, note := range append(t.notes, t.noise()...) {
		fmt.Fprintf(w, "  %s\n", note)
	}
	fmt.Fprintln(w)
}

// noise says how far the rows that were measured twice are apart.
func (t *table) noise() []string {
	worst, of := -1.0, ""
	for _, r := range t.rows {
		first := t.row(strings.TrimSuffix(r.name, again))
		if first == nil || first.name == r.name {
			continue
		}
		for i, c := range r.cells {
			apart := math.Abs(c.value/first.cells[i].value-1) * 100
			if first.cells[i].value != 0 && apart > worst {
				worst, of = apart, first.name+" in the column "+t.columns[i].name
			}
		}
	}
	if worst < 0 {
		return nil
	}
	return []string{fmt.Sprintf("Noise: what was measured twice differs by up to %.1f %% (%s).", worst, of)}
}

func (t *table) row(name string) *row {
	for i := range t.rows {
		if t.rows[i].name == name {
			return &t.rows[i]
		}
	}
	return nil
}

// align prints lines in columns, the first to the left and the others to the right. Columns with nothing in them vanish.
func align(w io.Writer, lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, field := range line {
			widths[i] = max(widths[i], len([]rune(field)))
		}
	}
	for _, line := range lines {
		var text strings.Builder
		for i, field := range line {
			pad := strings.Repeat(" ", widths[i]-len([]rune(field)))
			switch {
			case i == 0:
				text.WriteString(field + pad)
			case widths[i] > 0:
				text.WriteString("  " + pad + field)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(text.String(), " "))
	}
}

// figure gives a value about three digits.
func figure(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case a >= 10_000:
		return thousands(int64(math.Round(v)))
	case a >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func ratio(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return "x " + fmt.Sprintf("%.2f", v)
}

func thousands(n int64) string {
	if n < 0 {
		return "-" + thousands(-n)
	}
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
