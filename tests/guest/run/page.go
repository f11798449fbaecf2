package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// features is the package whose tests are told one by one: each is something that differs between kernels.
const features = "safeexec/tests/guest"

// A guest is a kernel with everything that was seen on it.
type guest struct {
	name   string
	took   time.Duration
	check  check // as root
	suites []suiteResults
}

// A suiteResults holds a package's tests as one user.
type suiteResults struct {
	name   string // safeexec/spawn
	uid    string
	status int
	tests  []result
}

// check is what "safeexec check --json" says.
type check struct {
	Kernel       string
	FullStrength bool `json:"full_strength"`
	Features     []struct {
		Name, Since, Value, Reason, Effect string
		Present                            bool
		IfMissing                          string `json:"if_missing"`
	}
}

func newGuest(name string, outcomes map[string]*outcome, took time.Duration) (*guest, error) {
	g := &guest{name: name, took: took}
	if outcomes["check"] == nil {
		return nil, fmt.Errorf("kernel %s: nothing ran", name)
	}
	if err := json.Unmarshal([]byte(outcomes["check"].output.String()), &g.check); err != nil {
		return nil, fmt.Errorf("kernel %s: safeexec check: %w", name, err)
	}
	for _, key := range slices.Sorted(maps.Keys(outcomes)) {
		parts := strings.Split(key, ":")
		if parts[0] != "test" {
			continue
		}
		tests, err := outcomes[key].results()
		if err != nil {
			return nil, fmt.Errorf("kernel %s: %s: %w", name, key, err)
		}
		g.suites = append(g.suites, suiteResults{
			name: strings.ReplaceAll(parts[1], ".", "/"), uid: parts[2], status: outcomes[key].status, tests: tests,
		})
	}
	return g, nil
}

func (g *guest) failed() bool {
	return slices.ContainsFunc(g.suites, func(s suiteResults) bool { return s.status != 0 })
}

// user names who the tests ran as.
func (s *suiteResults) user() string {
	if s.uid == "0" {
		return "root"
	}
	return "user"
}

// count counts the tests, without those that only group others.
func (s *suiteResults) count(action string) (n int) {
	for _, t := range s.tests {
		if t.action == action && !s.groups(t.name) {
			n++
		}
	}
	return n
}

func (s *suiteResults) groups(name string) bool {
	return slices.ContainsFunc(s.tests, func(t result) bool { return strings.HasPrefix(t.name, name+"/") })
}

func (g *guest) suite(name, uid string) *suiteResults {
	for i := range g.suites {
		if g.suites[i].name == name && g.suites[i].uid == uid {
			return &g.suites[i]
		}
	}
	return &suiteResults{}
}

func writePage(w io.Writer, m *machine, guests []*guest, only string) error {
	p := &page{guests: guests}
	p.line("# Kernels")
	p.line("")
	p.line("`scripts/kernels` wrote this page, for `make %s`: it boots a guest for each kernel, from Debian's packages, under", m.target)
	p.line("QEMU's emulation of %s, and runs the static binary and the packages' tests there, as root and as an ordinary user", m.name)
	p.line("(uid 65534). Tests that have nothing to do with the kernel, or that drive programs a guest hasn't, are left out.")
	p.line("Numbers in a table's head are the kernels' versions.")
	if only != "" {
		p.line("")
		p.line("This time with the packages alone whose names match `%s`.", only)
	}
	p.table("kernel", func(g *guest) string { return "`" + g.check.Kernel + "`" }, "release")
	p.checks()
	p.features()
	p.settings()
	p.packages()
	p.exceptions("fail", "Failed")
	p.exceptions("skip", "Skipped, and why")
	_, err := io.WriteString(w, p.text.String())
	return err
}

type page struct {
	text   strings.Builder
	guests []*guest
}

func (p *page) line(format string, args ...any) {
	fmt.Fprintf(&p.text, format+"\n", args...)
}

// head begins a table with a column for each kernel.
func (p *page) head(titles ...string) {
	p.line("")
	for _, g := range p.guests {
		titles = append(titles, g.name)
	}
	p.row(titles...)
	p.line("|%s", strings.Repeat(" --- |", len(titles)))
}

func (p *page) row(cells ...string) {
	for i := range cells {
		cells[i] = strings.ReplaceAll(cells[i], "|", "\\|")
	}
	p.line("| %s |", strings.Join(cells, " | "))
}

// table is one of a single row.
func (p *page) table(title string, cell func(*guest) string, label string) {
	p.head(title)
	p.row(p.cells([]string{label}, cell)...)
}

func (p *page) cells(cells []string, cell func(*guest) string) []string {
	for _, g := range p.guests {
		cells = append(cells, cell(g))
	}
	return cells
}

// checks tells feature by feature what safeexec check finds.
func (p *page) checks() {
	p.line("")
	p.line("## What the kernel offers")
	p.line("")
	p.line("From `safeexec check`, as root. *falls back*: the promise is kept in another way; *fails*: what needs the feature is")
	p.line("refused; *extra*: better with it, no promise without it.")
	p.head("feature", "since")
	for i, f := range p.guests[0].check.Features {
		effect := ""
		row := p.cells([]string{f.Name, f.Since}, func(g *guest) string {
			f := g.check.Features[i]
			switch {
			case !f.Present:
				effect = f.Effect
				return "**no**: " + f.IfMissing
			case f.Value != "":
				return f.Value
			}
			return "yes"
		})
		if effect != "" {
			row[0] += " (without: " + effect + ")"
		}
		p.row(row...)
	}
	p.row(p.cells([]string{"every promise at full strength", ""}, func(g *guest) string {
		if g.check.FullStrength {
			return "yes"
		}
		return "**no**"
	})...)
}

