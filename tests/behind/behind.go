// Package behind has a command leave a process behind, and looks at how that is guarded when safeexec is gone; also where Yama lets only
// ancestors look into processes.
package behind

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/seccomp"
)

// Register registers the helpers that Guarded uses. It is called from TestMain.
func Register() {
	proctest.Helper("leaves", leaves)
	proctest.Helper("left", left)
}

// Unheld are the options that a guard takes on this kernel: what holds off stealing is Landlock, which not every kernel has.
func Unheld() []string {
	if seccomp.LandlockABI() > 0 {
		return nil
	}
	return []string{"--guard-steal", "off"}
}

// leaves starts the process that is left behind.
func leaves(args []string) int {
	program, err := os.Executable()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "SAFEEXEC_TEST_HELPER=left")
	cmd.ExtraFiles = []*os.File{os.NewFile(3, "shared")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal that hangs up concerns it
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 7
}

// left waits until it may begin, says what it can do to descriptor 3 and to a pipe of its own, and who its parent is; then it waits for
// its end.
func left(args []string) int {
	if err := os.Chdir(args[0]); err != nil {
		return 1
	}
	os.ReadFile("begin")
	set := func(fd, flag int) string {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, flag)
		now, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		return fmt.Sprint(err, " ", now&flag != 0)
	}
	var pipe [2]int
	unix.Pipe(pipe[:])
	result := fmt.Sprintf("shared: %s\nown: %s\n%d", set(3, unix.O_APPEND), set(pipe[0], unix.O_NONBLOCK), os.Getppid())
	if err := os.WriteFile("result", []byte(result), 0); err != nil {
		return 1
	}
	os.ReadFile("end")
	return 0
}

// Guarded runs safeexec with a command that leaves a process behind, and checks that this one is guarded afterwards. Before is what
// stands before the command line. With inPlace the guard has to be an ancestor, and to end with the process.
func Guarded(t *testing.T, before []string, safeexec string, stdin *os.File, inPlace bool, options ...string) {
	t.Helper()
	dir := Open(t)
	for _, name := range []string{"begin", "result", "end"} {
		path := filepath.Join(dir, name)
		if err := unix.Mkfifo(path, 0o666); err != nil {
			t.Fatal(err)
		}
		os.Chmod(path, 0o666)
	}
	t.Cleanup(func() { // whoever waits there still goes on
		for _, name := range []string{"begin", "result", "end"} {
			if f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0); err == nil {
				defer f.Close()
			}
		}
	})
	shared, err := os.OpenFile(filepath.Join(dir, "shared"), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	proctest.Environment("left")
	words := append(slices.Clone(before), safeexec)
	words = append(words, append(append(options, Unheld()...), "--keep", "3", "--", proctest.NeedTool(t, "env"), "SAFEEXEC_TEST_HELPER=leaves", program(t, dir), dir)...)
	proctest.Environment("leaves")
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin, cmd.ExtraFiles = stdin, []*os.File{shared}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Run() // which ends when nobody has the pipe any more
	if status := cmd.ProcessState.ExitCode(); status != 7 || said.Len() > 0 {
		t.Fatalf("status %d: %s", status, &said)
	}
	os.WriteFile(filepath.Join(dir, "begin"), nil, 0)
	text, err := os.ReadFile(filepath.Join(dir, "result"))
	if err != nil {
		t.Fatal(err)
	}
	result, parent, _ := strings.Cut(string(text), "\nown: <nil> true\n")
	if want := "shared: operation not permitted false"; result != want {
		t.Errorf("%s\nwant %q", text, want)
	}
	conn, err := shared.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var flags int
	failed := conn.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0) })
	if failed != nil || err != nil || flags&unix.O_APPEND != 0 {
		t.Errorf("the shared description: %#x, %v, %v", flags, err, failed)
	}
	ended := func() {}
	if inPlace {
		ended = await(t, parent)
	}
	os.WriteFile(filepath.Join(dir, "end"), nil, 0)
	ended()
}

