package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/seccomp"
)

// helpEscapes tries to get descriptor 3 away, and to get at a process outside.
func helpEscapes(args []string) int {
	outside, err := strconv.Atoi(args[0])
	if err != nil {
		return 1
	}
	f := found{}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", outside), os.O_RDWR, 0)
	f.try("steal: open an outside process's memory", err)
	memory.Close()
	_, err = os.Readlink(fmt.Sprintf("/proc/%d/exe", outside))
	f.try("steal: see an outside process's program", err)
	f.try("steal: ptrace an outside process", unix.PtraceSeize(outside))
	pidfd, err := unix.PidfdOpen(outside, 0)
	if err == nil {
		_, err = unix.PidfdGetfd(pidfd, 0, 0)
	}
	f.try("steal: pidfd_getfd", err)

	f.try("pass: dup", second(unix.Dup(3)))
	f.try("pass: F_DUPFD_CLOEXEC", second(unix.FcntlInt(3, unix.F_DUPFD_CLOEXEC, 0)))
	f.try("pass: io_uring", call(unix.SYS_IO_URING_SETUP, 1, 0))
	f.try("pass: a seccomp listener of its own", call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER))
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		_ = unix.Sendmsg(pair[0], []byte("x"), unix.UnixRights(3), nil, 0)
		_, _, _, _, err = unix.Recvmsg(pair[1], make([]byte, 1), make([]byte, 64), unix.MSG_DONTWAIT)
	}
	f.try("pass: SCM_RIGHTS over a pair", err)

	f.try("change: O_NONBLOCK", second(unix.FcntlInt(3, unix.F_SETFL, unix.O_NONBLOCK)))
	f.try("change: offset", second(unix.Seek(3, 1, 0)))
	f.try("change: lock", unix.Flock(3, unix.LOCK_EX))
	f.try("change: owner", second(unix.FcntlInt(3, unix.F_SETOWN, os.Getpid())))

	own, err := os.Open("/dev/null")
	if err == nil {
		err = errors.Join(unix.SetNonblock(int(own.Fd()), true), second(unix.Dup(int(own.Fd()))))
	}
	f.try("own descriptors", err)
	return f.print()
}

func second[T any](_ T, err error) error { return err }

func call(number uintptr, a, b uintptr) error {
	if _, _, errno := unix.Syscall(number, a, b, 0); errno != 0 {
		return errno
	}
	return nil
}

// TestEscapes: what is kept shared can't be got away, and no process outside be driven.
func TestEscapes(t *testing.T) {
	sleeper := exec.Command("/bin/sleep", "1000") // of the same user, and not an ancestor
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sleeper.Process.Kill(); sleeper.Wait() })
	f := ask(t, under(t, binary(t), guarding(), "escapes", strconv.Itoa(sleeper.Process.Pid)))
	var all []expectation
	for what, got := range f {
		want := "EPERM"
		switch {
		case what == "own descriptors":
			all = append(all, expectation{what, "ok", "work"})
			continue
		case what == "pass: io_uring":
			want = "ENOSYS"
		case what == "steal: open an outside process's memory", what == "steal: see an outside process's program":
			want = "EACCES"
			if seccomp.LandlockABI() == 0 {
				// --guard-steal off had to be said: whether Yama permits it is not ours.
				all = append(all, expectation{what, got, "not held without Landlock: " + got})
				continue
			}
		}
		all = append(all, expectation{what, want, refusedWith(want)})
	}
	sortExpectations(all)
	f.hold(t, all)
}

// TestLandlock: where there is none, a guard is refused, and says what would be permitted.
func TestLandlock(t *testing.T) {
	safeexec := binary(t)
	t.Run("guard against stealing", func(t *testing.T) {
		cmd := under(t, safeexec, []string{"--guard", "--keep", "3"}, "reader")
		out, err := cmd.CombinedOutput()
		if seccomp.LandlockABI() > 0 {
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			tell(t, fmt.Sprintf("Landlock ABI %d", seccomp.LandlockABI()))
			return
		}
		if cmd.ProcessState.ExitCode() != 125 || !strings.Contains(string(out), "Landlock") {
			t.Fatalf("%v: %s; want status 125, and Landlock named", err, out)
		}
		tell(t, "start refused with 125")
	})
}

// helpReader does nothing: that it runs is the answer.
func helpReader([]string) int { return 0 }
