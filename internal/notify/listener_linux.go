package notify

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/seccomp"
)

// A question is struct seccomp_notif: a call that waits for an answer.
type question struct {
	id    uint64
	tid   uint32 // the calling thread, as this process sees it; 0 when it doesn't
	flags uint32
	call  struct {
		number    int32
		audit     uint32
		pointer   uint64
		arguments [6]uint64
	}

	next *question     // what its thread has asked meanwhile, so that nobody waits for this one
	over chan struct{} // closed then; for who waits for a lock
}

// Call is the question in the words of package seccomp.
func (q *question) Call() seccomp.Call {
	return seccomp.Call{Number: q.call.number, Audit: q.call.audit, Arguments: q.call.arguments}
}

// An answer is struct seccomp_notif_resp.
type answer struct {
	id    uint64
	value int64
	errno int32 // negative
	flags uint32
}

// The requests that package unix doesn't have.
const (
	notifIDValid  = 0x40082102 // SECCOMP_IOCTL_NOTIF_ID_VALID
	notifSetFlags = 0x40082104 // SECCOMP_IOCTL_NOTIF_SET_FLAGS
)

// A listener is the descriptor that seccomp(2) returned for a filter that asks.
type listener int

// prefer asks the kernel to run the answering thread and the caller on one processor (Linux 6.6): it is faster where that can be had.
func (l listener) prefer() {
	unix.Syscall(unix.SYS_IOCTL, uintptr(l), notifSetFlags, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
}

// next waits for a question or for the stop. It returns nil when nobody is left to ask, or stop is readable.
func (l listener) next(stop int) *question {
	for {
		wait := []unix.PollFd{{Fd: int32(l), Events: unix.POLLIN}, {Fd: int32(stop), Events: unix.POLLIN}}
		if _, err := unix.Poll(wait, -1); err != nil && err != unix.EINTR {
			return nil
		}
		switch {
		case wait[1].Revents != 0:
			return nil
		case wait[0].Revents&unix.POLLIN != 0:
			q := &question{}
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(q)))
			if errno == 0 {
				return q
			}
			// ENOENT: the caller was killed in the meantime. EINTR: a signal of ours.
		case wait[0].Revents&(unix.POLLHUP|unix.POLLNVAL) != 0:
			return nil
		} // POLLERR: a signal of ours came while the kernel waited to have a look
	}
}

// left reports whether anybody is still under the filter.
func (l listener) left() bool {
	wait := []unix.PollFd{{Fd: int32(l), Events: unix.POLLIN}}
	_, err := unix.Poll(wait, 0)
	return err != nil || wait[0].Revents&unix.POLLHUP == 0
}

// waits reports whether the caller still waits for the answer: it may have been killed or interrupted.
func (l listener) waits(q *question) bool {
	id := q.id
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l), notifIDValid, uintptr(unsafe.Pointer(&id)))
		if errno != unix.EINTR { // a signal of ours
			return errno == 0
		}
	}
}

// reply answers, and reports whether the caller was still there.
func (l listener) reply(q *question, value int64, errno unix.Errno) bool {
	return l.send(&answer{id: q.id, value: value, errno: -int32(errno)})
}

// goOn has the kernel carry the call out as if no filter were there. That protects nothing.
func (l listener) goOn(q *question) bool {
	return l.send(&answer{id: q.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

func (l listener) send(a *answer) bool {
	if a.errno != 0 {
		a.value = 0
	}
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(a)))
		if errno != unix.EINTR {
			return errno == 0
		}
	}
}
