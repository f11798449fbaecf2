package spawn_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/spawn"
)

// sandboxes answer for calls that they don't know.
var sandboxes = []string{
	"none",
	"close_range=ENOSYS", "close_range=EPERM",
	"clone3=ENOSYS", "clone3=EPERM",
	"close_range=ENOSYS,clone3=ENOSYS", "close_range=EPERM,clone3=EPERM",
	"kcmp=EPERM,close_range=ENOSYS",
}

// TestFallback: whatever the kernel or a sandbox lacks, the table is the same, and so are handlers, errors and attributes.
func TestFallback(t *testing.T) {
	const want = "0 1 2 3 300 4 40 <nil>; " +
		"fork/exec /no/such/program: no such file or directory; " +
		"spawn: /bin/true: change directory to /no/such/directory: no such file or directory; " +
		"caught 0000000000000000; uid 0 gid 0; 0 more descriptors"
	for _, sandbox := range sandboxes {
		t.Run(sandbox, func(t *testing.T) {
			out, err := proctest.Command(t, "sandboxed", sandbox).Output()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got := string(out); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// sandboxed starts commands after putting itself under a filter.
func sandboxed(args []string) int {
	runtime.LockOSThread()
	refuse(args[0])
	spawn.Command("/bin/true").Output() // this brings the runtime's poller up, and takes the low numbers
	before := len(everyNumber())
	const littered = 77
	if err := unix.Dup3(0, littered, 0); err != nil { // without close-on-exec
		panic(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	dir, err := os.Open("/")
	if err != nil {
		panic(err)
	}
	cmd := spawn.Command("/bin/ls", "/proc/self/fd") // opens that as 4; a Go program might not run in these sandboxes
	cmd.ExtraFiles = []*os.File{dir}
	cmd.Pass = []spawn.Descriptor{{Number: 300, File: r}, {Number: 40, File: w}}
	out, err := cmd.Output()
	fmt.Print(strings.Join(strings.Fields(string(out)), " "), " ", err, "; ")

	fmt.Print(spawn.Command("/no/such/program").Run(), "; ")
	cmd = spawn.Command("/bin/true")
	cmd.Dir = "/no/such/directory"
	fmt.Print(cmd.Run(), "; ")

	fmt.Print("caught ", status(ours, nil)["SigCgt"], "; ")
	fields := status(ours, &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: own(0, os.Getuid()), GidMappings: own(0, os.Getgid()),
	})
	fmt.Printf("uid %.1s gid %.1s; ", fields["Uid"], fields["Gid"])

	r.Close()
	w.Close()
	dir.Close()
	unix.Close(littered)
	fmt.Print(len(everyNumber())-before, " more descriptors")
	return 0
}

func everyNumber() (names []string) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// refuse installs a filter that answers the named calls with the named errors. It is for this thread alone, which the caller
// has locked: the C library couldn't make threads any more.
func refuse(sandbox string) {
	if sandbox == "none" {
		return
	}
	calls := map[string]uint32{"close_range": unix.SYS_CLOSE_RANGE, "clone3": unix.SYS_CLONE3, "kcmp": unix.SYS_KCMP}
	errnos := map[string]syscall.Errno{"ENOSYS": unix.ENOSYS, "EPERM": unix.EPERM}
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the call's number
	for rule := range strings.SplitSeq(sandbox, ",") {
		call, errno, _ := strings.Cut(rule, "=")
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: calls[call]},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errnos[errno])})
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		panic(errno)
	}
}

// TestNoProc: without close_range and without a procfs that tells the table's size, nothing is started.
func TestNoProc(t *testing.T) {
	environment := proctest.Environment("no-proc")
	proctest.NeedRoot(t)
	unshare := proctest.NeedTool(t, "unshare")
	fake := "mkdir /proc/thread-self && printf 'Name:\\tx\\nFDSize:\\t64\\n' > /proc/thread-self/status"
	for _, test := range []struct{ name, script, sandbox, want string }{
		{"nothing", "mount -t tmpfs none /proc", "close_range=ENOSYS", "spawn: /bin/true: close descriptors: " +
			"close_range(2): function not implemented; /proc/thread-self/status: no such file or directory"},
		{"an impostor", "mount -t tmpfs none /proc && " + fake, "close_range=EPERM", "spawn: /bin/true: close descriptors: " +
			"close_range(2): operation not permitted; /proc/thread-self/status: not on procfs"},
		{"nothing, but close_range", "mount -t tmpfs none /proc", "none", "<nil>"},
		{"an impostor, but close_range", "mount -t tmpfs none /proc && " + fake, "clone3=ENOSYS", "<nil>"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.Command(unshare, "-m", "/bin/sh", "-c", test.script+` && exec "$0" "$@"`, proctest.Program(t), test.sandbox)
			cmd.Env = environment
			out, err := cmd.Output()
			if err != nil || string(out) != test.want {
				t.Errorf("%v\ngot  %s\nwant %s", err, out, test.want)
			}
		})
	}
}

func noProc(args []string) int {
	runtime.LockOSThread()
	refuse(args[0])
	fmt.Print(spawn.Command("/bin/true").Run())
	return 0
}

// TestLimit: package syscall raises RLIMIT_NOFILE, and a program may do so itself.
func TestLimit(t *testing.T) {
	for _, l := range []library{osExec, ours} {
		for _, test := range []struct{ set, want string }{
			{"", "300"},
			{"200", "200"},
		} {
			cmd := exec.Command("/bin/sh", "-c", `ulimit -Sn 300 && exec "$0" "$@"`, proctest.Program(t), l.name, test.set)
			cmd.Env = proctest.Environment("limited")
			out, err := cmd.CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != test.want {
				t.Errorf("%s, limit set to %q: %s, %v", l.name, test.set, got, err)
			}
		}
	}
}

func limited(args []string) int {
	l := map[string]library{osExec.name: osExec, ours.name: ours}[args[0]]
	if args[1] != "" {
		var limit unix.Rlimit
		unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
		fmt.Sscan(args[1], &limit.Cur)
		if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit.Cur, Max: limit.Max}); err != nil {
			panic(err)
		}
	}
	c := l.shell("ulimit -Sn")
	*c.Stdout, *c.Stderr = os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		panic(err)
	}
	return 0
}

// TestHighNumbers: descriptors above the limit that the child gets back can still be placed.
func TestHighNumbers(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", `ulimit -Sn 100 && exec "$0" "$@"`, proctest.Program(t), filepath.Join("/", "proc", "self", "fd"))
	cmd.Env = proctest.Environment("high")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "0 1 2 3 700 " {
		t.Errorf("%s %v", out, err)
	}
}

func highHelper(args []string) int {
	cmd := spawn.Command("/bin/ls", args[0])
	cmd.Pass = []spawn.Descriptor{{Number: 700, FD: 0}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		panic(err)
	}
	for number := range strings.FieldsSeq(string(out)) {
		fmt.Print(number, " ")
	}
	return 0
}
