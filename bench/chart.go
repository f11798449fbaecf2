package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Measures of the chart, in pixels.
const (
	chartWidth = 860
	labelWidth = 300
	valueWidth = 130
	barHeight  = 18
	barStep    = 23
	margin     = 20
)

// chart draws every column marked for it as a panel of horizontal bars, ours in another colour. A panel whose bars would
// differ too much has a logarithmic scale, and says so.
func chart(title string, tables []table) string {
	var body strings.Builder
	y := margin + 16
	text(&body, margin, y, "start", 17, "#111", title)
	for _, t := range tables {
		for i, c := range t.columns {
			if c.chart {
				y = panel(&body, y+36, t.title+": "+c.name+" ("+c.unit+")", c, t.rows, i)
			}
		}
	}
	y += margin
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" `+
		`font-family="system-ui, sans-serif">`+"\n"+`<rect width="100%%" height="100%%" fill="#fff"/>`+"\n%s</svg>\n",
		chartWidth, y, chartWidth, y, body.String())
}

func panel(body *strings.Builder, y int, title string, c column, rows []row, i int) int {
	var shown []row
	least, most := math.Inf(1), 0.0
	for _, r := range rows {
		v := r.cells[i].value
		if strings.HasSuffix(r.name, again) || math.IsNaN(v) {
			continue
		}
		shown = append(shown, r)
		most = max(most, v)
		if v > 0 {
			least = min(least, v)
		}
	}
	least = max(least, most/1000) // what is nothing but noise may be as near to 0 as it likes
	logarithmic := most > 40*least
	if logarithmic {
		title += ", logarithmic"
	}
	text(body, margin, y, "start", 14, "#111", title)
	y += 10
	for _, r := range shown {
		v, full := r.cells[i].value, float64(chartWidth-labelWidth-valueWidth-margin)
		length := full * max(v, 0) / most
		if logarithmic {
			length = full * math.Log(max(v, least)/least*2) / math.Log(most/least*2)
		}
		colour := "#9aa5b1"
		if r.ours {
			colour = "#1a7f64"
		}
		text(body, labelWidth-8, y+13, "end", 13, "#333", r.name)
		length = max(length, 1)
		fmt.Fprintf(body, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", labelWidth, y, length, barHeight, colour)
		label := figure(v) + " " + c.unit
		if !math.IsNaN(r.cells[i].ratio) {
			label += "  " + ratio(r.cells[i].ratio)
		}
		text(body, labelWidth+int(length)+6, y+13, "start", 12, "#333", label)
		y += barStep
	}
	return y
}

func text(body *strings.Builder, x, y int, anchor string, size int, colour, s string) {
	fmt.Fprintf(body, `<text x="%d" y="%d" text-anchor="%s" font-size="%d" fill="%s">%s</text>`+"\n",
		x, y, anchor, size, colour, html.EscapeString(s))
}
