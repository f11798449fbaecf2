package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// supervising measures what a parent that stays costs: its start, its memory, and the calls that it is asked about.
func supervising(rounds int, p programs) []table {
	return []table{startSupervised(rounds, p), askAboutCalls(rounds, p), supervisorMemory(p)}
}

// startSupervised is a whole start of a program that does nothing, with a parent that stays.
func startSupervised(rounds int, p programs) table {
	file := try(unix.Open("/proc/self/exe", unix.O_RDONLY, 0)) // inherited by every start
	defer unix.Close(file)
	keep := strconv.Itoa(file)
	t := table{
		title:   "Start-up with a parent that stays",
		columns: []column{{"whole start", "µs", true}, {"added", "µs", false}, {"added", "faults", false}},
		notes:   []string{"Ratios are to tini. N is a regular file, which the guard holds by description."},
	}
	names, argvs := []string{"nothing"}, [][]string{{p.tiny}}
	add := func(name string, argv ...string) {
		names, argvs = append(names, name), append(argvs, append(argv, p.tiny))
	}
	tini := absolute("tini")
	add("tini", tini, "-s", "--")
	add("tini"+again, tini, "-s", "--")
	add("dumb-init", absolute("dumb-init"))
	add("safeexec --supervise", p.safeexec, "--supervise", "--")
	add("safeexec --supervise --guard --keep N", p.safeexec, "--supervise", "--guard", "--keep", keep, "--")
	var subjects []subject
	for _, argv := range argvs {
		subjects = append(subjects, subject{run: start(argv...)})
	}
	taken := interleave(rounds, subjects)
	base, _ := taken[1].over(taken[0])
	for i, name := range names {
		added, faults := taken[i].over(taken[0])
		t.rows = append(t.rows, row{name, strings.HasPrefix(name, "safeexec"), []cell{
			{taken[i].time() / 1e3, taken[i].time() / taken[1].time()}, {added / 1e3, added / base}, plain(faults),
		}})
	}
	return t
}

// askedCalls are made by a worker: on a pipe of its own, and on what the guard holds as descriptor 3.
var askedCalls = []string{"getppid", "F_GETFL", "F_SETFL own", "F_SETFL guarded", "flock own"}

// askAboutCalls measures calls that the supervisor answers, and those that it isn't asked about.
func askAboutCalls(rounds int, p programs) table {
	self := try(os.Executable())
	worker := []string{self, workerArgument, "asked"}
	ways := []struct {
		name string
		argv []string
	}{
		{"nothing", worker},
		{"nothing" + again, worker},
		{"safeexec --guard", append([]string{p.safeexec, "--guard", "--keep", "3", "--"}, worker...)},
		{"safeexec --supervise --guard", append([]string{p.safeexec, "--supervise", "--guard", "--keep", "3", "--"}, worker...)},
		{"strace --seccomp-bpf", append([]string{absolute("strace"), "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fcntl,flock"}, worker...)},
	}
	t := table{title: "Calls that the supervisor is asked about", notes: []string{
		"Ratios are to nothing. F_SETFL and flock are asked about under --supervise --guard, F_GETFL and getppid aren't.",
	}}
	var subjects []subject
	for _, way := range ways {
		w := hireWith(try(os.Open(self)), way.argv[0], way.argv[1:]...)
		defer w.dismiss()
		t.rows = append(t.rows, row{name: way.name, ours: strings.HasPrefix(way.name, "safeexec")})
		for _, call := range askedCalls {
			const calls = 200
			subjects = append(subjects, subject{run: func() reading {
				return reading{w.ask(strings.ReplaceAll(call, " ", "-")+" "+strconv.Itoa(calls)) / calls, math.NaN()}
			}})
		}
	}
	taken := interleave(rounds/4, subjects)
	for i, call := range askedCalls {
		var ns []float64
		for way := range ways {
			ns = append(ns, taken[way*len(askedCalls)+i].time())
		}
		t.add(call, "ns", ns, func(ns float64) float64 { return ns })
	}
	return t
}

// askedWorker makes calls on descriptor 3, which may be guarded, and on its own descriptions.
func askedWorker([]string) func(question []string) {
	runtime.LockOSThread()
	var pipe [2]int
	must(unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	own := uintptr(pipe[1])
	forms := map[string][4]uintptr{
		"getppid":         {unix.SYS_GETPPID},
		"F_GETFL":         {unix.SYS_FCNTL, own, unix.F_GETFL},
		"F_SETFL-own":     {unix.SYS_FCNTL, own, unix.F_SETFL, 0},
		"F_SETFL-guarded": {unix.SYS_FCNTL, 3, unix.F_SETFL, 0},
		"flock-own":       {unix.SYS_FLOCK, own, unix.LOCK_SH | unix.LOCK_NB},
	}
	return func(question []string) {
		call := forms[question[0]]
		for range try(strconv.Atoi(question[1])) {
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 && errno != unix.EPERM {
				fail("%s: %w", question[0], errno)
			}
		}
	}
}

// supervisorMemory is what the parent takes while the command runs.
func supervisorMemory(p programs) table {
	t := table{
		title:   "Memory of a parent that stays",
		columns: []column{{"resident", "KiB", true}, {"of its own", "KiB", true}},
		notes:   []string{"Of its own: private pages, from smaps_rollup. Ratios are to tini."},
	}
	var base [2]float64
	for _, way := range [][]string{
		{absolute("tini"), "-s", "--"}, {p.safeexec, "--supervise", "--"}, {p.safeexec, "--supervise", "--guard", "--keep", "3", "--"},
	} {
		argv := append(way, try(os.Executable()), workerArgument, "asked")
		w := hireWith(try(os.Open("/proc/self/exe")), argv[0], argv[1:]...)
		w.ask("F_SETFL-own 200")
		resident, private := memoryOf(w.cmd.Process.Pid)
		w.dismiss()
		if base[0] == 0 {
			base = [2]float64{resident, private}
		}
		t.rows = append(t.rows, row{
			strings.TrimSuffix(strings.Join(append([]string{way[0][strings.LastIndexByte(way[0], '/')+1:]}, way[1:]...), " "), " --"),
			base[0] != resident,
			[]cell{{resident, resident / base[0]}, {private, private / base[1]}},
		})
	}
	return t
}

func memoryOf(pid int) (resident, private float64) {
	text := try(os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid)))
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		switch words[0] {
		case "Rss:":
			resident = try(strconv.ParseFloat(words[1], 64))
		case "Private_Clean:", "Private_Dirty:":
			private += try(strconv.ParseFloat(words[1], 64))
		}
	}
	return resident, private
}
