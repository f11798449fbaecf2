package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"syscall"
	"time"
)

// relaying compares what stands between a program that writes to a pipe and one that reads from it: until the reader sees the end.
func relaying(rounds int, p programs) []table {
	loads := []struct {
		name         string
		bytes, chunk int
	}{
		{"256 MiB by 64 KiB", 256 << 20, 64 << 10},
		{"256 MiB by 4 KiB", 256 << 20, 4 << 10},
		{"8 MiB by 64 bytes", 8 << 20, 64},
		{"nothing but the starts", 1, 1},
	}
	between := []struct {
		name string
		argv []string // reads standard input, unless it starts the writer itself
		ours bool
	}{
		{"nothing", nil, false},
		{"cat", []string{absolute("cat")}, false},
		{"cat" + again, []string{absolute("cat")}, false},
		{"socat -u - -", []string{absolute("socat"), "-u", "-", "-"}, false},
		{"safeexec --relay 1", []string{p.safeexec, "--relay", "1", "--"}, true},
		{"safeexec --relay 1" + again, []string{p.safeexec, "--relay", "1", "--"}, true},
	}
	t := table{title: "From a writer to a reader, through pipes", notes: []string{
		"Ratios are to cat, which takes what the writer writes from a pipe of its own. Starts are included.",
	}}
	for _, b := range between {
		t.rows = append(t.rows, row{name: b.name, ours: b.ours})
	}
	for _, load := range loads {
		pour := []string{p.pour, strconv.Itoa(load.bytes), strconv.Itoa(load.chunk)}
		var subjects []subject
		for _, b := range between {
			subjects = append(subjects, subject{name: b.name, run: func() reading {
				if b.ours {
					return flow(load.bytes, append(append([]string{}, b.argv...), pour...))
				}
				return flow(load.bytes, pour, b.argv)
			}})
		}
		taken := interleave(max(rounds/10, 2), subjects)
		t.columns = append(t.columns, column{load.name, "ms", true})
		for i := range t.rows {
			t.rows[i].cells = append(t.rows[i].cells, cell{taken[i].time() / 1e6, taken[i].time() / taken[1].time()})
		}
	}
	return []table{t}
}

// flow starts a pipeline, and reads what comes out of it.
func flow(bytes int, commands ...[]string) reading {
	begin := time.Now()
	var pids []int
	in := openNull().Fd()
	var last *os.File
	for _, argv := range commands {
		if argv == nil {
			continue
		}
		r, w := try2(os.Pipe())
		attr := &syscall.ProcAttr{Env: []string{"PATH=/usr/bin:/bin"}, Files: []uintptr{in, w.Fd(), 2}}
		pids = append(pids, try(syscall.ForkExec(argv[0], argv, attr)))
		w.Close()
		if last != nil {
			last.Close()
		}
		last, in = r, r.Fd()
	}
	count, buffer := 0, make([]byte, 128<<10)
	for {
		n, err := syscall.Read(int(in), buffer)
		if n <= 0 {
			must(err)
			break
		}
		count += n
	}
	last.Close()
	for _, pid := range pids {
		var status syscall.WaitStatus
		try(syscall.Wait4(pid, &status, 0, nil))
		if status != 0 {
			fail("%q: a process ended with %#x", commands, status)
		}
	}
	if count != bytes {
		fail("%q: %d bytes of %d arrived", commands, count, bytes)
	}
	return reading{float64(time.Since(begin)), math.NaN()}
}

func try2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(failure{fmt.Errorf("pipe: %w", err)})
	}
	return a, b
}
