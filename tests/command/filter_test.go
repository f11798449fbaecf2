package command

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// filterHelper executes a command under a seccomp filter, as a container's runtime does: the first argument says what is
// answered to which calls, "close_range=ENOSYS,clone3=EPERM".
func filterHelper(args []string) int {
	numbers := map[string]uint32{"close_range": unix.SYS_CLOSE_RANGE, "clone3": unix.SYS_CLONE3, "kcmp": unix.SYS_KCMP}
	errnos := map[string]syscall.Errno{"ENOSYS": syscall.ENOSYS, "EPERM": syscall.EPERM, "EINVAL": syscall.EINVAL}
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}}
	for _, rule := range strings.Split(args[0], ",") {
		name, errno, _ := strings.Cut(rule, "=")
		number, known := numbers[name]
		if !known || errnos[errno] == 0 {
			panic("no such rule: " + rule)
		}
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: number, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errnos[errno])})
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})

	path, err := exec.LookPath(args[1])
	if err != nil {
		panic(err)
	}
	runtime.LockOSThread() // the filter is this thread's, which executes the command
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		panic(errno)
	}
	fmt.Fprintln(os.Stderr, "exec:", syscall.Exec(path, args[1:], os.Environ()))
	return 1
}

// nonblockingHelper executes a command with a non-blocking standard input.
func nonblockingHelper(args []string) int {
	if err := unix.SetNonblock(0, true); err != nil {
		panic(err)
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stderr, "exec:", syscall.Exec(path, args, os.Environ()))
	return 1
}
