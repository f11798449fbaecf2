package manual

import (
	"bytes"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/safeexec/safeexec/cmd/safeexec/internal/run"
)

// Every word that is offered must be one that a run takes, and every option with a choice of words must offer all of them.
func TestWords(t *testing.T) {
	find := func(name string) *run.Option {
		table := run.PolicyTable() // which has --format as well
		for _, options := range [][]run.Option{run.Table, table} {
			for i := range options {
				if "--"+options[i].Name == name {
					return &options[i]
				}
			}
		}
		return nil
	}
	for name, words := range words {
		option := find(name)
		if option == nil {
			t.Errorf("there is no option %s", name)
			continue
		}
		for _, word := range words {
			if err := option.Value(new(run.Options)).Set(word); err != nil && word != "+" {
				t.Errorf("%s %s: %v", name, word, err)
			}
		}
		err := option.Value(new(run.Options)).Set("no such word")
		if err == nil {
			t.Errorf("%s takes any word", name)
		} else if _, all, ok := strings.Cut(err.Error(), " is none of "); ok && all != strings.Join(words, ", ") {
			t.Errorf("%s offers %s, but takes %s", name, words, all)
		}
	}
	for _, option := range run.Table {
		if option.Toggle {
			continue
		}
		err := option.Value(new(run.Options)).Set("no such word")
		if err != nil && strings.Contains(err.Error(), " is none of ") && words["--"+option.Name] == nil {
			t.Errorf("nothing is offered for --%s: %v", option.Name, err)
		}
	}
}

func TestProse(t *testing.T) {
	sections, options := prose("lost\n# A B\n\none\n\n    # literal\n# C\n## --x\ntwo\n## -y\n# D\nthree\n")
	if want := []section{{"A B", "\none\n\n    # literal\n"}, {"C", ""}, {"D", "three\n"}}; !reflect.DeepEqual(sections, want) {
		t.Errorf("%q", sections)
	}
	if want := []section{{"--x", "two\n"}, {"-y", ""}}; !reflect.DeepEqual(options, want) {
		t.Errorf("%q", options)
	}
}

func TestRoff(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"one\ntwo", "one two\n"},
		{"one\n\ntwo", "one\n.PP\ntwo\n"},
		{".dot and 'quote'\\", "\\&.dot and \\(aqquote\\(aq\\e\n"},
		{"`--keep` <LIST> a-b", "\\fB\\-\\-keep\\fR \\fILIST\\fR a\\-b\n"},
		{"`<(x)` and <x>", "\\fB<(x)\\fR and <x>\n"},
		{"- one\n- two\n  more", ".IP \\(bu 2\none\n.IP \\(bu 2\ntwo more\n"},
		{": `A`\none\n: B\ntwo", ".TP\n\\fBA\\fR\none\n.TP\nB\ntwo\n"},
		{"x\n\n    a  b\n    .c", "x\n.PP\n.RS 4\n.nf\na  b\n\\&.c\n.fi\n.RE\n"},
		{"    first", ".RS 4\n.nf\nfirst\n.fi\n.RE\n"},
		{strings.Repeat("word ", 17), strings.TrimSpace(strings.Repeat("word ", 15)) + "\nword word\n"},
	} {
		var r roff
		r.blocks(c.text)
		if r.String() != c.want {
			t.Errorf("%q: %q, want %q", c.text, r.String(), c.want)
		}
	}
	for line, want := range map[string]string{
		"safeexec [options] [--] command [argument ...]": `\fBsafeexec\fR [\fIoptions\fR] [\fB\-\-\fR] \fIcommand\fR [\fIargument\fR ...]`,
		"safeexec fds [--pid PID]":                       `\fBsafeexec\fR \fBfds\fR [\fB\-\-pid\fR \fIPID\fR]`,
	} {
		if got := synopsis(line); got != want {
			t.Errorf("%q: %q", line, got)
		}
	}
}

// sample has some of the options with all that can be said of one; the rest are there because the page speaks of them.
func sample() Command {
	c := Command{Summary: "run", Synopsis: []string{"safeexec command"}, Options: []Option{
		{Names: []string{"--keep", "-k"}, Value: "LIST", Text: "pass the <LIST>"},
		{Names: []string{"--private"}, Value: "LIST", Text: "it's"},
		{Names: []string{"--close"}, Value: "LIST", Text: "c"},
		{Names: []string{"--keep-args"}, Text: "a"},
		{Names: []string{"--guard"}, Value: "OPS", Optional: true, Text: "g: [x]"},
		{Names: []string{"--leaks"}, Value: "MODE", Text: "l"},
		{Names: []string{"--deny"}, Value: "OPS", Text: "d"},
		{Names: []string{"--on-violation"}, Value: "ACTION", Text: "v"},
		{Names: []string{"--json-status-fd"}, Value: "N", Text: "n"},
	}}
	for _, option := range run.Table {
		name := "--" + option.Name
		if !slices.ContainsFunc(c.Options, func(o Option) bool { return o.Names[0] == name }) {
			c.Options = append(c.Options, Option{Names: []string{name}, Text: "r"})
		}
	}
	return c
}

