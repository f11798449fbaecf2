package main

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A reading is one measurement.
type reading struct {
	time   float64 // nanoseconds
	faults float64 // minor page faults: nearly free of noise, where there are any to count
}

// A subject is something to be measured again and again.
type subject struct {
	name  string
	every int // only in each so-many-th round, for what takes long, but in three at least; 0 is every round
	run   func() reading
}

// readings holds what a subject took, by round; NaN where it didn't run.
type readings []reading

// interleave runs all subjects in every round, in an order of its own each time, so that whatever else the machine does
// meets all of them alike.
func interleave(rounds int, subjects []subject) []readings {
	all := make([]readings, len(subjects))
	for round := range rounds + 1 {
		taken := make([]reading, len(subjects))
		for _, i := range rand.Perm(len(subjects)) {
			taken[i] = reading{math.NaN(), math.NaN()}
			if s := subjects[i]; round%max(min(s.every, rounds/3), 1) == 0 {
				taken[i] = s.run()
			}
		}
		if round == 0 {
			continue // a warm-up
		}
		for i := range all {
			all[i] = append(all[i], taken[i])
		}
	}
	return all
}

// time is the median.
func (r readings) time() float64 {
	return median(len(r), func(i int) float64 { return r[i].time })
}

// over is the median of the differences to another subject in the same round, of time and of faults.
func (r readings) over(base readings) (time, faults float64) {
	time = median(len(r), func(i int) float64 { return r[i].time - base[i].time })
	faults = median(len(r), func(i int) float64 { return r[i].faults - base[i].faults })
	return time, faults
}

// median leaves NaN out.
func median(n int, value func(int) float64) float64 {
	var values []float64
	for i := range n {
		if v := value(i); !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// start measures one start of a program, from before the fork until after its end. The child inherits everything that is
// open without close-on-exec.
func start(argv ...string) func() reading {
	return func() reading {
		taken, status := timed(argv)
		if status != 0 {
			fail("%q ended with %#x", argv, status)
		}
		return taken
	}
}

func timed(argv []string) (reading, syscall.WaitStatus) {
	null := openNull().Fd()
	attr := &syscall.ProcAttr{Env: []string{"PATH=/usr/bin:/bin"}, Files: []uintptr{null, null, null}}
	begin := time.Now()
	pid := try(syscall.ForkExec(argv[0], argv, attr))
	var status syscall.WaitStatus
	var usage syscall.Rusage
	try(syscall.Wait4(pid, &status, 0, &usage))
	return reading{float64(time.Since(begin)), float64(usage.Minflt)}, status
}

// openNull is what all children get as 0, 1 and 2.
var openNull = sync.OnceValue(func() *os.File { return try(os.OpenFile("/dev/null", os.O_RDWR, 0)) })
