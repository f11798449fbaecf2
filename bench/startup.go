package main

// startup measures what wrappers add to running a command directly: the median of the differences within each round.
func startup(rounds int, p programs) []table {
	wrappers := []struct {
		name string
		argv []string
	}{
		{"nothing", nil},
		{"nothing" + again, nil},
		{"C without libc", []string{p.wrap, "range"}},
		{"smallest Go program", []string{p.minimal}},
		{"env", []string{absolute("env")}},
		{"setpriv --no-new-privs", []string{absolute("setpriv"), "--no-new-privs"}},
		{"tini -s", []string{absolute("tini"), "-s", "--"}},
		{"dumb-init", []string{absolute("dumb-init"), "--"}},
		{"bwrap --dev-bind / /", []string{absolute("bwrap"), "--dev-bind", "/", "/"}},
		{"safeexec", []string{p.safeexec, "--"}},
		{"safeexec" + again, []string{p.safeexec, "--"}},
		{"safeexec --leaks close", []string{p.safeexec, "--leaks", "close", "--"}},
	}
	t := table{title: "Start-up, added", notes: []string{
		"Ratios are to the smallest Go program that makes the same calls. Faults are minor page faults of a start.",
	}}
	for _, w := range wrappers {
		t.rows = append(t.rows, row{name: w.name, ours: w.argv != nil && w.argv[0] == p.safeexec})
	}
	for _, target := range []struct{ name, path string }{{"a static program", p.tiny}, {"/bin/true", p.trueProgram}} {
		t.columns = append(t.columns, column{target.name, "µs", true}, column{"", "faults", false})
		var subjects []subject
		for _, w := range wrappers {
			argv := append(append([]string{}, w.argv...), target.path)
			subjects = append(subjects, subject{name: w.name, run: start(argv...)})
		}
		taken := interleave(rounds, subjects)
		minimal, _ := taken[3].over(taken[0])
		for i := range t.rows {
			time, faults := taken[i].over(taken[0])
			t.rows[i].cells = append(t.rows[i].cells, cell{time / 1e3, time / minimal}, plain(faults))
		}
	}
	return []table{t}
}
