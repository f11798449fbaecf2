package guard

import (
	"bytes"
	"errors"
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
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

// attempts are what the helper below can try on descriptors; each gives "ok", with what came of it, or the errno.
var attempts = map[string]func(n []int) (string, error){
	"nonblock": func(n []int) (string, error) {
		flags, err := unix.FcntlInt(uintptr(n[0]), unix.F_GETFL, 0)
		if err != nil {
			return "", err
		}
		if _, err = unix.FcntlInt(uintptr(n[0]), unix.F_SETFL, flags|unix.O_NONBLOCK); err != nil {
			return "", err
		}
		flags, err = unix.FcntlInt(uintptr(n[0]), unix.F_GETFL, 0)
		if flags&unix.O_NONBLOCK == 0 {
			return "pretended", err
		}
		return "", err
	},
	"blocking": func(n []int) (string, error) {
		flags, err := unix.FcntlInt(uintptr(n[0]), unix.F_GETFL, 0)
		return fmt.Sprint(flags&unix.O_NONBLOCK == 0), err
	},
	"mode": func(n []int) (string, error) {
		flags, err := unix.FcntlInt(uintptr(n[0]), unix.F_GETFL, 0)
		return [...]string{"r", "w", "rw", "?"}[flags&unix.O_ACCMODE], err
	},
	"dup":  func(n []int) (string, error) { _, err := unix.Dup(n[0]); return "", err },
	"dup2": func(n []int) (string, error) { return "", unix.Dup3(n[0], n[1], 0) },
	"lock": func(n []int) (string, error) { return "", unix.Flock(n[0], unix.LOCK_EX|unix.LOCK_NB) },
	"unlock": func(n []int) (string, error) {
		return "", unix.Flock(n[0], unix.LOCK_UN)
	},
	"owner": func(n []int) (string, error) {
		_, err := unix.FcntlInt(uintptr(n[0]), unix.F_SETOWN, os.Getpid())
		return "", err
	},
	"seek":   func(n []int) (string, error) { _, err := unix.Seek(n[0], 0, io.SeekStart); return "", err },
	"read":   func(n []int) (string, error) { _, err := unix.Read(n[0], make([]byte, 1)); return "", err },
	"write":  func(n []int) (string, error) { _, err := unix.Write(n[0], []byte("command\n")); return "", err },
	"advise": func(n []int) (string, error) { return "", unix.Fadvise(n[0], 0, 0, unix.FADV_RANDOM) },
	"sendmsg": func(n []int) (string, error) {
		return "", unix.Sendmsg(n[0], []byte("x"), unix.UnixRights(n[0]), nil, 0)
	},
	"recvmsg": func(n []int) (string, error) {
		_, _, _, _, err := unix.Recvmsg(n[0], make([]byte, 1), nil, unix.MSG_DONTWAIT)
		return "", err
	},
	"unix":   func([]int) (string, error) { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); return "", err },
	"tcp":    func([]int) (string, error) { _, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); return "", err },
	"pair":   func([]int) (string, error) { return pairAndSend(unix.SOCK_STREAM) },
	"dgrams": func([]int) (string, error) { return pairAndSend(unix.SOCK_DGRAM) },
	"udp":    udpMessage,
	"uring":  func([]int) (string, error) { _, errno := ring(); return "", errnoOrNil(errno) },
	"mem": func([]int) (string, error) {
		_, err := unix.Open(fmt.Sprintf("/proc/%d/mem", os.Getppid()), unix.O_RDWR, 0)
		return "", err
	},
	"getfd": func([]int) (string, error) {
		pidfd, err := unix.PidfdOpen(os.Getppid(), 0)
		if err == nil {
			_, err = unix.PidfdGetfd(pidfd, 0, 0)
		}
		return "", err
	},
	"mount": func([]int) (string, error) { return "", unix.Mount("none", "/nowhere", "tmpfs", 0, "") },
	"same": func(n []int) (string, error) {
		order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(os.Getpid()), uintptr(os.Getpid()), 0, uintptr(n[0]), uintptr(n[1]), 0)
		return fmt.Sprint(order == 0), errnoOrNil(errno)
	},
	"terminal": func(n []int) (string, error) {
		size, err := unix.IoctlGetWinsize(n[0], unix.TIOCGWINSZ)
		if err != nil {
			return "", err
		}
		group, err := unix.IoctlGetInt(n[0], unix.TIOCGPGRP)
		name, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", n[0]))
		return fmt.Sprintf("%s %dx%d foreground %v", name, size.Row, size.Col, group == unix.Getpgrp()), err
	},
}

func errnoOrNil(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// pairAndSend sends a descriptor of our own over a socket pair of our own, and takes it back.
func pairAndSend(kind int) (string, error) {
	p, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err != nil {
		return "", err
	}
	if err := unix.Sendmsg(p[0], []byte("x"), unix.UnixRights(p[0]), nil, 0); err != nil {
		return "made, not sent", nil
	}
	if _, _, _, _, err := unix.Recvmsg(p[1], make([]byte, 1), make([]byte, 64), 0); err != nil {
		return "made, sent, not received", nil
	}
	return "made, sent, received", nil
}

func udpMessage([]int) (string, error) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return "", err
	}
	to := &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}
	return "", unix.Sendmsg(s, []byte("x"), nil, to, 0)
}

// tryAll is the helper: it tries what its arguments say, "nonblock:1" or "dup2:3:5", and writes one line for each to a file.
func tryAll(args []string) int {
	var lines []string
	for _, arg := range args[1:] {
		words := strings.Split(arg, ":")
		var numbers []int
		for _, w := range words[1:] {
			n, err := strconv.Atoi(w)
			if err != nil {
				return 99
			}
			numbers = append(numbers, n)
		}
		came, err := attempts[words[0]](numbers)
		var errno syscall.Errno
		switch {
		case errors.As(err, &errno):
			came = unix.ErrnoName(errno)
		case err != nil:
			came = err.Error()
		case came == "":
			came = "ok"
		}
		lines = append(lines, arg+" "+came)
	}
	if os.WriteFile(args[0], []byte(strings.Join(lines, "\n")), 0o600) != nil {
		return 98
	}
	return 0
}

