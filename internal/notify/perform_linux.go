package notify

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/seccomp"
)

// A job is a permitted call, on a descriptor of ours that refers to the same description as the caller's.
type job struct {
	caller
	deed deed
	call seccomp.Call
	fd   int

	lock  *lock // for locks, once the arguments are read
	moved bool  // the offset, which was this before
	was   int64
}

// perform does what the call asked for. again is set when a lock must be waited for.
func (j *job) perform() (value int64, errno unix.Errno, again bool) {
	argument := j.call.Arguments[2]
	switch j.deed {
	case setFlags:
		return 0, j.setFlags(int(argument)), false
	case setNonblock:
		return 0, j.setNonblock(), false
	case setAsync:
		return 0, j.setAsync(), false
	case soundNonblock:
		return 0, j.soundNonblock(), false
	case queueFlags:
		return 0, j.queueFlags(), false
	case setOwner:
		return 0, j.setOwner(int32(argument)), false
	case setOwnerEx:
		return 0, j.setOwnerEx(), false
	case setOwnerIoctl:
		return 0, j.setOwnerIoctl(), false
	case setSignal:
		return 0, j.setSignal(argument), false
	case lockFile, lockRange:
		errno, again = j.takeLock()
		return 0, errno, again
	case setLease:
		return 0, j.setLease(argument), false
	case setDelegation:
		return 0, j.setDelegation(), false
	case seek, seekLong:
		value, errno = j.seek()
		return value, errno, false
	case readDirectory:
		value, errno = j.readDirectory()
		return value, errno, false
	}
	return 0, unix.EPERM, false // F_NOTIFY, and what nobody knows: it can't be done for somebody else
}

// control is fcntl or ioctl, as trap says.
func control(trap uintptr, fd int, command uintptr, argument uint64) unix.Errno {
	_, _, errno := unix.Syscall(trap, uintptr(fd), command, uintptr(argument))
	return errno
}

// setFlags: O_NOATIME depends on who asks, and with O_ASYNC a terminal takes an owner. Whether the flag is new isn't asked: another
// thread may take it away in between.
func (j *job) setFlags(flags int) unix.Errno {
	set := func() unix.Errno { return control(unix.SYS_FCNTL, j.fd, unix.F_SETFL, uint64(flags)) }
	switch {
	case flags&unix.O_ASYNC != 0:
		return j.async(set)
	case flags&unix.O_NOATIME != 0:
		return j.as(set)
	}
	return set()
}

func (j *job) setNonblock() unix.Errno {
	on, errno := j.readInt()
	if errno != 0 {
		return errno
	}
	return control(unix.SYS_IOCTL, j.fd, fionbio, uint64(uintptr(unsafe.Pointer(&on))))
}

