package seccomp_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"github.com/safeexec/safeexec/seccomp"
	"golang.org/x/sys/unix"
)

// ordinary are things that every program may do under a guard, on what is its own.
var ordinary = []struct {
	name string
	do   func() error
	// refused says where the contract takes it away.
	refused []seccomp.Passing
}{
	{"non-blocking own socket", ownNonblock, nil},
	{"dup2 among own", dupAmongOwn, nil},
	{"stream pair", func() error { return pair(unix.SOCK_STREAM) }, []seccomp.Passing{seccomp.PassNoUnix}},
	{"seqpacket pair", func() error { return pair(unix.SOCK_SEQPACKET) }, []seccomp.Passing{seccomp.PassNoUnix}},
	{"datagram pair", func() error { return pair(unix.SOCK_DGRAM) }, []seccomp.Passing{seccomp.PassTree, seccomp.PassNoUnix}},
	{"pipeline in a shell", func() error { return shell("echo one | cat", "one\n") }, nil},
	{"shell redirections", func() error {
		return shell("exec 5>&1; echo one >out 2>&1; cat <out >&5; { echo two; } 2>&1; echo three 3>&1 >&3", "one\ntwo\nthree\n")
	}, nil},
	{"spawn with redirections of own files", spawnRedirected, nil},
	{"flock on an own file", ownLock, nil},
	{"lease, owner and offset of an own file", ownFile, nil},
	{"own directory", func() error { _, err := os.ReadDir("."); return err }, nil},
	{"UDP by sendto", func() error { return udp(false) }, nil},
	{"UDP by sendmsg", func() error { return udp(true) }, []seccomp.Passing{seccomp.PassNoSendmsg}},
	{"TCP", tcp, nil},
	{"getaddrinfo", func() error { return program("getent", "ahosts", "localhost") }, nil},
	{"epoll, eventfd, timerfd", events, nil},
	{"threads", threads, nil},
	{"tracing an own child", traceChild, nil},
	{"positions of the guarded file", positions, nil},
	{"flags of the guarded file, read", func() error {
		_, err := unix.FcntlInt(guarded, unix.F_GETFL, 0)
		return err
	}, nil},
	{"close-on-exec of the guarded file", func() error {
		_, err := unix.FcntlInt(guarded, unix.F_SETFD, unix.FD_CLOEXEC)
		return err
	}, nil},
}

func doOrdinary(o order) any {
	fd, err := file("guarded")
	if err == nil {
		err = unix.Dup3(fd, guarded, 0)
	}
	if err != nil {
		return map[string]string{"set up": err.Error()}
	}
	result := map[string]string{}
	for _, thing := range ordinary {
		result[thing.name] = ""
		if err := thing.do(); err != nil {
			result[thing.name] = err.Error()
		}
	}
	return result
}

func TestOrdinaryThings(t *testing.T) {
	needLandlock(t, 1)
	var free map[string]string
	run(t, order{Job: "ordinary"}, &free)
	for name, trouble := range free {
		if trouble != "" {
			t.Fatalf("without a filter: %s: %s", name, trouble)
		}
	}
	for _, passing := range []seccomp.Passing{seccomp.PassTree, seccomp.PassNoUnix, seccomp.PassNoSendmsg, seccomp.PassAllow} {
		var got map[string]string
		run(t, order{Job: "ordinary", Policy: &policy{
			Guarding: true, Guard: seccomp.DefaultGuard, Kind: seccomp.Regular, Passing: passing, Standard: true,
		}}, &got)
		if len(got) != len(ordinary) {
			t.Fatalf("passing %v: %v", passing, got)
		}
		for _, thing := range ordinary {
			refused := false
			for _, p := range thing.refused {
				refused = refused || p == passing
			}
			if trouble := got[thing.name]; (trouble != "") != refused {
				t.Errorf("passing %v: %s: %q, refused by contract: %v", passing, thing.name, trouble, refused)
			}
		}
	}
	var got map[string]string
	run(t, order{Job: "ordinary", Policy: &policy{Guarding: true}}, &got)
	for name, trouble := range got {
		if trouble != "" {
			t.Errorf("guard of nothing: %s: %s", name, trouble)
		}
	}
}

func ownNonblock() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return errors.Join(unix.SetNonblock(fd, true), ioctl(0x5421, 0)(fd), fcntl(unix.F_SETOWN, uintptr(os.Getpid()))(fd))
}

