package main

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/spawn"
)

// spawners are the ways to start a program, and the first of all is what ratios are to.
var spawners = []string{
	"os/exec", "os/exec" + again, "os/exec, stdio nil", "syscall.ForkExec", "C posix_spawn", "C vfork and execve",
	"Python subprocess", "spawn.Cmd", "spawn.Cmd" + again, "spawn.Cmd, stdio nil",
}

// A crew is one worker for each of the spawners, all alike.
type crew struct {
	name string
	open int    // descriptors
	big  string // a file that each maps, if any
}

// spawning measures starts, each with its wait, from workers with different numbers of descriptors and much memory: all of
// them interleaved. A reading is the mean of a batch.
func spawning(rounds int, p programs) []table {
	memory, size := bigMemory()
	defer memory.Close()
	const few, many, big = 0, 2, 3
	crews := []crew{
		few:  {name: "10 open", open: 10},
		1:    {name: "1,000 open", open: 1000},
		many: {name: "10,000 open", open: 10_000},
		big:  {fmt.Sprintf("10 open, %.1f GB", float64(size)/(1<<30)), 10, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), memory.Fd())},
	}
	teams := make([][]*worker, len(crews))
	for i, c := range crews {
		for _, name := range spawners {
			w := hireSpawner(p, name, c)
			defer w.dismiss()
			teams[i] = append(teams[i], w)
		}
	}

	var jobs []job
	for i := range crews {
		jobs = append(jobs, job{crews[i].name, teams[i], 10, 1, p.tiny})
	}
	const manyTrue, fewTwice, manyTwice = big + 2, big + 3, big + 4
	jobs = append(jobs,
		job{"10 open, /bin/true", teams[few], 4, 1, p.trueProgram},
		job{"10,000 open, /bin/true", teams[many], 4, 1, p.trueProgram},
		job{"10 open, 2 spawners", teams[few], 10, 2, p.tiny},
		job{"10,000 open, 2 spawners", teams[many], 10, 2, p.tiny},
	)
	ns := compareSpawners(max(rounds/4, 3), jobs)

	times := table{title: "Time per start", notes: []string{
		"A static program that ends at once, or /bin/true, started and waited for. Ratios are to os/exec.",
		"Flat is a row whose first four figures are alike; the fourth is from a process with that much memory resident.",
	}}
	rates := table{title: "Starts per second", notes: []string{
		"The static program. With 2 spawners, two threads or goroutines of one process start at the same time. Ratios are to os/exec.",
	}}
	for _, name := range spawners {
		times.rows = append(times.rows, row{name: name, ours: strings.HasPrefix(name, "spawn.")})
	}
	rates.rows = slices.Clone(times.rows)
	for i := range manyTrue + 1 {
		times.add(jobs[i].name, "µs", ns[i], perStart)
	}
	rates.add("10 open, 1 spawner", "/s", ns[few], perSecond)
	rates.add(jobs[fewTwice].name, "/s", ns[fewTwice], perSecond)
	rates.add("10,000 open, 1 spawner", "/s", ns[many], perSecond)
	rates.add(jobs[manyTwice].name, "/s", ns[manyTwice], perSecond)
	return []table{times, rates}
}

func perStart(ns float64) float64  { return ns / 1e3 }
func perSecond(ns float64) float64 { return 1e9 / ns }

// add makes a column of nanoseconds; ratios are to the first row.
func (t *table) add(name, unit string, ns []float64, convert func(ns float64) float64) {
	t.columns = append(t.columns, column{name, unit, true})
	for i, v := range ns {
		t.rows[i].cells = append(t.rows[i].cells, cell{convert(v), convert(v) / convert(ns[0])})
	}
}

func hireSpawner(p programs, name string, c crew) *worker {
	name = strings.TrimSuffix(name, again)
	args := []string{strconv.Itoa(c.open)}
	if c.big != "" {
		args = append(args, c.big)
	}
	switch name {
	case "C posix_spawn":
		return hire(p.spawn, append([]string{"posix_spawn"}, args...)...)
	case "C vfork and execve":
		return hire(p.spawn, append([]string{"vfork"}, args...)...)
	case "Python subprocess":
		return hire(absolute("python3"), append([]string{p.python}, args...)...)
	}
	return ours(append([]string{"spawn", name}, args...)...)
}

// A job is what each worker of a team is asked to do: so many starts, by so many spawners at once.
type job struct {
	name            string
	team            []*worker
	count, together int
	program         string
}

// compareSpawners gives the nanoseconds per start, by job and worker.
func compareSpawners(batches int, jobs []job) [][]float64 {
	var subjects []subject
	for _, j := range jobs {
		for _, w := range j.team {
			subjects = append(subjects, subject{run: func() reading {
				took := w.ask(fmt.Sprintf("%d %d %s", j.count, j.together, j.program))
				return reading{took / float64(j.count*j.together), math.NaN()}
			}})
		}
	}
	taken := interleave(batches, subjects)
	ns := make([][]float64, len(jobs))
	for i, j := range jobs {
		for range j.team {
			ns[i] = append(ns[i], taken[0].time())
			taken = taken[1:]
		}
	}
	return ns
}

// bigMemory is a file in memory of 4 GB, or of half of what the machine has to spare, for big processes to map: memory of
// their own for all of them would be more than most machines have.
func bigMemory() (*os.File, int) {
	info := string(try(os.ReadFile("/proc/meminfo")))
	_, after, _ := strings.Cut(info, "MemAvailable:")
	size := min(4<<30, try(strconv.Atoi(strings.Fields(after)[0]))<<10/2) &^ 0xfff
	file := os.NewFile(uintptr(try(unix.MemfdCreate("bench", unix.MFD_CLOEXEC))), "bench")
	must(file.Truncate(int64(size)))
	return file, size
}

func spawnWorker(args []string) func(question []string) {
	once := starter(args[0])
	for try(unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)) < try(strconv.Atoi(args[1]))-1 {
	}
	if len(args) == 3 {
		file := try(os.OpenFile(args[2], os.O_RDWR, 0))
		size := int(try(file.Stat()).Size())
		try(unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE))
		file.Close()
	}
	return func(question []string) {
		count, program := try(strconv.Atoi(question[0])), question[2]
		var all sync.WaitGroup
		for range try(strconv.Atoi(question[1])) {
			all.Go(func() {
				for range count {
					once(program)
				}
			})
		}
		all.Wait()
	}
}

// starter gives a function that starts a program and waits for it.
func starter(name string) func(program string) {
	null := openNull()
	switch name {
	case "os/exec":
		return func(program string) {
			cmd := exec.Command(program)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = null, null, null
			must(cmd.Run())
		}
	case "os/exec, stdio nil":
		return func(program string) { must(exec.Command(program).Run()) }
	case "spawn.Cmd":
		return func(program string) {
			cmd := spawn.Command(program)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = null, null, null
			must(cmd.Run())
		}
	case "spawn.Cmd, stdio nil":
		return func(program string) { must(spawn.Command(program).Run()) }
	}
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}}
	return func(program string) {
		pid := try(syscall.ForkExec(program, []string{program}, attr))
		try(syscall.Wait4(pid, nil, 0, nil))
	}
}