// soundNonblock is for sound devices only: to another driver the number may mean something else, which would be done with
// this process's rights. The argument means nothing.
func (j *job) soundNonblock() unix.Errno {
	const soundMajor = 14
	var stat unix.Stat_t
	if err := unix.Fstat(j.fd, &stat); err != nil {
		return unix.EPERM
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFCHR || unix.Major(stat.Rdev) != soundMajor {
		return unix.ENOTTY
	}
	return control(unix.SYS_IOCTL, j.fd, dspNonblock, 0)
}

// setOwnerIoctl is for sockets only, for the same reason. Its argument is an int in memory.
func (j *job) setOwnerIoctl() unix.Errno {
	var stat unix.Stat_t
	if err := unix.Fstat(j.fd, &stat); err != nil {
		return unix.EPERM
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return unix.ENOTTY
	}
	id, errno := j.readInt()
	if errno == 0 {
		id, errno = j.translate(id)
	}
	if errno != 0 {
		return errno
	}
	return j.as(func() unix.Errno {
		return control(unix.SYS_IOCTL, j.fd, fiosetown, uint64(uintptr(unsafe.Pointer(&id))))
	})
}

func (j *job) readInt() (int32, unix.Errno) {
	var memory [4]byte
	errno := j.read(j.call.Arguments[2], memory[:])
	return int32(binary.NativeEndian.Uint32(memory[:])), errno
}

func (j *job) setAsync() unix.Errno {
	on, errno := j.readInt()
	if errno != 0 {
		return errno
	}
	set := func() unix.Errno {
		return control(unix.SYS_IOCTL, j.fd, fioasync, uint64(uintptr(unsafe.Pointer(&on))))
	}
	if on == 0 {
		return set()
	}
	return j.async(set)
}

// async turns O_ASYNC on. Where no owner was set, a terminal's becomes whoever turns it on.
func (j *job) async(set func() unix.Errno) unix.Errno {
	if j.signals() {
		return unix.EPERM
	}
	return j.owning(set)
}

// signals reports whether signals with details were asked for (F_SETSIG). The kernel remembers the descriptor's number for these when
// O_ASYNC is turned on or a lease taken, and that would be ours.
func (j *job) signals() bool {
	signal, err := unix.FcntlInt(uintptr(j.fd), unix.F_GETSIG, 0)
	return err != nil || signal != 0
}

// An owner is struct f_owner_ex.
type owner struct{ kind, id int32 }

const ownerProcess = 1 // F_OWNER_PID

func (j *job) owner() (o owner, errno unix.Errno) {
	return o, control(unix.SYS_FCNTL, j.fd, unix.F_GETOWN_EX, uint64(uintptr(unsafe.Pointer(&o))))
}

// owning does something that makes whoever does it the owner, if there is none. If that has become this process it must be the
// caller's instead. The kernel names the thread: F_GETOWN_EX shows a process then, and no number unless it was the first thread.
func (j *job) owning(do func() unix.Errno) unix.Errno {
	before, errno := j.owner()
	if errno == 0 {
		errno = j.as(do)
	}
	if errno != 0 {
		return errno
	}
	now, errno := j.owner()
	ours := now.kind == ownerProcess && (now.id == 0 || int(now.id) == unix.Getpid())
	if errno != 0 || now == before || !ours {
		return errno
	}
	process, err := j.process()
	if err != nil {
		control(unix.SYS_FCNTL, j.fd, unix.F_SETOWN, 0)
		return unix.EPERM
	}
	return j.as(func() unix.Errno { return control(unix.SYS_FCNTL, j.fd, unix.F_SETOWN, uint64(process)) })
}

func (j *job) setOwner(id int32) unix.Errno {
	id, errno := j.translate(id)
	if errno != 0 {
		return errno
	}
	return j.as(func() unix.Errno { return control(unix.SYS_FCNTL, j.fd, unix.F_SETOWN, uint64(int64(id))) })
}

func (j *job) setOwnerEx() unix.Errno {
	var memory [8]byte // struct f_owner_ex: type, number
	if errno := j.read(j.call.Arguments[2], memory[:]); errno != 0 {
		return errno
	}
	id, errno := j.translate(int32(binary.NativeEndian.Uint32(memory[4:])))
	if errno != 0 {
		return errno
	}
	binary.NativeEndian.PutUint32(memory[4:], uint32(id))
	return j.as(func() unix.Errno {
		return control(unix.SYS_FCNTL, j.fd, unix.F_SETOWN_EX, uint64(uintptr(unsafe.Pointer(&memory))))
	})
}

// setSignal: see signals.
func (j *job) setSignal(signal uint64) unix.Errno {
	if signal != 0 {
		flags, err := unix.FcntlInt(uintptr(j.fd), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_ASYNC != 0 {
			return unix.EPERM
		}
		if lease, err := unix.FcntlInt(uintptr(j.fd), unix.F_GETLEASE, 0); err == nil && lease != unix.F_UNLCK {
			return unix.EPERM
		}
	}
	return control(unix.SYS_FCNTL, j.fd, unix.F_SETSIG, signal)
}

func (j *job) setLease(kind uint64) unix.Errno {
	set := func() unix.Errno { return control(unix.SYS_FCNTL, j.fd, unix.F_SETLEASE, kind) }
	switch {
	case kind == unix.F_UNLCK:
		return j.as(set)
	case j.signals():
		return unix.EPERM
	}
	return j.owning(set)
}

func (j *job) setDelegation() unix.Errno {
	var memory [8]byte // struct delegation: flags, type, padding
	if errno := j.read(j.call.Arguments[2], memory[:]); errno != 0 {
		return errno
	}
	if j.signals() {
		return unix.EPERM
	}
	return j.owning(func() unix.Errno {
		return control(unix.SYS_FCNTL, j.fd, fSetdeleg, uint64(uintptr(unsafe.Pointer(&memory))))
	})
}

// queueFlags: struct mq_attr is eight longs.
func (j *job) queueFlags() unix.Errno {
	if j.call.Narrow() {
		return unix.EPERM
	}
	var set, old [64]byte
	if errno := j.read(j.call.Arguments[1], set[:]); errno != 0 {
		return errno
	}
	_, _, errno := unix.Syscall(unix.SYS_MQ_GETSETATTR, uintptr(j.fd), uintptr(unsafe.Pointer(&set)), uintptr(unsafe.Pointer(&old)))
	if errno != 0 || j.call.Arguments[2] == 0 {
		return errno
	}
	return j.write(j.call.Arguments[2], old[:])
}

func (j *job) seek() (int64, unix.Errno) {
	a := j.call.Arguments
	offset, whence := int64(a[1]), int(uint32(a[2]))
	switch {
	case j.deed == seekLong:
		offset, whence = int64(a[1]<<32|a[2]&0xffffffff), int(uint32(a[4]))
	case j.call.Narrow():
		offset = int64(int32(a[1]))
	}
	j.remember()
	value, err := unix.Seek(j.fd, offset, whence)
	switch {
	case err != nil:
		j.moved = false
		return 0, err.(unix.Errno)
	case j.deed == seekLong:
		var memory [8]byte
		binary.NativeEndian.PutUint64(memory[:], uint64(value))
		return 0, j.write(a[3], memory[:])
	case j.call.Narrow() && value > math.MaxInt32:
		return 0, unix.EOVERFLOW
	}
	return value, 0
}

// remember notes the offset before it is moved.
func (j *job) remember() {
	was, err := unix.Seek(j.fd, 0, unix.SEEK_CUR)
	j.was, j.moved = was, err == nil
}

// readDirectory fills a buffer of ours first. Programs of 32 bits have other structures.
func (j *job) readDirectory() (int64, unix.Errno) {
	trap := uintptr(unix.SYS_GETDENTS64)
	if j.call.Name() == "getdents" {
		trap = getdents
	}
	if j.call.Narrow() && j.call.Name() == "getdents" || trap == 0 {
		return 0, unix.EPERM
	}
	buffer := make([]byte, min(uint32(j.call.Arguments[2]), 64<<10))
	if len(buffer) == 0 {
		return 0, unix.EINVAL
	}
	j.remember()
	n, _, errno := unix.Syscall(trap, uintptr(j.fd), uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)))
	if errno != 0 {
		return 0, errno
	}
	return int64(n), j.write(j.call.Arguments[1], buffer[:n])
}

