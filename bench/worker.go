package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// A worker is a process that measures: one that has many descriptors, much memory, or a filter. It reads a line that says
// what to do, does it, and answers with the nanoseconds that it took.
type worker struct {
	cmd   *exec.Cmd
	input io.WriteCloser
	lines *bufio.Reader
}

// workerArgument as the first argument makes this program a worker.
const workerArgument = "bench-worker"

// ours starts this program as a worker.
func ours(args ...string) *worker {
	return hire(try(os.Executable()), append([]string{workerArgument}, args...)...)
}

func hire(path string, args ...string) *worker { return hireWith(nil, path, args...) }

// hireWith gives the worker a file as descriptor 3.
func hireWith(file *os.File, path string, args ...string) *worker {
	w := &worker{cmd: exec.Command(path, args...)}
	if file != nil {
		defer file.Close()
		w.cmd.ExtraFiles = []*os.File{file}
	}
	w.cmd.Stderr = os.Stderr
	w.input = try(w.cmd.StdinPipe())
	w.lines = bufio.NewReader(try(w.cmd.StdoutPipe()))
	must(w.cmd.Start())
	return w
}

// ask has the worker do something, and returns the nanoseconds that it took.
func (w *worker) ask(question string) float64 {
	try(fmt.Fprintln(w.input, question))
	line, err := w.lines.ReadString('\n')
	if err != nil {
		fail("%q, asked for %q: %v", w.cmd.Args, question, err)
	}
	return float64(try(strconv.ParseInt(strings.TrimSpace(line), 10, 64)))
}

// dismiss ends the worker, which has nothing more to do when its input ends. What went wrong, ask has reported.
func (w *worker) dismiss() {
	w.input.Close()
	w.cmd.Wait()
}

// work is the life of a worker of ours.
func work(kind string, args []string) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintln(os.Stderr, "bench:", r)
			os.Exit(1)
		}
	}()
	do := workers[kind](args)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		question := strings.Fields(lines.Text())
		begin := time.Now()
		do(question)
		fmt.Println(time.Since(begin).Nanoseconds())
	}
}

// workers prepares a worker by its kind, and gives what it does when asked.
var workers = map[string]func(args []string) func(question []string){
	"spawn":   spawnWorker,
	"seccomp": filterWorker,
	"asked":   askedWorker,
}
