package guard

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/seccomp"
)

func flagsOf(t *testing.T, f *os.File) (flags int) {
	t.Helper()
	conn, err := f.SyscallConn()
	must(t, err)
	must(t, conn.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0) }))
	must(t, err)
	return flags
}

func regular(t *testing.T, flags int) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, []byte("0123456789"), 0o666))
	return open(t, path, flags)
}

func fifo(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	must(t, unix.Mkfifo(path, 0o666))
	return path
}

// blocking opens what package os would put into non-blocking mode.
func blocking(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	must(t, err)
	return file(t, fd, path)
}

// TestPrivateFirst: what the command can't tell from the shared description it gets as its own, by --guard and by --private:
// it may do as it likes, and the caller's stays as it was.
func TestPrivateFirst(t *testing.T) {
	_, pipeEnd := pipe(t)
	_, slave := pty(t)
	path := fifo(t)
	both := blocking(t, path, unix.O_RDWR)
	fifoEnd := blocking(t, path, unix.O_WRONLY)
	for _, test := range []struct {
		name, words string
		f           *os.File
	}{
		{"pipe", "a pipe", pipeEnd},
		{"FIFO", "a fifo", fifoEnd},
		{"FIFO, both ways", "a fifo", both},
		{"terminal", "a terminal", slave},
		{"null", "a memory device", open(t, "/dev/null", os.O_RDWR)},
		{"zero", "a memory device", open(t, "/dev/zero", os.O_RDWR)},
		{"appended file", "a file", regular(t, os.O_WRONLY|os.O_APPEND)},
	} {
		for _, options := range [][]string{
			{"--verbose", "--guard", "--keep", "3,4"},
			{"--verbose", "--private", "1,3,4"},
			{"--verbose", "--guard", "--private", "3", "--keep", "4"},
		} {
			t.Run(test.name+strings.Join(options[1:], ""), func(t *testing.T) {
				before := flagsOf(t, test.f)
				r := trial{options: options, fds: map[int]*os.File{1: test.f, 3: test.f, 4: test.f}}.expect(t,
					"same:1:3 true", "same:3:4 true", // 2>&1 stays one description
					"blocking:3 true", "nonblock:3 ok", "nonblock:1 ok", "owner:3 ok", "lock:3 ok", "dup:3 ok", "dup2:3:9 ok",
				)
				if after := flagsOf(t, test.f); after != before {
					t.Errorf("the caller's flags were %#o and are %#o", before, after)
				}
				if options[1] == "--guard" && options[2] == "--keep" {
					for _, n := range []int{1, 3, 4} {
						r.says(t, fmt.Sprintf("safeexec: guard: descriptor %d: private (%s, opened again)\n", n, test.words))
					}
				}
			})
		}
	}
}

// TestGuardedNumber: what stays shared at 3 and up is refused by number.
func TestGuardedNumber(t *testing.T) {
	f := regular(t, os.O_RDWR)
	before := flagsOf(t, f)
	r := trial{options: []string{"--verbose", "--guard", "--keep", "3"}, fds: map[int]*os.File{3: f}}.expect(t,
		"nonblock:3 EPERM", "owner:3 EPERM", "lock:3 EPERM", "seek:3 EPERM", "dup:3 EPERM", "dup2:3:9 EPERM", "dup2:3:1 EPERM",
		"read:3 ok", "write:3 ok", "advise:3 ok",
		"dup:0 ok", "nonblock:0 ok", "tcp ok", "udp ok", "pair made, sent, not received", "dgrams EPERM", "unix "+treeSocket(),
		"uring ENOSYS", "getfd EPERM",
	)
	if after := flagsOf(t, f); after != before {
		t.Errorf("the caller's flags were %#o and are %#o", before, after)
	}
	r.says(t, "safeexec: guard: descriptor 3: shared, refused by number: flags,owner,lock,seek (its offset is shared)\n")
	for ops, want := range map[string][]string{
		"lock":      {"lock:3 EPERM", "nonblock:3 ok", "seek:3 ok", "dup:3 EPERM"},
		"offset":    {"read:3 EPERM", "write:3 EPERM", "seek:3 EPERM", "lock:3 ok", "read:0 ok"},
		"mode":      {"advise:3 EPERM", "read:3 ok", "seek:3 ok"},
		"dup,tty":   {"lock:3 EPERM", "seek:3 EPERM"}, // always in, so the default
		"flags,tty": {"nonblock:3 EPERM", "lock:3 ok"},
	} {
		trial{options: []string{"--guard=" + ops, "--keep", "3"}, fds: map[int]*os.File{3: regular(t, os.O_RDWR)}}.expect(t, want...)
	}
}

