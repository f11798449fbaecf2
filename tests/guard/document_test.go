package guard

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// document is docs/guard-programs.md.
func document(results map[string]map[string]string) string {
	var b strings.Builder
	var uts unix.Utsname
	unix.Uname(&uts)
	fmt.Fprintf(&b, `# Real programs under a guard and under denials

Written by `+"`make test-guard`"+` from runs on Linux %s, as root. Each job is a script in tests/guard/programs that uses the program
in earnest, with safeexec in front of it. Where a job breaks, its cell names the calls that were refused (the last ones first, from
strace), and after the arrow the options with which the same job works, the strongest protection that was found.

`, unix.ByteSliceToString(uts.Release[:]))
	b.WriteString("| job | what it does |\n| --- | --- |\n")
	for _, j := range jobs {
		fmt.Fprintf(&b, "| %s | %s |\n", j.name, j.what)
	}
	b.WriteString(`
## Under --guard

0 to 2 are of the kind named (pipes and the terminal become private; files and sockets stay shared, and are guarded in an advisory way);
the later columns have 0 to 2 pipes, and also --keep 3: guarded by number, or supervised and guarded by description.

`)
	all := settings()
	guards := slices.IndexFunc(all, func(s setting) bool { return strings.HasPrefix(s.name, "--deny") })
	table(&b, results, all[:guards])
	b.WriteString("\n## Under --deny\n\n0 to 2 are pipes, nothing else is kept. A denial holds on every descriptor, the program's own too: it is for programs that are known not " +
		"to need the operation.\n\n")
	table(&b, results, all[guards:])
	b.WriteString("\n## What ran\n\n")
	for _, v := range versions {
		out, err := exec.Command(v[0], v[1:]...).CombinedOutput()
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(out), "\n")
		fmt.Fprintf(&b, "- %s\n", strings.TrimSpace(first))
	}
	return b.String()
}

var versions = [][]string{
	{"bash", "--version"},
	{"make", "--version"},
	{"git", "--version"},
	{"/usr/bin/python3", "--version"},
	{"sh", "-c", "echo Node $(node --version)"},
	{"nginx", "-v"},
	{"redis-server", "--version"},
	{"psql", "--version"},
	{"tmux", "-V"},
	{"ssh", "-V"},
}

// table writes one with the jobs as rows; what is too long for a cell goes below, by number.
func table(b *strings.Builder, results map[string]map[string]string, columns []setting) {
	b.WriteString("| job |")
	for _, s := range columns {
		fmt.Fprintf(b, " %s |", s.name)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(columns)) + "\n")
	var notes []string
	numbers := map[string]int{}
	for _, j := range jobs {
		if results[j.name] == nil {
			continue // no run has had it yet
		}
		fmt.Fprintf(b, "| %s |", j.name)
		for _, s := range columns {
			cell := results[j.name][s.name]
			if cell != "works" {
				if numbers[cell] == 0 {
					notes = append(notes, cell)
					numbers[cell] = len(notes)
				}
				cell = fmt.Sprintf("(%d)", numbers[cell])
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for i, note := range notes {
		fmt.Fprintf(b, "%d. %s\n", i+1, note)
	}
}
