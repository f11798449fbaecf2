package ofd

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Helper("puppet", puppet)
	proctest.Helper("terminal", onTerminal)
	proctest.Helper("sandboxed", sandboxed)
	proctest.Main(m)
}

// puppet does to its descriptor 3 what it is told on standard input, a word a line, and answers each with a line.
func puppet([]string) int {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if err := act(in.Text(), 3); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("ok")
	}
	return 0
}

func act(word string, fd int) error {
	switch word {
	case "nonblock":
		return addFlags(fd, unix.O_NONBLOCK)
	case "append":
		return addFlags(fd, unix.O_APPEND)
	case "rewind":
		_, err := unix.Seek(fd, 0, io.SeekStart)
		return err
	case "read":
		_, err := unix.Read(fd, make([]byte, 3))
		return err
	case "unlock":
		return unix.Flock(fd, unix.LOCK_UN)
	case "truncate":
		return unix.Ftruncate(fd, 0)
	case "posix":
		return unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK})
	}
	return fmt.Errorf("puppet: %q is unknown", word)
}

func addFlags(fd, flags int) error {
	now, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, now|flags)
	}
	return err
}

// other is a second process that holds a descriptor.
type other struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// startOther starts a puppet whose descriptor 3 refers to the description of file.
func startOther(t testing.TB, file *os.File, configure ...func(*exec.Cmd)) *other {
	t.Helper()
	cmd := proctest.Command(t, "puppet")
	cmd.Stderr = os.Stderr
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0") // else a race-enabled child takes a second to end
	if file != nil {
		cmd.ExtraFiles = []*os.File{file}
	}
	for _, c := range configure {
		c(cmd)
	}
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	o := &other{cmd, in, bufio.NewScanner(out)}
	t.Cleanup(o.end)
	return o
}

// does has the other process do something, and waits for it.
func (o *other) does(t testing.TB, word string) {
	t.Helper()
	_, err := fmt.Fprintln(o.in, word)
	must(t, err)
	if !o.out.Scan() || o.out.Text() != "ok" {
		t.Fatalf("the other process, told to %s: %q, %v", word, o.out.Text(), o.out.Err())
	}
}

func (o *other) ref() Ref { return Ref{PID: o.cmd.Process.Pid, FD: 3} }

func (o *other) end() {
	o.in.Close()
	o.cmd.Wait()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// number is the descriptor of a file, without the side effects of Fd. The file must be kept alive.
func number(t testing.TB, f *os.File) int {
	t.Helper()
	raw, err := f.SyscallConn()
	must(t, err)
	fd := -1
	must(t, raw.Control(func(n uintptr) { fd = int(n) }))
	t.Cleanup(func() { f.Close() })
	return fd
}

// open opens a file by the bare system call, so that Go's runtime leaves its flags alone.
func open(t testing.TB, path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// fileWith makes a file with the given content and returns its path.
func fileWith(t testing.TB, content string) string {
	t.Helper()
	path := t.TempDir() + "/file"
	must(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func dup(t testing.TB, fd int) int {
	t.Helper()
	second, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(second) })
	return second
}

// asFile returns a duplicate as a file; closing it is the file's business.
func asFile(t testing.TB, fd int) *os.File {
	t.Helper()
	second, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	f := os.NewFile(uintptr(second), "duplicate")
	t.Cleanup(func() { f.Close() })
	return f
}

func openDescriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// newSession makes a child lead a session of its own.
func newSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