// treeSocket is what socket(AF_UNIX) answers under --fd-passing tree: Landlock can confine it from ABI 9 on.
func treeSocket() string {
	if seccomp.LandlockABI() >= 9 {
		return "ok"
	}
	return "EPERM"
}

// TestLockStaysShared: a lock is the caller's, so its description isn't made private, and the command can't drop it.
func TestLockStaysShared(t *testing.T) {
	f := regular(t, os.O_WRONLY|os.O_APPEND)
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	r := trial{options: []string{"--verbose", "--guard", "--keep", "3"}, fds: map[int]*os.File{3: f}}.expect(t,
		"unlock:3 EPERM", "nonblock:3 EPERM", "write:3 ok")
	r.says(t, "descriptor 3: shared, refused by number: flags,owner,lock,seek (a lock is held on it)")
	if err := unix.Flock(int(open(t, f.Name(), os.O_RDONLY).Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Errorf("the lock is gone: %v", err)
	}
}

// TestFIFO: the start waits for nobody, and what opening would change stays shared.
func TestFIFO(t *testing.T) {
	path := fifo(t)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	must(t, err)
	reader := file(t, fd, "fifo")
	writer := blocking(t, path, unix.O_WRONLY)
	must(t, unix.SetNonblock(fd, false))
	options := []string{"--verbose", "--guard", "--keep", "3"}

	trial{options: options, fds: map[int]*os.File{3: reader}}.expect(t, "nonblock:3 ok").says(t, "descriptor 3: private (a fifo")
	writer.Write([]byte("x"))
	writer.Close()
	trial{options: options, fds: map[int]*os.File{3: reader}}.expect(t, "nonblock:3 EPERM").
		says(t, "descriptor 3: shared, refused by number", "descriptor 3: shared, refused by number: flags,owner,lock,seek (")
	b := make([]byte, 1)
	if n, err := unix.Read(fd, b); n != 1 || err != nil || b[0] != 'x' {
		t.Errorf("what was in it is gone: %d, %v", n, err)
	}
}

// TestTerminal: job control, the window and the terminal's name are the same as without a guard.
func TestTerminal(t *testing.T) {
	_, slave := pty(t)
	trial{
		options: []string{"--guard"}, session: true,
		fds: map[int]*os.File{0: slave, 1: slave, 2: slave},
	}.expect(t, "terminal:0 "+slave.Name()+" 50x132 foreground true", "terminal:1 "+slave.Name()+" 50x132 foreground true", "same:0:2 true",
		"nonblock:0 ok")
	if flagsOf(t, slave)&unix.O_NONBLOCK != 0 {
		t.Error("the caller's terminal is non-blocking")
	}
}

// TestJobControl: an interactive shell has jobs, and ^C from the terminal ends the one in the foreground, not the shell.
func TestJobControl(t *testing.T) {
	master, slave := pty(t)
	cmd := exec.Command(safeexec, "--guard", "--", "bash", "--norc", "--noprofile", "-i")
	cmd.Env = append(os.Environ(), "PS1=> ", "TERM=dumb", "HISTFILE=")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(t, cmd.Start())
	slave.Close()
	text := ""
	await := func(want string) {
		t.Helper()
		b := make([]byte, 4096)
		for !strings.Contains(text, want) {
			n, err := master.Read(b)
			if err != nil {
				t.Fatalf("%v; waited for %q in %q", err, want, text)
			}
			text += string(b[:n])
		}
		_, text, _ = strings.Cut(text, want)
	}
	say := func(line string) { fmt.Fprint(master, line) }
	await("> ")
	say("sleep 1000 & jobs; echo A$((1+1))\n")
	await("Running")
	await("A2")
	say("kill %1; sh -c 'echo up; exec sleep 1000'\n")
	await("\nup")
	say("\x03")
	await("> ")
	say("echo S$?; stty size; tty\n")
	await("S130")
	await("50 132")
	await(slave.Name())
	say("exit 7\n")
	go io.Copy(io.Discard, master)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("the shell ended with %d", code)
	}
}

