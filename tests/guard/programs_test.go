package guard

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/tests/behind"
)

var (
	full  = flag.Bool("full", false, "run all programs under all settings, instead of a few")
	write = flag.Bool("write", false, "with -full: write docs/guard-programs.md")
)

// A job is a script in programs/ that uses one program in earnest. It is run by bash -e with safeexec and its options as
// arguments, which it puts in front of the program.
type job struct {
	name string
	what string
	root bool // it works as root only
	fast bool // part of every run
	able func(t *testing.T) string
}

var jobs = []job{
	{name: "bash", what: "bash: redirections, pipelines, a coprocess, job control's wait", fast: true},
	{name: "dash", what: "dash: redirections, here-documents", fast: true},
	{name: "make", what: "make -j 4 with a make inside", fast: true},
	{name: "git", what: "git: init, commit, clone over a local path and file://, gc", fast: true},
	{name: "python-subprocess", what: "Python: subprocess, popen, flock, a socket, getaddrinfo", fast: true},
	{name: "python-asyncio", what: "Python: asyncio server, client and subprocess", fast: true},
	{name: "python-multiprocessing", what: "Python: multiprocessing by fork, spawn and forkserver"},
	{name: "node", what: "Node: http, child_process, inherited output", fast: true},
	{name: "go", what: "a Go program: net/http, os/exec, flock", fast: true},
	{name: "i386", what: "a 32-bit program (--abi compat)", able: ableI386},
	{name: "nginx", what: "nginx as a daemon: start, reload, quit"},
	{name: "redis", what: "redis-server: TCP and UNIX socket, append-only file, bgsave"},
	{name: "postgres", what: "PostgreSQL: initdb, a query over TCP and over the UNIX socket"},
	{name: "tmux", what: "tmux: a session, keys, capture"},
	{name: "sshd", what: "sshd: a command, a terminal", root: true},
	{name: "ssh", what: "ssh as the client, to an sshd outside", root: true},
}

// A setting is what a job runs under.
type setting struct {
	name    string
	stdio   string   // pipe, terminal, file, socket
	kept    string   // at 3; empty: nothing
	options []string // of safeexec
	must    bool     // every program works
	fast    bool
}

func settings() []setting {
	guard := []string{"--guard"}
	keep := []string{"--guard", "--keep", "3"}
	supervised := []string{"--supervise", "--guard", "--keep", "3"}
	all := []setting{
		{name: "0-2 a pipe", stdio: "pipe", options: guard, must: true, fast: true},
		{name: "0-2 a terminal", stdio: "terminal", options: guard, must: true, fast: true},
		{name: "0-2 files", stdio: "file", options: guard, must: true, fast: true},
		{name: "0-2 a socket", stdio: "socket", options: guard, must: true, fast: true},
		{name: "3 a pipe", stdio: "pipe", kept: "pipe", options: keep, must: true},
		{name: "3 a file", stdio: "pipe", kept: "file", options: keep},
		{name: "3 a TCP listener", stdio: "pipe", kept: "TCP listener", options: keep},
		{name: "supervised, 3 a file", stdio: "pipe", kept: "file", options: supervised},
		{name: "supervised, 3 a file, any socket", stdio: "pipe", kept: "file", options: append(supervised, "--fd-passing", "allow"), must: true, fast: true},
	}
	for _, op := range []string{"dup", "pass", "steal", "flags", "owner", "lock", "seek", "mode", "wberr", "tty"} {
		all = append(all, setting{name: "--deny " + op, stdio: "pipe", options: []string{"--deny", op}})
	}
	return all
}

// waysAround are tried in their order where a program breaks: what gives up less comes first.
func (s setting) waysAround() [][]string {
	if op, ok := strings.CutPrefix(s.name, "--deny "); ok {
		ways := [][]string{}
		if slices.Contains([]string{"flags", "owner", "lock"}, op) {
			ways = append(ways, []string{"--deny", op, "--on-violation", "pretend"})
		}
		if slices.Contains([]string{"flags", "owner", "lock", "seek", "mode"}, op) {
			return append(ways, []string{"--guard=" + op})
		}
		return append(ways, []string{"--guard"})
	}
	var ways [][]string
	if s.options[0] == "--supervise" {
		for _, passing := range []string{"no-unix", "no-sendmsg", "allow"} {
			ways = append(ways, append(slices.Clone(s.options), "--fd-passing", passing))
		}
		return ways
	}
	for _, passing := range []string{"tree", "no-unix", "no-sendmsg", "allow"} {
		for _, keep := range []string{"3", "3:103"} {
			if passing == "tree" && keep == "3" {
				continue
			}
			way := []string{"--guard", "--keep", keep}
			if passing != "tree" {
				way = append(way, "--fd-passing", passing)
			}
			ways = append(ways, way)
		}
	}
	return ways
}