// await checks that a process is the guard, which has nothing of the caller's and stands in nobody's way, and returns what waits for its
// end.
func await(t *testing.T, pid string) (ended func()) {
	t.Helper()
	name, err := os.ReadFile("/proc/" + pid + "/cmdline")
	if want := "safeexec (guarding)\x00"; string(name) != want {
		t.Fatalf("the parent is %q (%v), want %q", name, err, want)
	}
	number, _ := strconv.Atoi(pid)
	if session, err := unix.Getsid(number); session != number {
		t.Errorf("session %d, %v", session, err)
	}
	if cwd, err := os.Readlink("/proc/" + pid + "/cwd"); cwd != "/" {
		t.Errorf("works in %s, %v", cwd, err)
	}
	for fd := range 3 {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%s/fd/%d", pid, fd)); to != os.DevNull {
			t.Errorf("descriptor %d: %s, %v", fd, to, err)
		}
	}
	fd, err := unix.PidfdOpen(number, 0)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		defer unix.Close(fd)
		for {
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err != unix.EINTR {
				return
			}
		}
	}
}

// Open returns a directory that every user can reach and write to.
func Open(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for path, mode := range map[string]os.FileMode{dir: 0o777, filepath.Dir(dir): 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// program is the test binary, where every user can start it.
func program(t *testing.T, dir string) string {
	t.Helper()
	from, err := os.Open(proctest.Program(t))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, "program"), os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return to.Name()
}

// yama is the setting: 1 where only ancestors may look into processes that they have no CAP_SYS_PTRACE for.
const yama = "/proc/sys/kernel/yama/ptrace_scope"

// RegisterRestricted registers the helper of Restricted, which is for root.
func RegisterRestricted() {
	if _, helper := os.LookupEnv("SAFEEXEC_TEST_HELPER"); helper || os.Geteuid() == 0 {
		proctest.Helper("restricted", restricted)
	}
}

// Restricted returns what stands before a command for it to run as a user whom Yama restricts to descendants.
func Restricted(t *testing.T, uid int) []string {
	t.Helper()
	return scoped(t, uid, 1)
}

// scoped is for any setting but 3, which is for good. A kernel with Yama has that setting while the test runs. On any other the command
// sees one that isn't the kernel's: then everything comes about as with Yama, but nothing would be refused.
func scoped(t *testing.T, uid, scope int) []string {
	t.Helper()
	proctest.NeedRoot(t)
	if before, err := os.ReadFile(yama); err == nil {
		if err := os.WriteFile(yama, []byte(strconv.Itoa(scope)), 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.WriteFile(yama, before, 0) })
	}
	proctest.Environment("restricted")
	return []string{
		proctest.NeedTool(t, "env"), "SAFEEXEC_TEST_HELPER=restricted", proctest.Program(t), strconv.Itoa(uid), strconv.Itoa(scope),
	}
}

// restricted becomes a command, without CAP_SYS_PTRACE.
func restricted(args []string) int {
	runtime.LockOSThread()
	uid, _ := strconv.Atoi(args[0])
	scope, command := args[1], args[2:]
	err := func() error {
		if _, err := os.Stat(yama); err != nil {
			if err := pretend(scope); err != nil {
				return err
			}
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_PTRACE, 0, 0, 0); err != nil {
			return err
		}
		if uid != 0 {
			if err := unix.Setresuid(uid, uid, uid); err != nil {
				return err
			}
		}
		path, err := exec.LookPath(command[0])
		if err != nil {
			return err
		}
		return unix.Exec(path, command, os.Environ())
	}()
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// pretend shows this thread, and what it becomes, a setting of its own.
func pretend(scope string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return err
	}
	kernel := filepath.Dir(filepath.Dir(yama))
	if err := unix.Mount("none", kernel, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Dir(yama), 0o755); err != nil {
		return err
	}
	return os.WriteFile(yama, []byte(scope+"\n"), 0o644)
}
