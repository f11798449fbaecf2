package manual

import (
	"regexp"
	"strings"
)

// A roff is a text for troff's man macros.
type roff struct{ strings.Builder }

// macro writes a request with its arguments.
func (r *roff) macro(name string, arguments ...string) {
	r.WriteString("." + name)
	for _, argument := range arguments {
		r.WriteString(` "` + strings.ReplaceAll(escape(argument), `"`, `\(dq`) + `"`)
	}
	r.WriteString("\n")
}

// line writes a line of text in which everything that needs it is escaped.
func (r *roff) line(text string) {
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	r.WriteString(text + "\n")
}

// paragraph writes plain text with its markup, in lines of the usual width.
func (r *roff) paragraph(text string) {
	const width = 78
	line := ""
	for _, word := range strings.Fields(markup(text)) {
		if line != "" && len(line)+1+len(word) > width {
			r.line(line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	if line != "" {
		r.line(line)
	}
}

// blocks writes text that has blank lines between its blocks: paragraphs; "- " items; ": TERM" with its explanation in the
// lines below; and what is indented by four blanks as it stands.
func (r *roff) blocks(text string) {
	first := true
	for block := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		block = strings.Trim(block, "\n")
		switch {
		case block == "":
		case strings.HasPrefix(block, "    "):
			if !first {
				r.macro("PP")
			}
			r.literal(block)
		case strings.HasPrefix(block, "- "):
			for item := range strings.SplitSeq(block[2:], "\n- ") {
				r.WriteString(".IP \\(bu 2\n")
				r.paragraph(item)
			}
		case strings.HasPrefix(block, ": "):
			for item := range strings.SplitSeq(block[2:], "\n: ") {
				term, rest, _ := strings.Cut(item, "\n")
				r.macro("TP")
				r.line(markup(term))
				r.paragraph(rest)
			}
		default:
			if !first {
				r.macro("PP")
			}
			r.paragraph(block)
		}
		first = false
	}
}

// literal writes lines as they are.
func (r *roff) literal(block string) {
	r.WriteString(".RS 4\n.nf\n")
	for line := range strings.SplitSeq(block, "\n") {
		r.line(escape(strings.TrimPrefix(line, "    ")))
	}
	r.WriteString(".fi\n.RE\n")
}

// escape makes text stand for itself. A bare hyphen would become a typographic one, which can't be copied into a shell.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\e`, `-`, `\-`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`, `'`, `\(aq`).Replace(text)
}

func bold(text string) string   { return `\fB` + escape(text) + `\fR` }
func italic(text string) string { return `\fI` + escape(text) + `\fR` }

var marked = regexp.MustCompile("`[^`]+`|<[A-Z]+>")

// markup sets `what is typed` bold, and <PLACEHOLDERS> in italics.
func markup(text string) string {
	var out strings.Builder
	at := 0
	for _, span := range marked.FindAllStringIndex(text, -1) {
		out.WriteString(escape(text[at:span[0]]))
		inner := text[span[0]+1 : span[1]-1]
		if text[span[0]] == '`' {
			out.WriteString(bold(inner))
		} else {
			out.WriteString(italic(inner))
		}
		at = span[1]
	}
	out.WriteString(escape(text[at:]))
	return out.String()
}

var typed = regexp.MustCompile(`[A-Z]{2,}|[a-z-]+`)

// synopsis sets a line of a synopsis: what is typed bold, what is replaced in italics. Words in brackets that aren't options
// are replaced too.
func synopsis(line string) string {
	var out strings.Builder
	at := 0
	for _, span := range typed.FindAllStringIndex(line, -1) {
		out.WriteString(escape(line[at:span[0]]))
		switch word := line[span[0]:span[1]]; word {
		case "options", "command", "argument":
			out.WriteString(italic(word))
		default:
			if word[0] >= 'A' && word[0] <= 'Z' {
				out.WriteString(italic(word))
			} else {
				out.WriteString(bold(word))
			}
		}
		at = span[1]
	}
	out.WriteString(escape(line[at:]))
	return out.String()
}
