package main

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
)

// A situation is what a wrapper meets.
type situation struct {
	open  int    // inheritable descriptors
	limit uint64 // RLIMIT_NOFILE
	told  int    // the limit that the loop is told instead, where the machine forbids it; 0 for none
}

// closing measures what it adds to a start that everything beyond 0, 1 and 2 is closed, against a start through the same
// kind of wrapper that leaves it open.
func closing(rounds int, p programs) []table {
	var saved syscall.Rlimit
	must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &saved))
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &saved)

	t := table{title: "Closing, added", notes: []string{
		"C closers are compared with an exec that closes nothing from C, the Go ones with one from Go; ratios are of whole starts.",
		"A limit in brackets is beyond what this machine permits: only the loop was told of it.",
	}}
	for _, c := range closers(p, situation{}) {
		t.rows = append(t.rows, row{name: c.name, ours: strings.HasPrefix(c.name, "safeexec")})
	}
	for _, s := range situations(saved.Max) {
		limit := thousands(int64(s.limit))
		if s.told != 0 {
			limit = "[" + thousands(int64(s.told)) + "]"
		}
		t.columns = append(t.columns, column{fmt.Sprintf("%s open, limit %s", thousands(int64(s.open)), limit), "µs", true})
		for i, c := range compareClosers(rounds, p, s) {
			t.rows[i].cells = append(t.rows[i].cells, c)
		}
	}
	return []table{t}
}

// situations goes up to the limits that there are: 20,000 descriptors, and a limit of 1,048,576.
func situations(hard uint64) []situation {
	const million = 1 << 20
	most := min(int(min(hard, million))-100, 20_000)
	s := []situation{{10, 1024, 0}, {10, min(hard, million), 0}}
	if hard < million {
		s = append(s, situation{10, hard, million})
	}
	return append(s, situation{1000, hard, 0}, situation{most, hard, 0})
}

type closer struct {
	subject
	base string // what it is compared with
}

func closers(p programs, s situation) []closer {
	// Some take tens of milliseconds, or hundreds.
	seldom := 1 + s.told/50_000
	walk := 1 + s.open/2000
	return []closer{
		{subject{"C, nothing", 0, start(p.wrap, "nothing", p.tiny)}, "C, nothing"},
		{subject{"C, nothing" + again, 0, start(p.wrap, "nothing", p.tiny)}, "C, nothing"},
		{subject{"C, close_range", 0, start(p.wrap, "range", p.tiny)}, "C, nothing"},
		{subject{"C, loop to the limit", seldom, start(p.wrap, "loop", strconv.Itoa(s.told), p.tiny)}, "C, nothing"},
		{subject{"C, walk of /proc/self/fd", walk, start(p.wrap, "proc", p.tiny)}, "C, nothing"},
		{subject{"Go, nothing", 0, start(p.nothing, p.tiny)}, "Go, nothing"},
		{subject{"Go, nothing" + again, 0, start(p.nothing, p.tiny)}, "Go, nothing"},
		{subject{"Go, close_range", 0, start(p.minimal, p.tiny)}, "Go, nothing"},
		{subject{"safeexec", 0, start(p.safeexec, "--", p.tiny)}, "Go, nothing"},
		{subject{"safeexec" + again, 0, start(p.safeexec, "--", p.tiny)}, "Go, nothing"},
	}
}

func compareClosers(rounds int, p programs, s situation) []cell {
	limit := syscall.Rlimit{Cur: s.limit, Max: s.limit}
	var now syscall.Rlimit
	must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now))
	limit.Max = now.Max
	must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	defer openInheritable(s.open)()

	var subjects []subject
	all := closers(p, s)
	for _, c := range all {
		subjects = append(subjects, c.subject)
	}
	taken := interleave(rounds, subjects)
	base := map[string]readings{}
	for i, c := range all {
		base[c.name] = taken[i]
	}
	var cells []cell
	for i, c := range all {
		added, _ := taken[i].over(base[c.base])
		cells = append(cells, cell{added / 1e3, taken[i].time() / base[c.base].time()})
	}
	return cells
}

// openInheritable opens descriptors that children inherit, and returns what closes them.
func openInheritable(n int) (closeAll func()) {
	var open []int
	for range n {
		open = append(open, try(syscall.Open("/dev/null", syscall.O_RDONLY, 0)))
	}
	return func() {
		for _, fd := range open {
			syscall.Close(fd)
		}
	}
}
