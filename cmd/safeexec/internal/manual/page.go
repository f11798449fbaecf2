package manual

import (
	"embed"
	"fmt"
	"slices"
	"strings"
	"time"
)

//go:embed pages
var pages embed.FS

// A section is a chapter of a page, or what a page says about one option.
type section struct {
	title string // "EXIT STATUS", or "--guard"
	body  string
}

// prose reads a page's text: a line "# TITLE" begins a section, "## --option" what belongs to an option.
func prose(text string) (sections, options []section) {
	at := &sections
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if title, ok := strings.CutPrefix(line, "## "); ok {
			at = &options
			options = append(options, section{title: title})
			continue
		}
		if title, ok := strings.CutPrefix(line, "# "); ok {
			at = &sections
			sections = append(sections, section{title: title})
			continue
		}
		if len(*at) > 0 {
			last := &(*at)[len(*at)-1]
			last.body += line + "\n"
		}
	}
	return sections, options
}

// Page is a command's manual page. Every section of its prose comes in the order in which it is written; the options stand
// in OPTIONS. Prose about an option that doesn't exist is an error.
func Page(c Command, version string, date time.Time) (string, error) {
	text, err := pages.ReadFile("pages/" + c.mode() + ".txt")
	if err != nil {
		return "", err
	}
	sections, about := prose(string(text))
	for _, a := range about {
		if !slices.ContainsFunc(c.Options, func(o Option) bool { return slices.Contains(o.Names, a.title) }) {
			return "", fmt.Errorf("pages/%s.txt: there is no option %s", c.mode(), a.title)
		}
	}
	var r roff
	title := c.full("-")
	r.WriteString(fmt.Sprintf(`.TH "%s" "1" "%s" "%s" "User Commands"`+"\n", escape(strings.ToUpper(title)), date.UTC().Format("2006-01-02"), escape(version)))
	r.macro("SH", "NAME")
	r.line(escape(title) + ` \- ` + escape(c.Summary))
	r.macro("SH", "SYNOPSIS")
	r.macro("nf")
	for _, line := range c.Synopsis {
		r.line(synopsis(line))
	}
	r.macro("fi")
	for _, s := range sections {
		r.macro("SH", s.title)
		r.blocks(s.body)
		if s.title == "OPTIONS" {
			for _, o := range c.Options {
				r.option(o, about)
			}
		}
	}
	return r.String(), nil
}

// option writes one option and what the prose adds to it.
func (r *roff) option(o Option, about []section) {
	r.macro("TP")
	r.line(o.head())
	r.paragraph(strings.ToUpper(o.Text[:1]) + o.Text[1:] + ".")
	for _, a := range about {
		if slices.Contains(o.Names, a.title) {
			r.macro("RS")
			r.blocks(a.body)
			r.macro("RE")
		}
	}
}

// head is "-k, --keep LIST".
func (o Option) head() string {
	names := slices.Clone(o.Names)
	slices.SortStableFunc(names, func(a, b string) int { return len(a) - len(b) })
	for i, name := range names {
		names[i] = bold(name)
	}
	head := strings.Join(names, ", ")
	switch {
	case o.Value == "":
		return head
	case o.Optional:
		return head + "[=" + italic(o.Value) + "]"
	}
	return head + " " + italic(o.Value)
}