// TestPipeEnds: the end of the input arrives, the caller sees the end of the output, and a reader that is gone means SIGPIPE.
func TestPipeEnds(t *testing.T) {
	out, err := exec.Command("sh", "-c", `echo through | "$0" --guard -- cat | cat`, safeexec).Output()
	if err != nil || string(out) != "through\n" {
		t.Errorf("%q, %v", out, err)
	}
	r, w := pipe(t)
	cmd := exec.Command(safeexec, "--guard", "--", "yes")
	cmd.Stdout = w
	must(t, cmd.Start())
	w.Close()
	r.Read(make([]byte, 100))
	r.Close()
	cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGPIPE {
		t.Errorf("yes ended by %v", status)
	}
}

// TestOthersPipe: a pipe that another user made can't be opened again. It stays shared, and is guarded.
func TestOthersPipe(t *testing.T) {
	proctest.NeedRoot(t)
	_, w := pipe(t)
	r := trial{options: []string{"--verbose", "--guard", "--keep", "3,4"}, uid: 65534, fds: map[int]*os.File{1: w, 3: w, 4: regular(t, os.O_RDONLY)}}.
		expect(t, "nonblock:3 EPERM", "dup:3 EPERM", "nonblock:1 EPERM", "dup:1 EPERM", "lock:4 EPERM", "write:1 ok")
	r.says(t, "descriptor 3: shared, refused by number: flags,owner,lock,seek (", "permission denied",
		"and it is guarded under a higher number too")
	trial{options: []string{"--verbose", "--guard"}, uid: 65534, fds: map[int]*os.File{1: w}}.
		expect(t, "nonblock:1 pretended", "dup:1 ok", "owner:1 EPERM", "lock:1 EPERM", "write:1 ok").
		says(t, "descriptor 1: shared, advisory: flags,owner,lock (", "permission denied")
	if flagsOf(t, w)&unix.O_NONBLOCK != 0 {
		t.Error("the caller's pipe is non-blocking")
	}
}

// TestNoProc: nothing can be opened again, so all stays shared and guarded; what can't be recognised is refused.
func TestNoProc(t *testing.T) {
	proctest.NeedRoot(t)
	noProc := []string{"unshare", "-m", "sh", "-c", `mount -t tmpfs none /proc && exec "$@"`, "sh"}
	_, w := pipe(t)
	trial{options: []string{"--guard", "--keep", "3,4"}, wrapper: noProc, fds: map[int]*os.File{1: w, 3: w, 4: regular(t, os.O_RDWR)}}.
		expect(t, "nonblock:3 EPERM", "dup:3 EPERM", "nonblock:1 EPERM", "seek:4 EPERM", "write:1 ok")
	trial{options: []string{"--guard"}, wrapper: noProc, fds: map[int]*os.File{1: w}}.expect(t, "nonblock:1 pretended", "dup:1 ok")
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	must(t, err)
	trial{options: []string{"--guard", "--keep", "3"}, wrapper: noProc, fds: map[int]*os.File{3: file(t, event, "event")}}.
		refused(t, "descriptor 3: what it is can't be seen without /proc")
}

