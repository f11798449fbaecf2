package command

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/safeexec/safeexec/internal/proctest"
)

// testProcess: safeexec becomes the command. Nothing is forked but the thread that executes it.
func (c *caller) testProcess(t *testing.T) {
	for _, options := range []string{"", "--leaks close", "--close 2", "-k 3:0"} {
		r := c.bash(t, `exec 3<a; echo $$; exec $safeexec `+options+` -- bash -c 'echo $$ $PPID' 3<a`)
		fields := strings.Fields(r.stdout)
		if len(fields) != 3 || fields[0] != fields[1] || fields[2] != fmt.Sprint(os.Getpid()) {
			t.Errorf("%q: PIDs before and after, and the parent's: %q, stderr %q", options, r.stdout, r.stderr)
		}
	}
	proctest.NeedTool(t, "strace")
	for _, options := range []string{"--leaks close", "--close 2", "-k 3:2", "--leaks warn", "--verbose", "--leaks close --die-with-parent"} {
		r := c.bash(t, `exec strace -f -qq -e trace=clone,clone3,fork,vfork -e signal=none -o trace $safeexec `+options+` -- true 3<a; exit $?`)
		trace, _ := os.ReadFile(filepath.Join(c.dir, "trace"))
		if r.status != 0 || !strings.Contains(string(trace), "clone") {
			t.Fatalf("status %d, %q, trace %q", r.status, r.stderr, trace)
		}
		for line := range strings.Lines(string(trace)) {
			probe := strings.Contains(line, "clone3(") && strings.Contains(line, "EINVAL") || strings.Contains(line, "<detached") ||
				strings.Contains(line, "???( <unfinished") // ended before strace saw in what: seen on a slow machine
			if strings.Contains(line, "(") && !strings.Contains(line, "resumed") && !probe && !strings.Contains(line, "CLONE_THREAD") {
				t.Errorf("%s: not a thread: %s", options, line)
			}
		}
	}
	t.Run("parent's death", func(t *testing.T) {
		// The command reads what nobody writes; the pipe of its output ends when it is killed.
		r := c.bash(t, `mkfifo -m 600 dead; exec 9<>dead; rm dead
			sh -c '"$safeexec" --die-with-parent -- sh -c "echo started >started; exec cat" <&9 & until [ -s started ]; do sleep 0.05; done; rm started' | cat`)
		if r.status != 0 {
			t.Errorf("status %d, stderr %q", r.status, r.stderr)
		}
	})
	t.Run("no_new_privs", func(t *testing.T) {
		for _, tt := range []struct{ options, want string }{{"", "0"}, {"--no-new-privs", "1"}, {"--nnp --close 2", "1"}} {
			if os.Geteuid() != 0 && tt.want == "0" && strings.Contains(status(t, "self"), "NoNewPrivs:\t1") {
				continue // it can't be taken back
			}
			r := c.bash(t, `exec $safeexec `+tt.options+` -- sed -n 's/NoNewPrivs:\t//p' /proc/self/status`)
			if strings.TrimSpace(r.stdout) != tt.want {
				t.Errorf("%q: %q, want %s", tt.options, r.stdout, tt.want)
			}
		}
	})
}