// A trial starts the helper under safeexec.
type trial struct {
	options []string
	fds     map[int]*os.File // 0 to 2 are /dev/null, and standard error a buffer, unless they are here; the rest are 3, 4, ... without a gap
	try     []string
	uid     uint32   // another user, as root
	sandbox string   // what the helper sandbox does before it becomes safeexec
	wrapper []string // a program, with arguments, that starts safeexec
	session bool     // in a session of its own, with 0 as its terminal
}

type result struct {
	status   int
	signal   syscall.Signal
	stderr   string
	attempts map[string]string
}

// run runs it; the caller's files stay open.
func (tr trial) run(t *testing.T) result {
	t.Helper()
	dir, err := os.MkdirTemp("", "try")
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, os.Chmod(dir, 0o777))
	out := filepath.Join(dir, "out")

	program := proctest.Program(t)
	if tr.uid != 0 { // who may not look into the go command's directory
		text, err := os.ReadFile(program)
		must(t, err)
		program = filepath.Join(dir, "program")
		must(t, os.WriteFile(program, text, 0o755))
	}
	cmd := exec.Command(program)
	cmd.Env = proctest.Environment("try")
	args := slices.Clone(tr.wrapper)
	if tr.sandbox != "" {
		cmd.Env = proctest.Environment("sandbox")
		args = append(args, program, tr.sandbox)
	}
	args = append(append(args, safeexec), tr.options...)
	args = append(append(args, "--", program, out), tr.try...)
	if cmd.Path, err = exec.LookPath(args[0]); err != nil {
		t.Fatal(err)
	}
	cmd.Args = args
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if f := tr.fds[0]; f != nil {
		cmd.Stdin = f
	}
	if f := tr.fds[1]; f != nil {
		cmd.Stdout = f
	}
	if f := tr.fds[2]; f != nil {
		cmd.Stderr = f
	}
	for n := 3; tr.fds[n] != nil; n++ {
		cmd.ExtraFiles = append(cmd.ExtraFiles, tr.fds[n])
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: tr.session, Setctty: tr.session}
	if tr.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: tr.uid, Gid: tr.uid}
	}
	err = cmd.Run()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	r := result{status: cmd.ProcessState.ExitCode(), stderr: stderr.String()}
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		r.signal = status.Signal()
	}
	if text, err := os.ReadFile(out); err == nil {
		r.attempts = map[string]string{}
		for line := range strings.Lines(string(text)) {
			attempt, came, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			r.attempts[attempt] = came
		}
	}
	return r
}

// expect tries what each word names before its blank, and wants what stands behind it.
func (tr trial) expect(t *testing.T, want ...string) result {
	t.Helper()
	for _, w := range want {
		attempt, _, _ := strings.Cut(w, " ")
		tr.try = append(tr.try, attempt)
	}
	r := tr.run(t)
	if r.status != 0 || r.attempts == nil {
		t.Errorf("status %d, signal %v: %s", r.status, r.signal, r.stderr)
		return r
	}
	for _, w := range want {
		attempt, came, _ := strings.Cut(w, " ")
		if r.attempts[attempt] != came {
			t.Errorf("%s: %s, want %s", attempt, r.attempts[attempt], came)
		}
	}
	return r
}

// refused is for a start that fails with these words.
func (tr trial) refused(t *testing.T, want ...string) {
	t.Helper()
	r := tr.run(t)
	if r.status != 125 || r.attempts != nil {
		t.Errorf("status %d, %v", r.status, r.attempts)
	}
	r.says(t, want...)
}

func (r result) says(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("%q isn't in\n%s", w, r.stderr)
		}
	}
}

// sandbox is a helper that restricts itself as args[0] says, and then becomes the rest. Its own filter is the tests' only one
// that isn't made by safeexec: an old kernel, or a container, to it.
func sandbox(args []string) int {
	const (
		nr, word1                = 0, 24 // offsets in struct seccomp_data: the call, and its second argument
		load, equal, answer      = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
		permit, refuse           = unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_ERRNO
		landlockCreate, dupQuery = unix.SYS_LANDLOCK_CREATE_RULESET, unix.F_DUPFD_QUERY
	)
	programs := map[string][]unix.SockFilter{
		"no-landlock": {
			{Code: load, K: nr},
			{Code: equal, K: landlockCreate, Jf: 1},
			{Code: answer, K: refuse | uint32(unix.ENOSYS)},
			{Code: answer, K: permit},
		},
		"no-asking": {
			{Code: load, K: nr},
			{Code: equal, K: unix.SYS_KCMP, Jt: 3},
			{Code: equal, K: unix.SYS_FCNTL, Jf: 3},
			{Code: load, K: word1},
			{Code: equal, K: dupQuery, Jf: 1},
			{Code: answer, K: refuse | uint32(unix.EPERM)},
			{Code: answer, K: permit},
		},
		"listener": {{Code: answer, K: permit}},
	}
	program := programs[args[0]]
	var flags uintptr
	if args[0] == "listener" {
		flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 97
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		fmt.Fprintln(os.Stderr, errno)
		return 96
	}
	if flags != 0 {
		unix.Dup3(int(fd), 3, 0)
	}
	os.Setenv("SAFEEXEC_TEST_HELPER", "try")
	fmt.Fprintln(os.Stderr, unix.Exec(args[1], args[1:], os.Environ()))
	return 95
}
