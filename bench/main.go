// Bench compares safeexec and its packages with what else there is, all in one run, and draws charts into docs.
//
//	go run ./bench [-only startup,closing,spawn,ofd,shared,seccomp,relay] [-rounds N] [-docs DIR]
//
// docs/benchmarks.md says how each number is made.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A part is a group of tables with a chart of its own.
type part struct {
	name, title string
	run         func(rounds int, p programs) []table
}

var parts = []part{
	{"startup", "What a wrapper adds to the start of a command", startup},
	{"closing", "What it costs to close what isn't passed on", closing},
	{"spawn", "Starting programs from a program", spawning},
	{"ofd", "Files with an offset of their own, and passing files on", describing},
	{"shared", "Who shares what, on a busy machine", listing},
	{"seccomp", "Filters and guards", filtering},
	{"supervise", "A parent that stays", supervising},
	{"relay", "Carrying bytes between two programs", relaying},
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == workerArgument {
		work(os.Args[2], os.Args[3:])
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	only := flag.String("only", "", "the `parts` to run, comma-separated; all without it")
	rounds := flag.Int("rounds", 200, "rounds of the quick measurements; slow ones run in fewer")
	docs := flag.String("docs", "docs", "the `directory` that the charts are written to; none with an empty one")
	safeexec := flag.String("safeexec", "bin/safeexec", "the `program` to be measured")
	flag.Parse()
	dir, err := os.MkdirTemp("", "safeexec-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer recoverFailure(&err)

	chosen := choose(*only)
	fmt.Println(machine())
	p := build(dir, *safeexec)
	for _, part := range chosen {
		begin := time.Now()
		tables := part.run(*rounds, p)
		for i := range tables {
			tables[i].write(os.Stdout)
		}
		if *docs != "" {
			must(os.WriteFile(filepath.Join(*docs, "bench-"+part.name+".svg"), []byte(chart(part.title, tables)), 0o644))
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", part.name, time.Since(begin).Round(time.Second))
	}
	return nil
}

func choose(only string) []part {
	if only == "" {
		return parts
	}
	var chosen []part
	for _, name := range strings.Split(only, ",") {
		found := false
		for _, p := range parts {
			if p.name == name {
				chosen, found = append(chosen, p), true
			}
		}
		if !found {
			fail("no part is called %q", name)
		}
	}
	return chosen
}

// machine says where the figures come from.
func machine() string {
	var name unix.Utsname
	must(unix.Uname(&name))
	cpu := "unknown processor"
	info, _ := os.ReadFile("/proc/cpuinfo") // without it the processor is unknown
	for _, line := range strings.Split(string(info), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			cpu = strings.TrimSpace(value)
		}
	}
	return fmt.Sprintf("%d x %s, Linux %s, %s\n", runtime.NumCPU(), cpu, unix.ByteSliceToString(name.Release[:]), runtime.Version())
}

// A failure ends the run; main's deferred functions still tidy up.
type failure struct{ error }

func fail(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

func must(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func try[T any](value T, err error) T {
	must(err)
	return value
}

func recoverFailure(err *error) {
	if r := recover(); r != nil {
		f, ok := r.(failure)
		if !ok {
			panic(r)
		}
		*err = errors.Join(*err, f.error)
	}
}