func dupAmongOwn() error {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	if err := unix.Dup3(ends[0], 150, unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(150)
	return errors.Join(newDescriptor(unix.SYS_DUP, 150), newDescriptor(unix.SYS_FCNTL, 150, unix.F_DUPFD_CLOEXEC, 10))
}

// pair sends a byte from one end of a pair to the other.
func pair(kind int) error {
	ends, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	if err := unix.SetNonblock(ends[0], true); err != nil {
		return err
	}
	if _, err := unix.Write(ends[0], []byte{7}); err != nil {
		return err
	}
	_, err = unix.Read(ends[1], make([]byte, 1))
	return err
}

func shell(script, want string) error {
	out, err := exec.Command("/bin/sh", "-c", script).CombinedOutput()
	if err == nil && string(out) != want {
		err = fmt.Errorf("%q", out)
	}
	return err
}

func program(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func spawnRedirected() error {
	out, err := os.Create("redirected")
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command("/bin/sh", "-c", "echo out; echo more >&3; echo err >&2")
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = out, out, []*os.File{out}
	if err := cmd.Run(); err != nil {
		return err
	}
	text, err := os.ReadFile("redirected")
	if err == nil && string(text) != "out\nmore\nerr\n" {
		err = fmt.Errorf("%q", text)
	}
	return err
}

func ownLock() error {
	fd, err := file("lock")
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return errors.Join(unix.Flock(fd, unix.LOCK_EX), ofdLock(unix.F_OFD_SETLK)(fd), unix.Flock(fd, unix.LOCK_UN))
}

func ownFile() error {
	fd, err := unix.Open("own", unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, do := range []func(int) error{
		fcntl(unix.F_SETOWN, uintptr(os.Getpid())), fcntl(unix.F_SETLEASE, unix.F_WRLCK), fcntl(unix.F_SETLEASE, unix.F_UNLCK),
		lseek(3, unix.SEEK_SET), fcntl(unix.F_SETFL, unix.O_APPEND),
	} {
		if err := do(fd); err != nil {
			return err
		}
	}
	return nil
}

// udp sends a datagram to itself.
func udp(message bool) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	if message {
		err = unix.Sendmsg(fd, []byte("x"), nil, address, 0)
	} else {
		err = unix.Sendto(fd, []byte("x"), 0, address)
	}
	if err != nil {
		return err
	}
	_, _, err = unix.Recvfrom(fd, make([]byte, 1), 0)
	return err
}

// tcp talks to itself by way of Go's poller, whose threads are under the filter too.
func tcp() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	said := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_, err = io.WriteString(conn, "hello")
			err = errors.Join(err, conn.Close())
		}
		said <- err
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	text, err := io.ReadAll(conn)
	if err == nil && string(text) != "hello" {
		err = fmt.Errorf("%q", text)
	}
	return errors.Join(err, <-said)
}

func events() error {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(set)
	counter, err := unix.Eventfd(1, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(counter)
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(timer)
	if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, counter, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		return err
	}
	_, err = unix.EpollWait(set, make([]unix.EpollEvent, 1), -1)
	return err
}

func threads() error {
	var group sync.WaitGroup
	results := make(chan error, 8)
	for range cap(results) {
		group.Go(func() {
			var ends [2]int
			err := unix.Pipe2(ends[:], unix.O_NONBLOCK|unix.O_CLOEXEC)
			results <- errors.Join(err, unix.Close(ends[0]), unix.Close(ends[1]))
		})
	}
	group.Wait()
	close(results)
	for err := range results {
		if err != nil {
			return err
		}
	}
	return nil
}

// traceChild has a child be traced from its start, as debuggers do: only joining a running process is refused.
func traceChild() error {
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	done := make(chan error, 1)
	go func() {
		if err := cmd.Start(); err != nil {
			done <- err
			return
		}
		err := cmd.Process.Kill()
		_ = cmd.Wait()
		done <- err
	}()
	return <-done
}

// positions reads and writes the guarded file without touching its offset.
func positions() error {
	b := make([]byte, 1)
	if _, err := unix.Pread(guarded, b, 3); err != nil || b[0] != '3' {
		return fmt.Errorf("pread: %q, %w", b, err)
	}
	if _, err := unix.Pwrite(guarded, b, 3); err != nil {
		return err
	}
	offset, err := unix.Seek(guarded, 0, unix.SEEK_CUR)
	if err == nil && offset != 0 {
		err = fmt.Errorf("the offset is %d", offset)
	}
	return err
}
