package ofd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

// TestWhereNobodyMayAsk runs the helper below, whose kernel is an old one in a container: F_DUPFD_QUERY is unknown, and
// kcmp is forbidden.
func TestWhereNobodyMayAsk(t *testing.T) {
	cmd := proctest.Command(t, "sandboxed")
	r, _ := pipe(t, unix.O_NONBLOCK)
	appending := open(t, fileWith(t, "content"), unix.O_WRONLY|unix.O_APPEND)
	both := open(t, fileWith(t, "content"), unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK)
	cmd.ExtraFiles = []*os.File{asFile(t, r), asFile(t, appending), asFile(t, both)}
	// os/exec makes what it passes blocking; the pipe and the last file are to be as they were.
	out, err := startAndCombine(cmd, func() error { return errors.Join(addFlags(r, unix.O_NONBLOCK), addFlags(both, unix.O_NONBLOCK)) })
	if err != nil || out != "ok\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// startAndCombine starts a command, has something done, and lets the command go on by closing its standard input.
func startAndCombine(cmd *exec.Cmd, meanwhile func() error) (string, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	err = meanwhile()
	in.Close()
	err = errors.Join(err, cmd.Wait())
	return out.String(), err
}

// sandboxed gets a non-blocking pipe as 3, an appending file as 4, and one with both flags as 5.
func sandboxed([]string) int {
	err := func() error {
		io.Copy(io.Discard, os.Stdin)
		if err := forbidAsking(); err != nil {
			return fmt.Errorf("filter: %w", err)
		}
		if same, err := Same(3, 4); same || !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("Same: %v, %w", same, err)
		}
		for _, fd := range []int{3, 4} {
			fresh, err := Reopen(fd, Refuse)
			if err != nil {
				return err
			}
			want, err1 := describe(fd)
			got, err2 := describe(fresh)
			want.Flags &^= unix.O_NONBLOCK
			if err1 != nil || err2 != nil || got.Flags&settableMask != want.Flags&settableMask {
				return fmt.Errorf("descriptor %d: %+v, want %+v", fd, got, want)
			}
		}
		// Both marks are there already: nothing tells the new description from the old.
		if _, err := Reopen(5, Refuse); !errors.Is(err, ErrDenied) || !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("without a mark: %w", err)
		}
		return nil
	}()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ok")
	return 0
}

// forbidAsking installs a filter on all threads: EPERM for kcmp, EINVAL for F_DUPFD_QUERY.
func forbidAsking() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer = unix.BPF_RET | unix.BPF_K
	)
	program := []unix.SockFilter{
		{Code: load, K: 0}, // the number of the call
		{Code: equal, K: unix.SYS_KCMP, Jt: 3},
		{Code: equal, K: unix.SYS_FCNTL, Jf: 4},
		{Code: load, K: 24}, // its second argument
		{Code: equal, K: unix.F_DUPFD_QUERY, Jt: 1, Jf: 2},
		{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)},
		{Code: answer, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter)))
	if errno != 0 {
		return errno
	}
	return nil
}
