//go:build amd64

package command

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

// failTaskHelper runs a command, and has one of the system calls fail of the task that safeexec executes the program in: the
// first argument's, counted from 1 (with a minus, close isn't counted). It writes the number of the call to the file "failed". The task
// is known by its CLONE_VFORK; what Go's runtime does on its other threads isn't touched.
func failTaskHelper(args []string) int { return failCall(args, false) }

// failEarlyHelper does the same with the calls that safeexec makes before Go's runtime starts.
func failEarlyHelper(args []string) int { return failCall(args, true) }

func failCall(args []string, early bool) int {
	at, err := strconv.Atoi(args[0])
	must(err)
	path, err := exec.LookPath(args[1])
	must(err)
	runtime.LockOSThread() // a tracer is a thread
	process, err := os.StartProcess(path, args[1:], &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, os.NewFile(3, "3"), os.NewFile(4, "4")},
		Sys:   &unix.SysProcAttr{Ptrace: true},
	})
	must(err)
	var status unix.WaitStatus
	_, err = unix.Wait4(process.Pid, &status, 0, nil)
	must(err)
	must(unix.PtraceSetOptions(process.Pid, unix.PTRACE_O_TRACEVFORK|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_TRACESYSGOOD|
		unix.PTRACE_O_TRACEEXEC|unix.PTRACE_O_EXITKILL))
	tr := &tracer{main: process.Pid, at: max(at, -at), skipClose: at < 0, known: map[int]bool{process.Pid: true}}
	if early {
		tr.task = process.Pid
	}
	tr.resume(process.Pid, 0)
	return tr.run()
}

// A tracer follows a process's threads until one of them, made by CLONE_VFORK, has become the program.
type tracer struct {
	main, task int
	known      map[int]bool // threads whose maker has told about them; false: stopped, and not yet told
	at, count  int
	skipClose  bool
	inside     bool // the task is in a system call
	failing    bool // in the one that fails
}

// run returns the exit status.
func (tr *tracer) run() int {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WALL, nil)
		if err == unix.EINTR {
			continue
		}
		must(err)
		switch {
		case status.Exited() && pid == tr.main:
			return status.ExitStatus()
		case status.Signaled() && pid == tr.main:
			return 128 + int(status.Signal())
		case status.Stopped():
			tr.stopped(pid, status)
		}
	}
}

// stopped deals with one stop, and resumes whom it may.
func (tr *tracer) stopped(pid int, status unix.WaitStatus) {
	event, signal := status.TrapCause(), int(status.StopSignal())
	switch told, seen := tr.known[pid]; {
	case !seen: // its first stop came before its maker's
		tr.known[pid] = false
		return
	case !told:
		panic("a thread that nobody has resumed stops again")
	case event == unix.PTRACE_EVENT_VFORK || event == unix.PTRACE_EVENT_CLONE:
		made, err := unix.PtraceGetEventMsg(pid)
		if killed(err) {
			return
		}
		if event == unix.PTRACE_EVENT_VFORK {
			tr.task, tr.inside = int(made), false
		}
		_, waits := tr.known[int(made)]
		tr.known[int(made)] = true
		if waits {
			tr.resume(int(made), 0)
		}
		signal = 0
	case event == unix.PTRACE_EVENT_EXEC && tr.task != 0:
		killed(unix.PtraceDetach(pid)) // what the program does is its own business
		return
	case event > 0, signal == int(unix.SIGSTOP): // an exec before, and the first stop of a thread
		signal = 0
	case signal == int(unix.SIGTRAP|0x80):
		tr.call(pid)
		signal = 0
	}
	tr.resume(pid, signal)
}

// call is where the task enters or leaves a system call.
func (tr *tracer) call(pid int) {
	var regs unix.PtraceRegs
	if killed(unix.PtraceGetRegs(pid, &regs)) {
		return
	}
	tr.inside = !tr.inside
	switch {
	case tr.inside && !(tr.skipClose && regs.Orig_rax == unix.SYS_CLOSE):
		tr.count++
		if tr.failing = tr.count == tr.at; tr.failing {
			must(os.WriteFile("failed", fmt.Appendf(nil, "%d", regs.Orig_rax), 0o666))
			regs.Orig_rax = ^uint64(0) // no such call: nothing is done
			killed(unix.PtraceSetRegs(pid, &regs))
		}
	case !tr.inside && tr.failing:
		tr.failing = false
		regs.Rax = ^uint64(unix.EIO) + 1 // minus EIO
		killed(unix.PtraceSetRegs(pid, &regs))
	}
}

func (tr *tracer) resume(pid, signal int) {
	resume := unix.PtraceCont
	if pid == tr.task {
		resume = unix.PtraceSyscall
	}
	killed(resume(pid, signal))
}

