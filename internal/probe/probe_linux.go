package probe

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/yama"
)

// Kernel is the release of the running kernel, as uname(2) has it.
func Kernel() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// All runs every probe. The order is that of the promises: nothing leaks, cheap starts, guards, supervision.
func All() []Feature {
	features := []Feature{
		proc(), procReopen(),
		closeRange("close-range", "5.9", 0, "descriptors are closed by way of /proc"),
		closeRangeUnshare(),
		closeRange("close-range-cloexec", "5.11", unix.CLOSE_RANGE_CLOEXEC, "descriptors are marked one by one, by way of /proc"),
		clone("clone3", "5.3", 0, "a start copies more than it needs"),
		clone("clone3-clear-sighand", "5.5", unix.CLONE_CLEAR_SIGHAND, "signal handlers are reset one by one"),
		clone("clone3-into-cgroup", "5.7", unix.CLONE_INTO_CGROUP, "commands can't be started inside another cgroup"),
		clone("clone3-pidfd", "5.3", unix.CLONE_PIDFD, "the child's pidfd is opened after its start"),
		noNewPrivs(),
		seccomp("seccomp-filter", "3.17", Failure, "guards, denials and profiles are refused"),
	}
	features = append(features, actions()...)
	return append(
		features,
		landlock("landlock", "5.13", 1, Failure, "guards can't stop stealing: --guard needs --guard-steal off"),
		landlock("landlock-scope", "6.12", 6, Extra, "under a guard mount(2) is refused to the command"),
		landlock("landlock-resolve-unix", "7.1", 9, Extra, "under a guard named UNIX sockets are refused, not confined"),
		kcmp(), dupfdQuery(),
		listener(),
		pidfd("pidfd", "5.3", os.Getpid(), 0, Failure, "supervision is refused"),
		pidfd("pidfd-thread", "6.9", unix.Gettid(), unix.O_EXCL, Extra, "threads are looked at through their process"),
		pidfdGetfd(),
		ptraceScope(),
	)
}

// found makes a Feature of a probe's error: none, or the one that shows that the call was understood.
func found(name, since string, err, expected error, loss Loss, effect string) Feature {
	f := Feature{Name: name, Since: since, Loss: loss, Effect: effect}
	f.Present = err == nil || expected != nil && errors.Is(err, expected)
	if !f.Present {
		f.Reason = reason(err)
	}
	return f
}

func reason(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// call makes a system call whose result doesn't matter.
//
//go:uintptrescapes
func call(trap uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(trap, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

// never is the number of a descriptor that can't exist.
const never = 1<<32 - 1

func closeRange(name, since string, flags uintptr, effect string) Feature {
	return found(name, since, call(unix.SYS_CLOSE_RANGE, never, never, flags), nil, Fallback, effect)
}

// closeRangeUnshare gives a table of its own to a thread that ends at once.
func closeRangeUnshare() Feature {
	var err error
	onThrowawayThread(func() { err = call(unix.SYS_CLOSE_RANGE, never, never, unix.CLOSE_RANGE_UNSHARE) })
	return found("close-range-unshare", "5.9", err, nil, Fallback, "a start copies every descriptor first: it costs more the more are open")
}

// What clone3 gets the addresses of as numbers, which keep nothing alive and in its place.
var (
	takenPID uint64
	noPidfd  int32
)

// clone asks for a child with our own number, which is taken: where the flags are understood, that is what the call fails
// with, and there never is a child. EPERM says the same: choosing a number isn't for us.
func clone(name, since string, flags uint64, effect string) Feature {
	args := struct {
		flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
	}{exitSignal: uint64(unix.SIGCHLD)}
	const first, second, third = 64, 80, 88 // the sizes of the structure's versions
	// A size of no version is an error, where the call exists at all.
	err := call(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), first-1)
	if flags == 0 || !errors.Is(err, unix.EINVAL) {
		return found(name, since, err, unix.EINVAL, Fallback, effect)
	}
	args.flags = flags | unix.CLONE_VM // there is no memory to copy for a child that never is
	if flags == unix.CLONE_INTO_CGROUP {
		args.cgroup = 1<<31 - 1 // not open
		err = call(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), third)
		return found(name, since, err, unix.EBADF, Fallback, effect)
	}
	takenPID = uint64(os.Getpid())
	args.pidfd = uint64(uintptr(unsafe.Pointer(&noPidfd)))
	args.setTID, args.setTIDSize = uint64(uintptr(unsafe.Pointer(&takenPID))), 1
	err = call(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), second)
	if errors.Is(err, unix.EPERM) {
		err = unix.EEXIST
	}
	return found(name, since, err, unix.EEXIST, Fallback, effect)
}

// onThrowawayThread runs f on a thread that ends with it, whatever f has made of it: it is never the main thread, which can't
// end. Between, f makes system calls and nothing else.
func onThrowawayThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			onThrowawayThread(f) // while this goroutine keeps the main thread to itself
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	<-done
}

func proc() Feature {
	reader, err := fdtable.NewReader()
	if err == nil {
		_, err = reader.List(0)
		err = errors.Join(err, reader.Close())
	}
	f := found("proc", "", err, nil, Failure, "fds, --leaks, private descriptions and every fallback of close-range are refused")
	if err != nil {
		f.Reason = err.Error()
	}
	return f
}