// TestUnguardable: what acts behind any filter's back is refused, by kind and number.
func TestUnguardable(t *testing.T) {
	t.Run("listener", func(t *testing.T) {
		trial{sandbox: "listener", options: []string{"--guard", "--keep", "3"}, fds: map[int]*os.File{3: open(t, "/dev/null", os.O_RDONLY)}}.
			refused(t, "descriptor 3: a guard can't hold a seccomp listener")
		trial{sandbox: "listener", options: []string{"--keep", "3"}, fds: map[int]*os.File{3: open(t, "/dev/null", os.O_RDONLY)}}.
			expect(t, "mode:3 rw")
	})
	t.Run("io_uring", func(t *testing.T) {
		fd, errno := ring()
		if errno != 0 {
			proctest.Skip(t, "io_uring: "+errno.Error())
		}
		trial{options: []string{"--guard", "--keep", "3"}, fds: map[int]*os.File{3: file(t, fd, "ring")}}.
			refused(t, "descriptor 3: a guard can't hold an io uring")
	})
}

// TestUnixSocket: a kept UNIX socket is a way out: no messages, and no copies of it where the guard is strict.
func TestUnixSocket(t *testing.T) {
	a, b := socketPair(t, unix.SOCK_STREAM)
	b.Write([]byte("xxxxxxxx"))
	trial{options: []string{"--guard", "--keep", "3"}, fds: map[int]*os.File{3: a}}.
		expect(t, "sendmsg:3 EPERM", "recvmsg:3 EPERM", "write:3 ok", "read:3 ok", "dup:3 EPERM", "dup2:3:0 EPERM", "nonblock:3 EPERM")
	trial{options: []string{"--guard"}, fds: map[int]*os.File{1: a}}.
		expect(t, "sendmsg:1 EPERM", "recvmsg:1 EPERM", "write:1 ok", "dup:1 ok", "nonblock:1 pretended", "pair made, sent, received")
	trial{options: []string{"--guard", "--guard-stdio", "strict"}, fds: map[int]*os.File{1: a}}.
		expect(t, "sendmsg:1 EPERM", "dup:1 EPERM", "write:1 ok")
	trial{options: []string{"--guard", "--keep", "3", "--fd-passing", "allow"}, fds: map[int]*os.File{3: a}}.
		expect(t, "sendmsg:3 ok", "recvmsg:3 ok", "nonblock:3 EPERM", "dup:3 EPERM")

	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	must(t, err)
	defer l.Close()
	listener, err := l.(*net.UnixListener).File()
	must(t, err)
	defer listener.Close()
	for _, passing := range []string{"tree", "no-unix"} {
		trial{options: []string{"--guard", "--keep", "3", "--fd-passing", passing}, fds: map[int]*os.File{3: listener}}.
			refused(t, "descriptor 3 is a UNIX socket that listens", "no-sendmsg or allow")
	}
	for _, passing := range []string{"no-sendmsg", "allow"} {
		trial{options: []string{"--guard", "--keep", "3", "--fd-passing", passing}, fds: map[int]*os.File{3: listener}}.
			expect(t, "nonblock:3 EPERM")
	}
}