// TestPrograms: where nothing stays shared, or only 0 to 2 do, every program works unchanged; with something that is guarded
// by number there is an option with which it works. -full tries everything, and -write notes what was seen.
func TestPrograms(t *testing.T) {
	proctest.NeedTool(t, "strace")
	var mu sync.Mutex
	t.Run("all", func(t *testing.T) { // which ends when all have
		for _, j := range jobs {
			if !*full && !j.fast {
				continue
			}
			t.Run(j.name, func(t *testing.T) {
				t.Parallel()
				if j.root {
					proctest.NeedRoot(t)
				}
				row := map[string]string{}
				if j.able != nil {
					if wanting := j.able(t); wanting != "" {
						for _, s := range settings() {
							row[s.name] = "not run: " + wanting
						}
						note(t, &mu, j.name, row)
						t.Skip("not run: " + wanting)
					}
				}
				if r := j.run(t, setting{stdio: "pipe"}, nil); !r.ok {
					t.Fatalf("it doesn't even work alone: %s", r.said)
				}
				for _, s := range settings() {
					if *full || s.fast {
						t.Run(s.name, func(t *testing.T) {
							row[s.name] = j.try(t, s)
							t.Attr("how", row[s.name]) // for whoever reads the results
						})
					}
				}
				note(t, &mu, j.name, row)
			})
		}
	})
}

// note, with -full and -write, puts a job's row into results.json, beside what other runs have put there, and writes the
// document anew.
func note(t *testing.T, mu *sync.Mutex, name string, row map[string]string) {
	t.Helper()
	if !*full || !*write || t.Failed() {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	const path = "results.json"
	results := map[string]map[string]string{}
	if text, err := os.ReadFile(path); err == nil {
		must(t, json.Unmarshal(text, &results))
	}
	results[name] = row
	text, err := json.MarshalIndent(results, "", "\t")
	must(t, err)
	must(t, os.WriteFile(path, append(text, '\n'), 0o644))
	must(t, os.WriteFile("../../docs/guard-programs.md", []byte(document(results)), 0o644))
}

// try says how a program does under a setting: "works", or what was refused and what to do about it.
func (j job) try(t *testing.T, s setting) string {
	r := j.run(t, s, s.options)
	if r.ok {
		return "works"
	}
	if landlock == 0 && s.name == "--deny steal" && strings.Contains(r.said, "Landlock") {
		return "not started: no Landlock"
	}
	refused := j.refused(t, s)
	if s.must {
		t.Errorf("%s: broken by %s: %s", s.name, refused, r.said)
		return "BROKEN by " + refused
	}
	t.Logf("%s: broken by %s: %.300s", s.name, refused, r.said)
	for _, way := range s.waysAround() {
		if r := j.run(t, s, way); r.ok {
			return fmt.Sprintf("%s → `%s`", refused, strings.Join(way, " "))
		}
	}
	if !strings.HasPrefix(s.name, "--deny") {
		t.Errorf("%s: broken by %s, and nothing helps", s.name, refused)
	}
	return refused
}

type outcome struct {
	ok   bool
	said string
}

// patience is how long a program may take where it may as well break: some wait for ever for what they were refused. Nothing
// that is required to work is under it.
const patience = 45 * time.Second

// run runs a job in a directory of its own.
func (j job) run(t *testing.T, s setting, options []string, wrapper ...string) outcome {
	t.Helper()
	dir, err := os.MkdirTemp("", "job")
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, os.Chmod(dir, 0o755))
	std := newStreams(t, s.stdio, dir)
	cmd := j.command(t, dir, options, wrapper)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = std.in, std.out, std.err
	if s.kept != "" {
		kept := newKept(t, s.kept, dir)
		defer kept.Close()
		cmd.ExtraFiles = []*os.File{kept}
	}
	must(t, cmd.Start())
	if options != nil && !s.must {
		limit := time.AfterFunc(patience, func() { cmd.Process.Signal(syscall.SIGTERM) })
		defer limit.Stop()
	}
	err = cmd.Wait()
	said := std.end()
	if err != nil && errors.As(err, new(*exec.ExitError)) {
		said = err.Error() + ": " + said
	} else {
		must(t, err)
	}
	return outcome{err == nil, said}
}

func (j job) command(t *testing.T, dir string, options, wrapper []string) *exec.Cmd {
	programs, err := filepath.Abs("programs")
	must(t, err)
	args := append(slices.Clone(wrapper), "bash", "-e", filepath.Join(programs, j.name+".sh"))
	if options != nil {
		args = append(append(args, safeexec), options...)
		if slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "--guard") }) {
			args = append(args, behind.Unheld()...)
		}
		if j.name == "i386" {
			args = append(args, "--abi", "compat")
		}
		args = append(args, "--")
	}
	cmd := proctest.Command(t, "clean", args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Env, "SHLVL=9", "PORT="+freePort(t), "PROGRAMS="+programs, "TEST_PROGRAM="+proctest.Program(t))
	return cmd
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// ableI386 says why no 32-bit program could run, or nothing. SAFEEXEC_I386 is set where one must.
func ableI386(t *testing.T) string {
	if os.Getenv("SAFEEXEC_I386") != "" {
		return ""
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "job")
	if out, err := exec.Command("gcc", "-m32", "-static", "-o", program, "programs/i386.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc -m32 (gcc-multilib): %v: %s", err, out)
	}
	cmd := exec.Command(program)
	cmd.Dir = dir
	err := cmd.Run()
	if errors.Is(err, syscall.ENOEXEC) {
		return "this kernel starts no 32-bit programs; [kernels.md](kernels.md) has this job under each of these settings, on kernels that do"
	}
	must(t, err)
	return ""
}
