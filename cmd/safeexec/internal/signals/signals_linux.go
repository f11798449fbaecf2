package signals

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Info is what the kernel tells about a signal: siginfo_t, as sigaction(2) describes it, on machines of 64 bits.
type Info struct {
	Signo, errno, Code, _ int32
	PID                   int32  // who sent it, where a process did
	UID                   uint32 // as whom
	rest                  [104]byte
}

// Values of si_code, from asm-generic/siginfo.h.
const (
	codeQueue  = -1   // SI_QUEUE: sigqueue(3), with a value
	codeThread = -6   // SI_TKILL
	codeKernel = 0x80 // SI_KERNEL
)

// FromKernel reports whether the kernel itself sent the signal, a terminal for example.
func (i *Info) FromKernel() bool { return i.Code == codeKernel }

// Signal is the signal's number.
func (i *Info) Signal() syscall.Signal { return syscall.Signal(i.Signo) }

// ours reports whether this process sent it to itself: the runtime's SIGURG, or a SIGPIPE.
func (i *Info) ours() bool {
	return (i.Code == 0 || i.Code == codeThread) && int(i.PID) == os.Getpid()
}

// What the handler reads.
var (
	writeEnd       int32
	faults         uint64 // bit N for signal N: those of which the runtime is told when the process itself is at fault
	runtimeHandler uintptr
)

var _, _ = &faults, &runtimeHandler // by assembly

func handler()

var _ = handler // by assembly

func handlerAddress() uintptr

// action is the kernel's struct sigaction, for 64 bits.
type action struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

// A Queue holds the signals that came in. Two that come at the same time may change places: any thread takes them.
type Queue struct {
	read int
	ours action
}

// Catch begins to take every signal that can be taken. There can be one Queue in a process, for good. When more than 512 wait
// to be fetched, later ones are lost.
func Catch() (*Queue, error) {
	if writeEnd != 0 {
		return nil, errors.New("signals: taken already")
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("signals: %w", err)
	}
	// The handler must never wait. Each end of a pipe has its own description: reading still waits.
	if err := unix.SetNonblock(ends[1], true); err != nil {
		return nil, fmt.Errorf("signals: %w", err)
	}
	writeEnd = int32(ends[1])
	for _, sig := range []syscall.Signal{
		unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGSYS, unix.SIGABRT,
	} {
		faults |= 1 << sig
	}
	// The runtime takes SIGSEGV in any case: flags, mask and restorer are as good for us.
	q := &Queue{read: ends[0]}
	if err := sigaction(unix.SIGSEGV, nil, &q.ours); err != nil {
		return nil, err
	}
	runtimeHandler, q.ours.handler = q.ours.handler, handlerAddress()
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		if sig == unix.SIGKILL || sig == unix.SIGSTOP {
			continue
		}
		if err := sigaction(sig, &q.ours, nil); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// Descriptors returns what the queue holds open; all is close-on-exec.
func (q *Queue) Descriptors() []int { return []int{q.read, int(writeEnd)} }

// Next waits for the next signal that another process or the kernel sent.
func (q *Queue) Next() (Info, error) {
	for {
		var info Info
		buffer := unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info))
		n, err := unix.Read(q.read, buffer)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return info, fmt.Errorf("signals: %w", err)
		case n != len(buffer):
			return info, errors.New("signals: half a siginfo")
		case !info.ours():
			return info, nil
		}
	}
}

// Default has the signal do once, to this process, what it does to a process that doesn't take it: stop it, for the signals that
// this is for. It returns when the process has been continued, or at once when the kernel doesn't stop processes that nobody could
// continue. It reports whether the process was stopped for sure: one that is continued in the same moment may not have been.
//
// What this process is to stop for may be over before it has stopped: then nobody would continue it. So obsolete is asked when the
// signal waits already. A SIGCONT that comes later takes the signal back, as the kernel has it do with every stop that waits.
func (q *Queue) Default(sig syscall.Signal, obsolete func() bool) (stopped bool) {
	if sig == unix.SIGSTOP { // which can't be made to wait
		return !obsolete() && toThread(sig) == nil
	}
	var mask, old unix.Sigset_t
	mask.Val[0] = 1 << (sig - 1)
	if unix.PthreadSigmask(unix.SIG_BLOCK, &mask, &old) != nil {
		return false
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	if toThread(sig) != nil {
		return false
	}
	if obsolete() || sigaction(sig, &action{}, nil) != nil {
		discard(sig)
		return false
	}
	defer sigaction(sig, &q.ours, nil)
	before := sleeps()
	unix.PthreadSigmask(unix.SIG_UNBLOCK, &mask, nil) // stopped before the call returns
	return sleeps() != before
}

// toThread sends this very thread a signal.
func toThread(sig syscall.Signal) error { return unix.Tgkill(os.Getpid(), unix.Gettid(), sig) }

// discard takes a signal that waits, without a handler's being called.
func discard(sig syscall.Signal) {
	set, now := uint64(1)<<(sig-1), unix.Timespec{}
	for {
		got, _, _ := unix.RawSyscall6(unix.SYS_RT_SIGTIMEDWAIT,
			uintptr(unsafe.Pointer(&set)), 0, uintptr(unsafe.Pointer(&now)), unsafe.Sizeof(set), 0, 0)
		if syscall.Signal(got) != sig {
			return
		}
	}
}

// sleeps is how often this thread has given up its processor of itself, which being stopped is too (getrusage(2), Linux 2.6.26).
func sleeps() int64 {
	var usage unix.Rusage
	unix.RawSyscall(unix.SYS_GETRUSAGE, unix.RUSAGE_THREAD, uintptr(unsafe.Pointer(&usage)), 0)
	return usage.Nvcsw
}

// Send passes a signal on. A value that came with it goes along.
func (i *Info) Send(pid int) error {
	if i.Code == codeQueue && pid > 0 {
		_, _, errno := unix.Syscall(unix.SYS_RT_SIGQUEUEINFO, uintptr(pid), uintptr(i.Signo), uintptr(unsafe.Pointer(i)))
		if errno == 0 {
			return nil
		}
	}
	return unix.Kill(pid, i.Signal())
}

func sigaction(sig syscall.Signal, set, old *action) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	if errno != 0 {
		return fmt.Errorf("signals: sigaction of signal %d: %w", int(sig), errno)
	}
	return nil
}