// TestStdio: the modes, and a standard descriptor whose description is guarded under a higher number too.
func TestStdio(t *testing.T) {
	f := regular(t, os.O_RDWR)
	for _, test := range []struct {
		options []string
		alone   bool
		want    []string
	}{
		{[]string{"--guard"}, true, []string{"nonblock:1 pretended", "dup:1 ok", "dup2:1:9 ok", "lock:1 EPERM", "owner:1 EPERM", "seek:1 ok"}},
		{[]string{"--guard", "--guard-stdio", "advisory"}, true, []string{"nonblock:1 pretended"}},
		{[]string{"--guard=flags,seek"}, true, []string{"nonblock:1 pretended", "seek:1 EPERM", "lock:1 ok"}},
		{[]string{"--guard", "--on-violation", "errno"}, true, []string{"nonblock:1 EPERM", "dup:1 ok"}},
		{[]string{"--guard", "--guard-stdio", "strict"}, true, []string{"nonblock:1 EPERM", "dup:1 EPERM", "dup2:1:9 EPERM", "dup2:1:2 EPERM", "lock:1 EPERM", "seek:1 EPERM", "write:1 ok"}},
		{[]string{"--guard", "--guard-stdio", "off"}, true, []string{"seek:1 ok", "dup:1 ok", "lock:1 ok"}},
		{[]string{"--guard", "--keep", "3"}, false, []string{"nonblock:1 EPERM", "dup:1 EPERM", "dup2:1:2 EPERM", "dup2:1:3 ok", "dup2:3:1 ok", "seek:1 EPERM"}},
		{[]string{"--guard", "--keep", "3", "--guard-stdio", "off"}, false, []string{"nonblock:1 EPERM", "dup:1 EPERM"}},
	} {
		t.Run(strings.Join(test.options, " "), func(t *testing.T) {
			fds := map[int]*os.File{1: f}
			if !test.alone {
				fds[3] = f
			}
			trial{options: test.options, fds: fds}.expect(t, test.want...)
			if flagsOf(t, f)&unix.O_NONBLOCK != 0 {
				t.Error("the caller's file is non-blocking")
			}
		})
	}
	off := regular(t, os.O_RDWR)
	trial{options: []string{"--verbose", "--guard", "--guard-stdio", "off"}, fds: map[int]*os.File{1: off}}.
		expect(t, "nonblock:1 ok").says(t, "descriptor 1: shared, unguarded (its offset is shared)")
}

func TestReopenNever(t *testing.T) {
	_, w := pipe(t)
	trial{options: []string{"--verbose", "--guard", "--guard-reopen", "never", "--keep", "3"}, fds: map[int]*os.File{1: w, 3: regular(t, os.O_WRONLY|os.O_APPEND)}}.
		expect(t, "nonblock:1 pretended", "dup:1 ok", "nonblock:3 EPERM", "dup:3 EPERM").
		says(t, "descriptor 1: shared, advisory: flags,owner,lock (reopening is turned off)")
}

// TestSteal: another process of the same user can't be driven, unless --guard-steal off.
func TestSteal(t *testing.T) {
	trial{options: []string{"--guard"}}.expect(t, "mem EACCES", "getfd EPERM")
	r := trial{options: []string{"--verbose", "--guard", "--guard-steal", "off"}}.expect(t, "getfd EPERM")
	r.says(t, "guard: advisory against ptrace and pidfd_getfd on other processes (--guard-steal off)")
	if scope, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); err != nil || scope[0] == '0' {
		trial{options: []string{"--guard", "--guard-steal", "off"}}.expect(t, "mem ok")
	}
	trial{options: []string{"--guard"}, sandbox: "no-landlock"}.refused(t, "Landlock")
	trial{options: []string{"--guard", "--guard-steal", "off"}, sandbox: "no-landlock"}.expect(t, "getfd EPERM")
	trial{options: []string{"--deny", "steal"}, sandbox: "no-landlock"}.refused(t, "Landlock")
	trial{options: []string{"--deny", "steal"}}.expect(t, "mem EACCES", "getfd EPERM", "dup:0 ok")
}

func TestPassing(t *testing.T) {
	for mode, want := range map[string][]string{
		"tree":       {"unix " + treeSocket(), "pair made, sent, not received", "dgrams EPERM", "udp ok", "tcp ok"},
		"no-unix":    {"unix EPERM", "pair EPERM", "dgrams EPERM", "udp ok"},
		"no-sendmsg": {"unix ok", "pair made, not sent", "dgrams made, not sent", "udp EPERM"},
		"allow":      {"unix ok", "pair made, sent, received", "dgrams made, sent, received", "udp ok"},
	} {
		r := trial{options: []string{"--verbose", "--guard", "--keep", "3", "--fd-passing", mode}, fds: map[int]*os.File{3: regular(t, os.O_RDWR)}}.
			expect(t, append(want, "nonblock:3 EPERM", "dup:3 EPERM")...)
		if said := strings.Contains(r.stderr, "advisory against passing descriptors on (--fd-passing allow)"); said != (mode == "allow") {
			t.Errorf("%s: %s", mode, r.stderr)
		}
		// Where nothing stays shared there is nothing to keep from passing.
		trial{options: []string{"--guard", "--fd-passing", mode}}.expect(t, "unix ok", "pair made, sent, received")
	}
}