// A lock is what a call wants locked.
type lock struct {
	flock   int // LOCK_SH, LOCK_EX or LOCK_UN; 0 for a range
	rng     unix.Flock_t
	waits   bool
	already bool // the description held a lock before: it isn't the caller's to lose
}

// takeLock tries, without ever waiting in the kernel.
func (j *job) takeLock() (errno unix.Errno, again bool) {
	if j.lock == nil {
		if errno := j.readLock(); errno != 0 {
			return errno, false
		}
	}
	l := j.lock
	l.already = holdsLock(j.fd) // somebody who shares it may have locked it since the last try
	var err error
	if l.flock != 0 {
		err = unix.Flock(j.fd, l.flock|unix.LOCK_NB)
	} else {
		err = unix.FcntlFlock(uintptr(j.fd), unix.F_OFD_SETLK, &l.rng)
	}
	if err == nil {
		return 0, false
	}
	errno = err.(unix.Errno)
	return errno, l.waits && (errno == unix.EAGAIN || errno == unix.EACCES)
}

func (j *job) readLock() unix.Errno {
	l := &lock{}
	if j.deed == lockFile {
		operation := int(uint32(j.call.Arguments[1]))
		l.flock, l.waits = operation&^unix.LOCK_NB, operation&unix.LOCK_NB == 0
		if l.flock == 0 {
			return unix.EINVAL
		}
	} else {
		l.waits = uint32(j.call.Arguments[1]) == unix.F_OFD_SETLKW
		if errno := j.readRange(&l.rng); errno != 0 {
			return errno
		}
	}
	j.lock = l
	return 0
}

// holdsLock reports whether a lock belongs to the description. What can't be seen counts as held: then nothing is taken back. Only
// fdinfo is asked: what needs the offset, a read into memory that isn't there holds up for ever.
func holdsLock(fd int) bool {
	info, err := os.ReadFile(fmt.Sprintf("/proc/thread-self/fdinfo/%d", fd))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(info)) {
		if strings.HasPrefix(line, "lock:") && !strings.Contains(line, "POSIX") {
			return true
		}
	}
	return false
}

// readRange reads struct flock, or i386's, which has no gaps.
func (j *job) readRange(to *unix.Flock_t) unix.Errno {
	start, size := 8, 32
	if j.call.Audit == unix.AUDIT_ARCH_I386 {
		start, size = 4, 24
	}
	memory := make([]byte, size)
	if errno := j.read(j.call.Arguments[2], memory); errno != 0 {
		return errno
	}
	to.Type = int16(binary.NativeEndian.Uint16(memory))
	to.Whence = int16(binary.NativeEndian.Uint16(memory[2:]))
	to.Start = int64(binary.NativeEndian.Uint64(memory[start:]))
	to.Len = int64(binary.NativeEndian.Uint64(memory[start+8:]))
	to.Pid = int32(binary.NativeEndian.Uint32(memory[start+16:]))
	return 0
}

// undo is for what was done, with such an answer, for a caller who no longer waits for it: one whom a signal has interrupted may ask for
// the same again. An offset goes back. A lock is given back; what the description held before stays.
func (j *job) undo(errno unix.Errno) {
	switch l := j.lock; {
	case j.moved:
		unix.Seek(j.fd, j.was, unix.SEEK_SET)
	case l == nil || l.already || errno != 0:
	case l.flock != 0:
		unix.Flock(j.fd, unix.LOCK_UN)
	default:
		release := l.rng
		release.Type = unix.F_UNLCK
		unix.FcntlFlock(uintptr(j.fd), unix.F_OFD_SETLK, &release)
	}
}
