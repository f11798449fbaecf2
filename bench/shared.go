package main

import "math"

// listing compares what lists the descriptors of all processes, on a machine that a crowd has made busy.
func listing(rounds int, p programs) []table {
	crowd := hire(p.crowd, "2000")
	defer crowd.dismiss()
	crowd.ask("ready?")

	listers := []struct {
		name string
		argv []string
	}{
		{"lsof -n -P", []string{absolute("lsof"), "-n", "-P", "-w"}},
		{"lsfd", []string{absolute("lsfd")}},
		{"safeexec fds --shared", []string{p.safeexec, "fds", "--shared"}},
		{"safeexec fds --shared" + again, []string{p.safeexec, "fds", "--shared"}},
	}
	t := table{title: "Listing 2,000 processes with 100,000 descriptors", notes: []string{
		"Ratios are to lsof. Only safeexec tells which of the descriptors refer to one description.",
	}}
	var subjects []subject
	for _, l := range listers {
		t.rows = append(t.rows, row{name: l.name, ours: l.argv[0] == p.safeexec})
		subjects = append(subjects, subject{run: func() reading {
			taken, status := timed(l.argv)
			if status.ExitStatus() > 1 { // 1 is for processes that went in the meantime
				fail("%q ended with %#x", l.argv, status)
			}
			return reading{taken.time, math.NaN()}
		}})
	}
	var ns []float64
	for _, r := range interleave(max(rounds/100, 2), subjects) {
		ns = append(ns, r.time())
	}
	t.add("whole run", "ms", ns, func(ns float64) float64 { return ns / 1e6 })
	return []table{t}
}