// procReopen makes a pipe's description anew, as a private descriptor does.
func procReopen() Feature {
	var ends [2]int
	err := unix.Pipe2(ends[:], unix.O_CLOEXEC)
	if err == nil {
		defer unix.Close(ends[0])
		defer unix.Close(ends[1])
		var again int
		again, err = unix.Open("/proc/self/fd/"+strconv.Itoa(ends[0]), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(again)
		}
	}
	return found("proc-reopen", "", err, nil, Failure, "private descriptions are refused")
}

func noNewPrivs() Feature {
	set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	f := found("no-new-privs", "3.5", err, nil, Failure, "--no-new-privs and every filter are refused")
	if set == 1 {
		f.Value = "set already"
	}
	return f
}

// seccomp offers the kernel a filter at no address. EFAULT says that it would have been read.
func seccomp(name, since string, loss Loss, effect string) Feature {
	err := call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, 0)
	return found(name, since, err, unix.EFAULT, loss, effect)
}

func actions() []Feature {
	var features []Feature
	for _, a := range []struct {
		name, since string
		action      uint32
		loss        Loss
		effect      string
	}{
		{"kill-process", "4.14", unix.SECCOMP_RET_KILL_PROCESS, Failure, "32-bit programs can't be stopped, so filters are refused"},
		{"kill-thread", "3.5", unix.SECCOMP_RET_KILL_THREAD, Extra, "only imported filters need it"},
		{"trap", "3.5", unix.SECCOMP_RET_TRAP, Extra, "only imported filters need it"},
		{"errno", "3.5", unix.SECCOMP_RET_ERRNO, Failure, "guards and denials are refused"},
		{"user-notification", "5.0", unix.SECCOMP_RET_USER_NOTIF, Failure, "supervised guards are refused"},
		{"trace", "3.5", unix.SECCOMP_RET_TRACE, Extra, "only imported filters need it"},
		{"log", "4.14", unix.SECCOMP_RET_LOG, Failure, "--on-violation log is refused"},
		{"allow", "3.5", unix.SECCOMP_RET_ALLOW, Failure, "filters are refused"},
	} {
		err := call(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&a.action)))
		features = append(features, found("seccomp-"+a.name, a.since, err, nil, a.loss, a.effect))
	}
	return features
}

// listener really loads a filter, which permits everything, on a thread that ends: EBUSY, when a supervisor above us has one
// already, shows no other way.
func listener() Feature {
	permit := &unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	program := &unix.SockFprog{Len: 1, Filter: permit}
	var err error
	onThrowawayThread(func() {
		if err = call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return
		}
		fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER,
			uintptr(unsafe.Pointer(program)))
		if errno != 0 {
			err = errno
			return
		}
		unix.Close(int(fd))
	})
	return found("seccomp-listener", "5.0", err, nil, Failure, "supervised guards are refused")
}

func landlock(name, since string, least int, loss Loss, effect string) Feature {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	var err error
	switch {
	case errno != 0:
		err = errno
	case int(abi) < least:
		err = fmt.Errorf("ABI %d", abi)
	}
	f := found(name, since, err, nil, loss, effect)
	if errno == 0 {
		f.Value = fmt.Sprintf("ABI %d", abi)
	}
	return f
}

func kcmp() Feature {
	const file = 0 // KCMP_FILE
	pid := uintptr(os.Getpid())
	var err error
	withPidfd(func(fd int) { err = call(unix.SYS_KCMP, pid, pid, file, uintptr(fd), uintptr(fd)) }, &err)
	return found("kcmp", "3.5", err, nil, Failure, "what is shared between processes can't be told: fds --shared and supervised guards are refused")
}

func dupfdQuery() Feature {
	var err error
	withPidfd(func(fd int) { _, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_QUERY, fd) }, &err)
	return found("f-dupfd-query", "6.10", err, nil, Extra, "kcmp is used")
}

func pidfd(name, since string, pid, flags int, loss Loss, effect string) Feature {
	fd, err := unix.PidfdOpen(pid, flags)
	if err == nil {
		unix.Close(fd)
	}
	return found(name, since, err, nil, loss, effect)
}

func pidfdGetfd() Feature {
	var err error
	withPidfd(func(fd int) {
		var copied int
		if copied, err = unix.PidfdGetfd(fd, fd, 0); err == nil {
			unix.Close(copied)
		}
	}, &err)
	return found("pidfd-getfd", "5.6", err, nil, Failure, "supervised guards are refused")
}

// withPidfd lends a descriptor of our own: a pidfd of this process, or where there are none an end of a pipe.
func withPidfd(use func(fd int), err *error) {
	fd, openErr := unix.PidfdOpen(os.Getpid(), 0)
	if openErr != nil {
		var ends [2]int
		if *err = unix.Pipe2(ends[:], unix.O_CLOEXEC); *err != nil {
			return
		}
		unix.Close(ends[1])
		fd = ends[0]
	}
	defer unix.Close(fd)
	use(fd)
}

// ptraceScope tells whether the parent may look into its child, which supervision does.
func ptraceScope() Feature {
	f := Feature{
		Name: "yama-ptrace-scope", Loss: Failure, Present: true,
		Effect: "supervised guards can't look into the command and are refused",
	}
	scope, err := yama.Scope()
	switch {
	case errors.Is(err, os.ErrNotExist):
		f.Value = "no Yama"
	case err != nil:
		f.Value = "can't be read"
	default:
		f.Value = fmt.Sprintf("scope %d", scope)
		if refusal := yama.Refusal(); refusal != nil {
			f.Present, f.Reason = false, refusal.Error()
		}
	}
	return f
}