// features tells what the package of that name saw, test by test.
func (p *page) features() {
	p.line("")
	p.line("## What was seen")
	p.line("")
	p.line("From the tests in `tests/guest`: each does the thing on the kernel, checks that it comes out as this kernel's features")
	p.line("promise, and tells how. Root's result comes first where an ordinary user's differs. Programs are jobs of `tests/guard/programs`,")
	p.line("under `--supervise --guard --keep 3` with a file as 3, and with `--fd-passing allow` where Landlock doesn't confine named sockets.")
	group := ""
	for _, name := range p.testNames(features) {
		top, below, found := strings.Cut(name, "/")
		if !found {
			continue
		}
		if top != group {
			group = top
			p.head(spaced(strings.TrimPrefix(top, "Test")))
		}
		p.result(features, name, below)
	}
}

// settings tells how the job of a 32-bit program came out under each setting, where it was run.
func (p *page) settings() {
	names := p.testNames(narrowJob)
	if len(names) == 0 {
		return
	}
	p.line("")
	p.line("## A 32-bit program")
	p.line("")
	p.line("The job `i386` of `tests/guard/programs`, with `--abi compat`, under each setting of [guard-programs.md](guard-programs.md), which")
	p.line("says what its tables' heads and cells mean. Where there is no Landlock, guards are with `--guard-steal off`.")
	p.head("setting")
	for _, name := range names {
		p.result(narrowJob, name, name[strings.LastIndex(name, "/")+1:])
	}
}

// result is a row of a test: root's result, and an ordinary user's where that differs.
func (p *page) result(suite, test, title string) {
	p.row(p.cells([]string{sentence(title)}, func(g *guest) string {
		root, user := g.suite(suite, "0").cell(test), g.suite(suite, "65534").cell(test)
		if root == user {
			return root
		}
		return root + "; " + user
	})...)
}

// Boundaries inside a test's name: between words that begin with a capital, and between the words of a sentence, for which
// package testing has put underscores; those of a constant or of a call stay.
var (
	wordBegins = regexp.MustCompile(`([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])`)
	constant   = regexp.MustCompile(`[A-Z0-9]+(_[A-Z0-9]+)+|io_uring|pidfd_getfd`)
)

func spaced(name string) string { return wordBegins.ReplaceAllString(name, "$1$3 $2$4") }

func sentence(name string) string {
	kept := constant.ReplaceAllStringFunc(name, func(c string) string { return strings.ReplaceAll(c, "_", "\x00") })
	return strings.ReplaceAll(strings.ReplaceAll(kept, "_", " "), "\x00", "_")
}

// testNames lists a suite's tests that aren't groups of others, in their order.
func (p *page) testNames(suite string) (names []string) {
	for _, g := range p.guests {
		s := g.suite(suite, "0")
		for _, t := range s.tests {
			if !s.groups(t.name) && !slices.Contains(names, t.name) {
				names = append(names, t.name)
			}
		}
	}
	return names
}

func (s *suiteResults) cell(name string) string {
	for _, t := range s.tests {
		if t.name != name {
			continue
		}
		switch {
		case t.action == "fail":
			return "**failed**"
		case t.action == "skip":
			return "skipped"
		case t.how != "":
			return t.how
		}
		return "yes"
	}
	return "not run"
}

// packages counts.
func (p *page) packages() {
	p.line("")
	p.line("## Tests")
	p.line("")
	p.line("Passed, and after a plus skipped, and after a minus failed.")
	p.head("package", "as")
	for _, s := range p.guests[0].suites {
		p.row(p.cells([]string{s.name, s.user()}, func(g *guest) string {
			s := g.suite(s.name, s.uid)
			text := fmt.Sprint(s.count("pass"))
			if n := s.count("skip"); n > 0 {
				text += fmt.Sprintf(" +%d", n)
			}
			if n := s.count("fail"); n > 0 {
				text += fmt.Sprintf(" **-%d**", n)
			} else if s.status != 0 {
				text += fmt.Sprintf(" **exit status %d**", s.status)
			}
			return text
		})...)
	}
	p.row(p.cells([]string{"minutes, boot included", ""}, func(g *guest) string { return fmt.Sprintf("%.1f", g.took.Minutes()) })...)
}

// exceptions lists the tests that came to the same on any kernel, once with all the kernels that it was on.
func (p *page) exceptions(action, title string) {
	where := map[string][]string{}
	for _, g := range p.guests {
		for _, s := range g.suites {
			for _, t := range s.tests {
				if t.action != action || s.groups(t.name) || strings.Contains(t.reason, "needs root; the suite also runs as root") {
					continue
				}
				text := fmt.Sprintf("%s %s, as %s: %s", s.name, t.name, s.user(), t.reason)
				where[text] = append(where[text], g.name)
			}
		}
	}
	if len(where) == 0 {
		return
	}
	p.line("")
	p.line("## %s", title)
	p.line("")
	for _, text := range slices.Sorted(maps.Keys(where)) {
		p.line("- %s: %s", strings.Join(where[text], ", "), text)
	}
}