func TestOnViolation(t *testing.T) {
	for action, want := range map[string][]string{
		"errno":        {"nonblock:3 EPERM", "lock:3 EPERM", "seek:3 EPERM", "dup:3 EPERM", "uring ENOSYS"},
		"errno=EACCES": {"nonblock:3 EACCES", "lock:3 EACCES", "seek:3 EACCES", "dup:3 EPERM", "uring ENOSYS"},
		"pretend":      {"nonblock:3 pretended", "lock:3 ok", "seek:3 EPERM", "dup:3 EPERM", "uring ENOSYS"},
		"log":          {"nonblock:3 ok", "lock:3 ok", "seek:3 ok", "dup:3 EPERM", "uring ENOSYS"},
		"kill":         {"dup:3 EPERM", "uring ENOSYS", "getfd EPERM"},
	} {
		f := regular(t, os.O_RDWR)
		options := []string{"--guard", "--keep", "3", "--on-violation", action}
		trial{options: options, fds: map[int]*os.File{3: f}}.expect(t, want...)
		if action == "pretend" {
			if err := unix.Flock(int(open(t, f.Name(), os.O_RDONLY).Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
				t.Errorf("pretended, and locked: %v", err)
			}
		}
		if action == "kill" {
			for _, attempt := range []string{"nonblock:3", "lock:3", "seek:3"} {
				if r := (trial{options: options, fds: map[int]*os.File{3: f}, try: []string{attempt}}).run(t); r.signal != syscall.SIGSYS {
					t.Errorf("%s: status %d, signal %v", attempt, r.status, r.signal)
				}
			}
		}
	}
}

// TestDupOnto: a guarded descriptor may take a kept number that has at least its rules, and no other.
func TestDupOnto(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	listener, err := l.(*net.TCPListener).File()
	must(t, err)
	defer listener.Close()
	fds := map[int]*os.File{3: regular(t, os.O_RDWR), 4: listener, 5: regular(t, os.O_RDWR)}
	trial{options: []string{"--guard", "--keep", "3-5"}, fds: fds}.expect(t,
		"dup2:3:5 ok", "dup2:5:3 ok", "dup2:3:9 EPERM", "dup2:3:0 EPERM",
		"dup2:3:4 EPERM",                                    // a socket's rules lack seek
		"dup2:4:0 EPERM", "dup2:0:3 ok", "nonblock:3 EPERM", // a guarded number is guarded, whatever it refers to
	)
}

// TestNested: a guard in a guard holds what either holds, and finds what it needs.
func TestNested(t *testing.T) {
	_, w := pipe(t)
	inner := []string{safeexec, "--guard", "--keep", "3"}
	trial{
		options: append([]string{"--guard=lock", "--keep", "3", "--"}, inner...),
		fds:     map[int]*os.File{1: w, 3: regular(t, os.O_RDWR)},
	}.expect(t, "lock:3 EPERM", "nonblock:3 EPERM", "nonblock:1 ok", "dup:3 EPERM", "dup:1 ok")
	inner = []string{safeexec, "--guard=lock", "--keep", "3", "--deny", "tty"}
	trial{
		options: append([]string{"--guard", "--keep", "3", "--"}, inner...),
		fds:     map[int]*os.File{0: w, 1: w, 2: w, 3: regular(t, os.O_RDWR)},
	}.expect(t, "lock:3 EPERM", "nonblock:3 EPERM", "nonblock:1 ok", "dup:3 EPERM")
	if flagsOf(t, w)&unix.O_NONBLOCK != 0 {
		t.Error("the caller's pipe is non-blocking")
	}
}

// TestWhereNobodyMayAsk: in many containers the kernel doesn't tell whether two descriptors have one description.
func TestWhereNobodyMayAsk(t *testing.T) {
	r, w := pipe(t)
	f := regular(t, os.O_RDWR)
	trial{
		sandbox: "no-asking", options: []string{"--guard", "--keep", "3-5"},
		fds: map[int]*os.File{1: f, 3: r, 4: w, 5: f},
	}.expect(t, "mode:3 r", "mode:4 w", "write:4 ok", "read:3 ok", "nonblock:3 ok", "nonblock:1 EPERM", "dup:1 EPERM", "dup:5 EPERM")
	if flagsOf(t, r)&unix.O_NONBLOCK != 0 {
		t.Error("the caller's pipe is non-blocking")
	}
}

// TestDeny: on every descriptor, the command's own too.
func TestDeny(t *testing.T) {
	for _, test := range []struct {
		ops    string
		action []string
		want   []string
	}{
		{"flags", nil, []string{"nonblock:0 EPERM", "dup:0 ok", "lock:3 ok"}},
		{"flags", []string{"--on-violation", "pretend"}, []string{"nonblock:0 pretended"}},
		{"flags,lock", []string{"--on-violation", "errno=EINVAL"}, []string{"nonblock:0 EINVAL", "lock:3 EINVAL"}},
		{"dup", nil, []string{"dup:0 EPERM", "dup2:0:9 EPERM", "nonblock:0 ok"}},
		{"pass", nil, []string{"pair made, not sent", "unix ok", "uring ENOSYS"}},
		{"owner", nil, []string{"owner:0 EPERM", "owner:3 EPERM"}},
		{"seek", nil, []string{"seek:3 EPERM", "read:3 ok"}},
		{"mode", nil, []string{"advise:3 EPERM"}},
		{"tty,wberr", nil, []string{"nonblock:0 ok", "seek:3 ok"}},
	} {
		options := append([]string{"--deny", test.ops, "--keep", "3"}, test.action...)
		trial{options: options, fds: map[int]*os.File{3: regular(t, os.O_RDWR)}}.expect(t, test.want...)
	}
	// Beside a guard both hold.
	trial{options: []string{"--guard", "--deny", "flags", "--keep", "3"}, fds: map[int]*os.File{3: regular(t, os.O_RDWR)}}.
		expect(t, "nonblock:0 EPERM", "lock:3 EPERM", "lock:0 ok")
}

// TestMount: a mount can change a shared pipe's flags, and with privilege those of anything that is shared. The mount that is
// tried fails by itself, for want of its directory, in another way than by the filter.
func TestMount(t *testing.T) {
	if seccomp.LandlockABI() < 6 {
		proctest.Skip(t, "Landlock's ABI 6 (Linux 6.12), whose domains leave mounts alone")
	}
	_, w := pipe(t)
	file := map[int]*os.File{3: regular(t, os.O_RDWR)}
	trial{options: []string{"--guard", "--keep", "3"}, fds: map[int]*os.File{3: w}}.expect(t, "mount ENOENT")
	trial{options: []string{"--guard", "--guard-reopen", "never", "--keep", "3"}, fds: map[int]*os.File{3: w}}.expect(t, "mount EPERM")
	privileged := "ENOENT"
	if os.Geteuid() == 0 {
		privileged = "EPERM"
	}
	trial{options: []string{"--guard", "--keep", "3"}, fds: file}.expect(t, "mount "+privileged)
	trial{options: []string{"--guard=lock", "--keep", "3"}, fds: file}.expect(t, "mount "+privileged)
	trial{options: []string{"--guard=lock", "--guard-reopen", "never", "--keep", "3"}, fds: map[int]*os.File{3: w}}.expect(t, "mount "+privileged)
}