// whole has the options besides that the page of the command has prose for.
func whole() Command {
	c := sample()
	for _, name := range []string{"--relay", "--report", "--seccomp-profile"} {
		c.Options = append(c.Options, Option{Names: []string{name}, Value: "X", Text: "x"})
	}
	return c
}

func TestPage(t *testing.T) {
	page, err := Page(whole(), "safeexec v1", time.Unix(1<<30, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`.TH "SAFEEXEC" "1" "2004-01-10" "safeexec v1" "User Commands"` + "\n.SH \"NAME\"\nsafeexec \\- run\n",
		".TP\n\\fB\\-k\\fR, \\fB\\-\\-keep\\fR \\fILIST\\fR\nPass the \\fILIST\\fR.\n.RS\n",
		".TP\n\\fB\\-\\-guard\\fR[=\\fIOPS\\fR]\nG: [x].\n",
	} {
		if !strings.Contains(page, text) {
			t.Errorf("%q isn't in\n%s", text, page)
		}
	}
	c := sample()
	c.Options = c.Options[1:]
	if _, err := Page(c, "", time.Time{}); err == nil || !strings.Contains(err.Error(), "no option --keep") {
		t.Errorf("an option that the prose is about is missing: %v", err)
	}
	if _, err := Page(Command{Name: "nope"}, "", time.Time{}); err == nil {
		t.Error("a page without prose")
	}
}

func TestCompletions(t *testing.T) {
	sub := Command{Name: "doctor", Summary: "it's ill", Options: []Option{{Names: []string{"--json"}, Text: "j"}}}
	for name, c := range map[string]struct {
		script string
		want   []string
	}{
		"bash": {Bash([]Command{sample(), sub}), []string{
			"\t[doctor]='--json'\n", "\t['run --keep']='LIST all'\n", "\t['run -k']='LIST all'\n", "\t['run --guard']=1\n",
			"\t['run --leaks']='close warn error'\n",
		}},
		"zsh": {Zsh([]Command{sample(), sub}), []string{
			`'*--keep=[pass the LIST]:LIST:_safeexec_list_all' '*-k+[pass the LIST]:LIST:_safeexec_list_all' \`,
			`'*--private=[it'\''s]:LIST:_safeexec_list' \`, `'*--guard=-[g\: \[x\]]::OPS:_sequence compadd - flags`,
			`'doctor:it'\''s ill'`, `'*--leaks=[l]:MODE:(close warn error)' \`,
		}},
		"fish": {Fish([]Command{sample(), sub}), []string{
			`complete -c safeexec -n __safeexec_first -a doctor -d 'it\'s ill'`,
			`complete -c safeexec -n '__safeexec_in run' -l keep -s k -d 'pass the LIST' -r -f -a '(__safeexec_list all)'`,
			"complete -c safeexec -n '__safeexec_in run' -l guard -d 'g: [x]'\n", "case --keep -k --private --close --leaks ",
		}},
	} {
		for _, want := range c.want {
			if !strings.Contains(c.script, want) {
				t.Errorf("%s: %q isn't in\n%s", name, want, c.script)
			}
		}
		if left := regexp.MustCompile(`@[A-Z]+@`).FindString(c.script); left != "" {
			t.Errorf("%s: %s is left", name, left)
		}
	}
}

// Whatever the prose is, troff sees no request but ours.
func FuzzRoff(f *testing.F) {
	f.Add("- .so /etc/passwd\n\n: .x\n.y\n\n    .z\n\n'q `a` <B>")
	macros := []string{".PP", ".TP", ".IP \\(bu 2", ".RS 4", ".RE", ".nf", ".fi"}
	f.Fuzz(func(t *testing.T, text string) {
		var r roff
		r.blocks(text)
		for line := range bytes.Lines([]byte(r.String())) {
			line := strings.TrimSuffix(string(line), "\n")
			if (strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'")) && !slices.Contains(macros, line) {
				t.Errorf("%q makes the request %q", text, line)
			}
		}
	})
}
