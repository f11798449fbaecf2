package forkexec

import (
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	futexWaitPrivate = 128     // FUTEX_WAIT | FUTEX_PRIVATE_FLAG
	futexWakePrivate = 128 | 1 // FUTEX_WAKE | FUTEX_PRIVATE_FLAG
	futexWait        = 0       // what the kernel's wake-up at a task's end answers to
	sigSetMask       = 2       // SIG_SETMASK
)

// atCwd is AT_FDCWD as a system call's argument.
var atCwd = ^uintptr(99)

// stackSize is ample: the linker bounds a chain of nosplit functions to less than one KiB.
const stackSize = 4 << 10

// The runtime's hooks around a fork. The first blocks all signals on the calling thread and keeps the goroutine on it, the
// second undoes that; between them no function may look at its stack's limit.
//
//go:linkname runtimeBeforeFork syscall.runtime_BeforeFork
func runtimeBeforeFork()

//go:linkname runtimeAfterFork syscall.runtime_AfterFork
func runtimeAfterFork()

// Without noescape, so that a child is always on the heap: the kernel has its address while stacks may move.
func clone(trap, a1, a2, a3, a4, a5, stack uintptr, c *child, run func(*child)) (result uintptr)

// support is what the kernel and the sandboxes around us let us do, found out once.
type support struct {
	closeRange    bool
	closeRangeErr error
	clone3        bool
}

// supports asks with calls that can do nothing: the topmost number is never open, and clone3 takes no structure of size 0.
// Every kernel with close_range (5.9) has CLOSE_RANGE_UNSHARE and CLONE_CLEAR_SIGHAND (5.5). A sandbox that refuses a call by
// EPERM lacks it as much as a kernel that answers ENOSYS.
func supports() *support {
	supportOnce.Do(func() {
		const top = ^uint32(0)
		_, _, errno := syscall.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(top), uintptr(top), 0)
		if errno != 0 {
			found.closeRangeErr = errno
			return
		}
		found.closeRange = true
		_, _, errno = syscall.RawSyscall(unix.SYS_CLONE3, 0, 0, 0)
		found.clone3 = errno == syscall.EINVAL
	})
	return &found
}

var (
	supportOnce sync.Once
	found       support
)

// cloneArgs is the kernel's struct clone_args, in the size that has cgroup (5.7).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// Start makes a process and executes the program in it. It returns when the program has begun, or an *Error when something
// refused: then there is no process. A pidfd goes to a.Sys.PidFD where that is asked for.
func Start(a *Attr) (pid int, err error) {
	c, err := plan(a, false)
	if err != nil {
		return 0, err
	}
	sys := a.Sys
	if sys == nil {
		sys = &syscall.SysProcAttr{}
	}
	c.args.flags = uint64(sys.Cloneflags) | unix.CLONE_VM
	c.args.exitSignal = uint64(syscall.SIGCHLD)
	if !c.mapping {
		c.args.flags |= unix.CLONE_VFORK
	}
	if sys.PidFD != nil {
		c.args.flags |= unix.CLONE_PIDFD
		c.args.pidfd = address(&c.pidfd)
	}
	if sys.UseCgroupFD {
		c.args.flags |= unix.CLONE_INTO_CGROUP
		c.args.cgroup = uint64(sys.CgroupFD)
	}

	if c.mapping {
		// The task asks to die with its parent, which is this thread, while it waits.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	dumpable := c.cred && isDumpable()
	task, errno := c.launch(a.Mask)
	if errno == 0 && c.mapping {
		c.writeMappings(int(task), sys)
	}
	runtime.KeepAlive(a)
	if dumpable && !isDumpable() {
		// A change of credentials in memory that is ours too made us undumpable.
		unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	}
	if errno != 0 {
		return 0, &Error{StageFork, -1, errno}
	}
	if c.failed {
		reap(int(task))
		if c.listener >= 0 {
			syscall.Close(int(c.listener))
		}
		if sys.PidFD != nil {
			syscall.Close(int(c.pidfd))
		}
		return 0, c.err()
	}
	if sys.PidFD != nil {
		*sys.PidFD = int(c.pidfd)
	}
	if c.asks {
		*a.Listener = int(c.listener)
	}
	return int(task), nil
}

// Exec executes the program in this process. It returns only when something refused: then the caller's descriptors are all
// as they were, unless Leave gave them up. Without Leave the task has a table of its own, so that while the kernel looks up
// the program's path, /proc/self/fd is still the caller's.
func Exec(a *Attr) error {
	c, err := plan(a, true)
	if err != nil {
		return err
	}
	c.args.flags = unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_THREAD | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM
	_, errno := c.launch(a.Mask)
	runtime.KeepAlive(a)
	if errno != 0 {
		return &Error{StageFork, -1, errno}
	}
	if c.limit {
		// The limit is the process's, and the caller goes on.
		unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: c.raised[0], Max: c.raised[1]}, nil)
	}
	return c.err()
}

