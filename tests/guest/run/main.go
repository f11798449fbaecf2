// Run boots a guest for each kernel, has it run the tests of all packages, and writes a page that says kernel by kernel what is
// there, what passed, and what fell back.
//
//	run -page docs/kernels.md 6.12=/path/to/vmlinuz 7.3=/path/to/another
//	run -arch arm64 -system /path/to/root 6.12=/path/to/vmlinuz
package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	page := flag.String("page", "", "write the page to `FILE`, not to standard output")
	logs := flag.String("logs", "", "keep what the guests print in `DIRECTORY`")
	only := flag.String("only", "", "run the packages whose name matches the regular `EXPRESSION`, like tests/guest")
	arch := flag.String("arch", runtime.GOARCH, "the guests' `ARCHITECTURE`, by Go's name")
	system := flag.String("system", "", "the guests' programs are all that is below `DIRECTORY`, not some of this machine's")
	servers := flag.Bool("servers", false, "take along this machine's servers, which some of tests/guest drive")
	flag.Parse()
	failed, err := run(*page, *logs, *only, *arch, *system, *servers, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(2)
	}
	if failed {
		os.Exit(1)
	}
}

func run(page, logs, only, arch, system string, servers bool, kernels []string) (failed bool, err error) {
	m, known := machines[arch]
	if !known {
		return false, fmt.Errorf("-arch: %q is none of %s", arch, strings.Join(slices.Sorted(maps.Keys(machines)), ", "))
	}
	if len(kernels) == 0 {
		return false, errors.New("no kernel was named")
	}
	for _, kernel := range kernels {
		if !strings.Contains(kernel, "=") {
			return false, fmt.Errorf("%q isn't NAME=FILE", kernel)
		}
	}
	suites, err := regexp.Compile(only)
	if err != nil {
		return false, err
	}
	root, err := filepath.Abs("..")
	if err != nil {
		return false, err
	}
	work, err := os.MkdirTemp("", "kernels")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(work)
	image, err := buildInitramfs(arch, root, system, work, servers, suites)
	if err != nil {
		return false, err
	}
	guests, failed := m.runGuests(kernels, image, work, logs)
	if len(guests) == 0 {
		return true, errors.New("no guest came up")
	}
	out := os.Stdout
	if page != "" {
		if out, err = os.Create(page); err != nil {
			return false, err
		}
		defer func() { err = errors.Join(err, out.Close()) }()
	}
	return failed, writePage(out, m, guests, only)
}

// runGuests runs as many guests at a time as there are CPUs: each emulates most of what it does on one.
func (m *machine) runGuests(kernels []string, image, work, logs string) (guests []*guest, failed bool) {
	came := make([]*guest, len(kernels))
	errs := make([]error, len(kernels))
	room := make(chan struct{}, runtime.NumCPU())
	var running sync.WaitGroup
	for i, kernel := range kernels {
		name, file, _ := strings.Cut(kernel, "=")
		running.Go(func() {
			room <- struct{}{}
			came[i], errs[i] = m.runGuest(name, file, image, work, logs)
			<-room
		})
	}
	running.Wait()
	for i, g := range came {
		if errs[i] != nil { // the other kernels have their say all the same
			fmt.Fprintln(os.Stderr, "kernels:", errs[i])
			failed = true
		}
		if g != nil {
			guests = append(guests, g)
			failed = failed || g.failed()
		}
	}
	return guests, failed
}

func (m *machine) runGuest(name, kernel, image, work, logs string) (*guest, error) {
	begin := time.Now()
	if logs == "" {
		logs = work
	}
	logs = filepath.Join(logs, name)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, err
	}
	outcomes, err := m.boot(kernel, image, filepath.Join(logs, "console.log"), progressOf(name))
	if saved := save(logs, outcomes); saved != nil {
		err = errors.Join(err, saved)
	}
	if err != nil {
		err = fmt.Errorf("kernel %s: %w", name, err)
	}
	g, unreadable := newGuest(name, outcomes, time.Since(begin))
	return g, errors.Join(err, unreadable)
}

// progressOf is a kernel, for lines about its guest.
type progressOf string

func (p progressOf) Write(line []byte) (int, error) {
	fmt.Fprintf(os.Stderr, "%-5s %s", string(p), line)
	return len(line), nil
}