// killed reports whether a thread that had stopped has been killed meanwhile, because another one ended the process.
func killed(err error) bool {
	if err == unix.ESRCH {
		return true
	}
	must(err)
	return false
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func init() {
	proctest.Helper("fail-task", failTaskHelper)
	proctest.Helper("fail-early", failEarlyHelper)
}

// TestFailEarly has every system call that is made before Go's runtime starts fail once. What only asks is asked again later on,
// and the command runs as it should; once anything has been changed it must not run.
func TestFailEarly(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	env := proctest.Environment("fail-early")
	c.env = append(c.env, "fail_early=env "+env[len(env)-1]+" "+proctest.Program(t))
	for _, tt := range []struct{ options, asks, acts, table string }{
		{"", "fcntl fcntl fcntl newfstatat faccessat2 close_range", "close_range execve", standard},
		{"-k 3", "fcntl fcntl fcntl fcntl newfstatat faccessat2 close_range", "close_range execve", standard + ", 3 a"},
		{
			"-k 3:0,4:9", "fcntl fcntl fcntl fcntl fcntl prlimit64 prlimit64 newfstatat faccessat2 close_range",
			"close_range close_range dup3 dup3 close_range close_range execve", "0 a, 1 out, 2 err, 9 b",
		},
		{
			"--no-new-privs --die-with-parent", "fcntl fcntl fcntl newfstatat faccessat2 close_range",
			"close_range getppid prctl getppid prctl execve", standard,
		},
	} {
		t.Run(tt.options, func(t *testing.T) {
			asks := strings.Fields(tt.asks)
			for i, want := range append(asks, strings.Fields(tt.acts)...) {
				r := c.bash(t, "PATH=/usr/bin; exec 3<a 4<b 8>&2 <in >out 2>err; "+fmt.Sprintf("$fail_early %d $safeexec", i+1)+" "+tt.options+
					" -- $table; status=$?; cat err >&8; exit $status")
				failed, err := os.ReadFile(c.dir + "/failed")
				if err != nil || callName(string(failed)) != want {
					t.Fatalf("call %d is %s (%v), want %s", i+1, callName(string(failed)), err, want)
				}
				switch {
				case i < len(asks):
					if r.status != 0 || r.report != tt.table {
						t.Errorf("call %d, %s: %v, want the table %q", i+1, want, r, tt.table)
					}
				case want == "getppid": // that can't fail; who is another's child by now dies
					if r.status != 128+int(unix.SIGKILL) || r.report != "" {
						t.Errorf("call %d, %s: %v", i+1, want, r)
					}
				case want == "execve":
					c.refused(t, r, 126, "input/output error")
				default:
					c.refused(t, r, 125, "input/output error")
				}
			}
		})
	}
}

// TestFailTask has every system call between the new task's first and the execve fail once: the command must not run.
func TestFailTask(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	env := proctest.Environment("fail-task")
	c.env = append(c.env, "fail_task=env "+env[len(env)-1]+" "+proctest.Program(t), "ignoring=sh ignoring")
	if err := os.WriteFile(c.dir+"/ignoring", []byte(`trap "" USR1 USR2; exec "$@"`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, start, options string
		calls                string // that must be among those that failed
	}{
		{"in place", "", "--leaks close", "close_range prlimit64 rt_sigprocmask execve"},
		{"a swap", "", "-k 3:4,4:3", "close_range fcntl dup3 close execve"},
		{"a table of its own", "", "-k 3:2 --close 0", "close_range openat dup3 execve"},
		{"options", "", "--leaks close --no-new-privs --die-with-parent", "prctl execve"},
		{"ignored signals", "$fail_task %d $ignoring $safeexec", "--leaks close", "rt_sigaction execve"},
		{"by proc", "$filter close_range=ENOSYS $fail_task -%d $safeexec", "-k 3", "openat fstatfs read execve"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := tt.start
			if start == "" {
				start = "$fail_task %d $safeexec"
			}
			failed := map[string]bool{}
			for at := 1; ; at++ {
				os.Remove(c.dir + "/failed")
				r := c.bash(t, "exec 3<a 4<b; ulimit -S -n 256; exec "+fmt.Sprintf(start, at)+" "+tt.options+" -- touch ran")
				text, err := os.ReadFile(c.dir + "/failed")
				if err != nil { // there is no such call any more
					if r.status != 0 || !c.ran() {
						t.Errorf("nothing failed, and the status is %d, stderr %q", r.status, r.stderr)
					}
					break
				}
				name := callName(string(text))
				failed[name] = true
				if name == "close" && r.status == 0 && c.ran() || name == "getppid" && !c.ran() {
					continue // of a number that wasn't open; and a call that can't fail
				}
				status := 125
				if name == "execve" {
					status = 126
				}
				t.Run(fmt.Sprintf("%d %s", at, name), func(t *testing.T) { c.refused(t, r, status, "input/output error") })
			}
			for _, name := range strings.Fields(tt.calls) {
				if !failed[name] {
					t.Errorf("no %s is among the calls that failed: %v", name, failed)
				}
			}
		})
	}
}

func callName(number string) string {
	for name, n := range map[string]int{
		"close_range": unix.SYS_CLOSE_RANGE, "prlimit64": unix.SYS_PRLIMIT64, "rt_sigprocmask": unix.SYS_RT_SIGPROCMASK,
		"rt_sigaction": unix.SYS_RT_SIGACTION, "execve": unix.SYS_EXECVE, "fcntl": unix.SYS_FCNTL, "dup3": unix.SYS_DUP3,
		"close": unix.SYS_CLOSE, "openat": unix.SYS_OPENAT, "prctl": unix.SYS_PRCTL, "fstatfs": unix.SYS_FSTATFS, "read": unix.SYS_READ,
		"getppid": unix.SYS_GETPPID, "newfstatat": unix.SYS_NEWFSTATAT, "faccessat2": unix.SYS_FACCESSAT2,
	} {
		if number == strconv.Itoa(n) {
			return name
		}
	}
	return number
}