func (c *child) err() error {
	return &Error{c.stage, int(c.number), syscall.Errno(c.errno)}
}

// WhyProc explains an error of a task that had to close by /proc, or returns nil: why close_range couldn't be used.
func WhyProc() error { return supports().closeRangeErr }

// launch makes the task: by clone3 where the kernel has it, or where only clone3 can do what is wanted, else by clone.
func (c *child) launch(mask *uint64) (task uintptr, errno syscall.Errno) {
	args := &c.args
	if c.byRange || c.sameTable || c.asks {
		args.flags |= unix.CLONE_FILES
	}
	if c.mapping {
		// The kernel clears the word and wakes its waiters when the task leaves this memory, by exec or by its end.
		args.flags |= unix.CLONE_CHILD_CLEARTID
		args.childTID = address(&c.tid)
	}
	c.clearSigs = !c.thread && !supports().clone3
	modern := supports().clone3 || args.flags&(unix.CLONE_INTO_CGROUP|unix.CLONE_NEWTIME) != 0
	if !c.thread && !c.clearSigs {
		args.flags |= unix.CLONE_CLEAR_SIGHAND
	}
	c.mask = threadMask()
	if mask != nil {
		c.mask = *mask
	}
	top := (uintptr(unsafe.Pointer(&c.stack)) + stackSize) &^ 15
	if modern {
		task = enterTask(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0, 0, 0, top, c)
	} else {
		flags := uintptr(args.flags | args.exitSignal)
		a4, a5 := uintptr(args.childTID), uintptr(0)
		if runtime.GOARCH == "arm64" { // the same arguments, with the thread's TLS before the child's number
			a4, a5 = a5, a4
		}
		task = enterTask(syscall.SYS_CLONE, flags, 0, uintptr(args.pidfd), a4, a5, top, c)
	}
	if task > ^uintptr(4095) {
		return 0, syscall.Errno(-task)
	}
	return task, 0
}

func address[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

// enterTask is the part that has its signals blocked. With CLONE_VFORK the kernel returns when the task has left our memory.
//
//go:nosplit
//go:norace
//go:nocheckptr
func enterTask(trap, a1, a2, a3, a4, a5, stack uintptr, c *child) (task uintptr) {
	runtimeBeforeFork()
	task = clone(trap, a1, a2, a3, a4, a5, stack, c, childMain)
	runtimeAfterFork()
	return task
}

// writeMappings does the parent's part for a task in a new user namespace, and waits until the task has left this memory.
func (c *child) writeMappings(pid int, sys *syscall.SysProcAttr) {
	goAhead := uint32(1)
	for _, f := range mappingFiles(sys) {
		if err := writeFile("/proc/"+strconv.Itoa(pid)+"/"+f.name, f.text); err != nil {
			goAhead, c.mapErrno = 2, uintptr(err.(syscall.Errno))
			break
		}
	}
	atomic.StoreUint32(&c.goAhead, goAhead)
	syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&c.goAhead)), futexWakePrivate, 1, 0, 0, 0)
	for {
		tid := atomic.LoadUint32(&c.tid)
		if tid == 0 {
			return
		}
		syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&c.tid)), futexWait, uintptr(tid), 0, 0, 0)
	}
}

func writeFile(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(text))
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	return err
}

func threadMask() (mask uint64) {
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, sigSetMask, 0, uintptr(unsafe.Pointer(&mask)), 8, 0, 0)
	return mask
}

func isDumpable() bool {
	value, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, unix.PR_GET_DUMPABLE, 0, 0, 0, 0, 0)
	return errno == 0 && value == 1
}

// reap takes away the process of a failed start.
func reap(pid int) {
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			return
		}
	}
}