func status(t *testing.T, pid string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// testSignals compares the signals' lines of /proc/self/status with and without safeexec.
func (c *caller) testSignals(t *testing.T) {
	show := "grep -E '^Sig(Blk|Ign|Cgt)|^ShdPnd' /proc/self/status"
	for _, prepare := range []string{
		":",
		"trap '' TERM",
		"trap '' PIPE INT QUIT HUP TERM USR1 USR2 CHLD TSTP TTIN TTOU URG WINCH IO PWR SYS TRAP",
		"trap '' 1 2 3 4 5 6 7 8 10 11 12 13 14 15 16 17 18 20 21 22 23 24 25 26 27 28 29 30 31 $(seq 34 64)",
	} {
		for _, options := range []string{"", "--leaks close", "--close 2", "--leaks warn", "--keep all"} {
			direct := c.bash(t, prepare+"; exec "+show)
			through := c.bash(t, prepare+"; exec $safeexec "+options+" -- "+show)
			if direct.stdout == "" || direct.stdout != through.stdout {
				t.Errorf("%q %q:\n%swant\n%s", prepare, options, through.stdout, direct.stdout)
			}
		}
	}
	for _, blocked := range []string{"[]", "[15]", "[1, 2, 10, 13, 15, 17, 23, 34, 35, 64]", "range(1, 65)"} {
		// 32 and 33 are the C library's: pthread_sigmask leaves them out.
		python := `$python -c 'import os, signal, sys; signal.pthread_sigmask(signal.SIG_SETMASK, ` + blocked + `); os.execvp(sys.argv[1], sys.argv[1:])' `
		for _, options := range []string{"", "--leaks close", "--close 2"} {
			direct := c.bash(t, "exec "+python+show)
			through := c.bash(t, "exec "+python+"$safeexec "+options+" -- "+show)
			if direct.stdout == "" || direct.stdout != through.stdout {
				t.Errorf("%q %q:\n%swant\n%s", blocked, options, through.stdout, direct.stdout)
			}
		}
	}
	t.Run("a signal that waits", func(t *testing.T) { // blocked and sent: it is pending for the command still
		r := c.bash(t, `exec $python -c 'import os, signal, sys
signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR1]); os.kill(os.getpid(), signal.SIGUSR1)
os.execvp(sys.argv[1], sys.argv[1:])' $safeexec -- $python -c 'import signal; print(sorted(signal.sigpending()))'`)
		if !strings.Contains(r.stdout, "SIGUSR1") {
			t.Errorf("pending: %q, stderr %q", r.stdout, r.stderr)
		}
	})
}

// testStrings: arguments and environment arrive byte by byte.
func (c *caller) testStrings(t *testing.T) {
	args := []string{"", "a b", "", "\xff\xfe", "new\nline", "--keep", "-k3", "--", "$HOME", "\x01", "ü", strings.Repeat("x", 100000)}
	cmd := exec.Command(c.binary, append([]string{"--", "sh", "-c", `cat /proc/$$/cmdline`, "arg0"}, args...)...)
	out, err := cmd.Output()
	want := strings.Join(append([]string{"sh", "-c", `cat /proc/$$/cmdline`, "arg0"}, args...), "\x00") + "\x00"
	if err != nil || string(out) != want {
		t.Errorf("%v: arguments %.300q, want %.300q", err, out, want)
	}

	env := []string{
		"A=1", "A=2", "noequals", "=leading", "EMPTY=", "", "odd\xffname=\xfe", "MULTI=a=b=c", "NL=a\nb", "PATH=/usr/bin:/bin", "PATH=/nowhere",
		"GODEBUG=x=1", "GOMAXPROCS=1", "LISTEN_PIDX=1", "MAKEFLAGS=-j",
	}
	for _, options := range [][]string{nil, {"--leaks", "close"}, {"--close", "2"}, {"--keep", "all"}, {"--verbose"}, {"--leaks", "warn"}} {
		got := c.environment(t, options, env)
		if !slices.Equal(got, env) {
			t.Errorf("%q: environment %q, want %q", options, got, env)
		}
	}
	listen := []string{"LISTEN_PID=1", "X=1", "LISTEN_FDS=2", "LISTEN_FDNAMES=a:b", "LISTEN_FDS=3"}
	if got := c.environment(t, nil, listen); !slices.Equal(got, []string{"X=1"}) {
		t.Errorf("environment %q, but the sockets' variables go", got)
	}
}

// environment runs a command with exactly that environment, and returns what the kernel has of the command's.
func (c *caller) environment(t *testing.T, options, env []string) []string {
	t.Helper()
	process, err := os.StartProcess(c.binary, slices.Concat([]string{"safeexec"}, options, []string{"/bin/cp", "-f", "/proc/self/environ", c.dir + "/environ"}),
		&os.ProcAttr{Env: env, Files: []*os.File{nil, nil, nil}})
	if err != nil {
		t.Fatal(err)
	}
	state, err := process.Wait()
	if err != nil || !state.Success() {
		t.Fatal(state, err)
	}
	text, err := os.ReadFile(c.dir + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}

// testPosixLock: the locks of fcntl(2) belong to the process and its table, and it becomes the command.
func (c *caller) testPosixLock(t *testing.T) {
	const lock = `exec $python -c 'import fcntl, os, sys
f = open("locked", "w"); fcntl.lockf(f, fcntl.LOCK_EX)
os.set_inheritable(f.fileno(), True)
os.execvp(sys.argv[1], sys.argv[1:])' `
	const try = `$python -c 'import fcntl, os
f = os.open("locked", os.O_WRONLY)
pid = os.fork()
if pid == 0:
    try: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB); print("free", flush=True)
    except OSError: print("held", flush=True)
    os._exit(0)
os.waitpid(pid, 0)'`
	for _, branch := range branches[:4] {
		for _, tt := range []struct{ options, want string }{
			{"-k 3", "held\n"}, {"-k all", "held\n"}, {"-k 3:9,3", "held\n"}, {"--leaks warn -k all", "held\n"},
		} {
			r := c.bash(t, lock+branch.prefix+" "+branch.safeexec+" "+tt.options+" -- "+try)
			if r.stdout != tt.want {
				t.Errorf("%s %q: the lock is %q, want %q; stderr %q", branch.name, tt.options, r.stdout, tt.want, r.stderr)
			}
		}
	}
	// What is closed as a leak drops it: --leaks warn says so.
	r := c.bash(t, lock+"$safeexec --leaks warn -- "+try)
	if r.stdout != "free\n" || !strings.Contains(r.stderr, "dropped when it is closed") {
		t.Errorf("%q, %q", r.stdout, r.stderr)
	}
}
