//go:build 386 || arm

package main

import (
	"errors"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	file      = 3
	directory = 4
)

// An attempt is one way to do an operation, which its name begins with.
type attempt struct {
	name   string
	do     func(fd int) error
	copies bool
}

func second[T any](_ T, err error) error { return err }

// The numbers that package unix lacks.
const (
	fionbio  = 0x5421
	fioasync = 0x5452
)

func callFor(number uintptr, args ...uintptr) (int, error) {
	var a [6]uintptr
	copy(a[:], args)
	result, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno != 0 {
		return -1, errno
	}
	return int(result), nil
}

func call(number uintptr, args ...uintptr) error { return second(callFor(number, args...)) }

// on is a call on a descriptor.
func on(number uintptr, rest ...uintptr) func(fd int) error {
	return func(fd int) error { return call(number, append([]uintptr{uintptr(fd)}, rest...)...) }
}

// copied closes the copy that a call makes.
func copied(number uintptr, rest ...uintptr) func(fd int) error {
	return func(fd int) error {
		made, err := callFor(number, append([]uintptr{uintptr(fd)}, rest...)...)
		if err == nil {
			unix.Close(made)
		}
		return err
	}
}

func address[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }

func ioctl(request uintptr, value int32) func(fd int) error {
	return func(fd int) error { return call(unix.SYS_IOCTL, uintptr(fd), request, address(&value)) }
}

func lock(number, command uintptr) func(fd int) error {
	return func(fd int) error {
		return call(number, uintptr(fd), command, address(&unix.Flock_t{Type: unix.F_WRLCK}))
	}
}

func setOwner(fd int) error {
	return call(unix.SYS_FCNTL64, uintptr(fd), unix.F_SETOWN, uintptr(os.Getpid()))
}

func setOwnerEx(fd int) error {
	owner := [2]int32{1, int32(os.Getpid())}
	return call(unix.SYS_FCNTL64, uintptr(fd), unix.F_SETOWN_EX, address(&owner))
}

// longSeek is _llseek: the upper and the lower half of an offset, and where to put the result.
func longSeek(upper, lower, whence uintptr) func(fd int) error {
	return func(fd int) error {
		var at int64
		return call(unix.SYS__LLSEEK, uintptr(fd), upper, lower, address(&at), whence)
	}
}

// buffer is a call that takes memory and its length.
func buffer(number, length uintptr) func(fd int) error {
	return func(fd int) error {
		memory := make([]byte, 4096)
		return call(number, uintptr(fd), address(&memory[0]), length)
	}
}

// vector is a call that takes an array of buffers.
func vector(number uintptr, rest ...uintptr) func(fd int) error {
	return func(fd int) error {
		memory := []byte{'v'}
		iov := unix.Iovec{Base: &memory[0], Len: 1}
		return call(number, append([]uintptr{uintptr(fd), address(&iov), 1}, rest...)...)
	}
}

const ownPosition = ^uintptr(0)

// beside does something with a file of the program's own and an offset in it, of either width.
func beside(do func(other int, offset uintptr) error) error {
	f, err := fresh()
	if err != nil {
		return err
	}
	defer done(f)
	var offset int64
	return do(int(f.Fd()), address(&offset))
}

func sendfileFrom(number uintptr) func(fd int) error {
	return func(fd int) error {
		return beside(func(other int, _ uintptr) error { return call(number, uintptr(other), uintptr(fd), 0, 1) })
	}
}

func sendfileTo(number uintptr) func(fd int) error {
	return func(fd int) error {
		return beside(func(other int, offset uintptr) error { return call(number, uintptr(fd), uintptr(other), offset, 1) })
	}
}

func copyFrom(fd int) error {
	return beside(func(other int, offset uintptr) error {
		return call(unix.SYS_COPY_FILE_RANGE, uintptr(fd), 0, uintptr(other), offset, 1, 0)
	})
}

func copyTo(fd int) error {
	return beside(func(other int, offset uintptr) error {
		return call(unix.SYS_COPY_FILE_RANGE, uintptr(other), offset, uintptr(fd), 0, 1, 0)
	})
}

func spliced(out bool) func(fd int) error {
	return func(fd int) error {
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			return err
		}
		defer unix.Close(ends[0])
		defer unix.Close(ends[1])
		if out {
			return call(unix.SYS_SPLICE, uintptr(fd), 0, uintptr(ends[1]), 0, 1, 0)
		}
		if _, err := unix.Write(ends[1], []byte{'s'}); err != nil {
			return err
		}
		return call(unix.SYS_SPLICE, uintptr(ends[0]), 0, uintptr(fd), 0, 1, 0)
	}
}

func getfd(fd int) error {
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return err
	}
	defer unix.Close(self)
	made, err := callFor(unix.SYS_PIDFD_GETFD, uintptr(self), uintptr(fd), 0)
	if err == nil {
		unix.Close(made)
	}
	return err
}

func writeMemory(int) error {
	from, to := [1]byte{'m'}, [1]byte{}
	local, remote := unix.Iovec{Base: &from[0], Len: 1}, unix.Iovec{Base: &to[0], Len: 1}
	return call(unix.SYS_PROCESS_VM_WRITEV, uintptr(os.Getpid()), address(&local), 1, address(&remote), 1, 0)
}

func unixSocket(int) error {
	fd, err := callFor(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// pair is socketpair by its own number: on i386 package unix takes socketcall.
func pair(kind uintptr) (ends [2]int32, err error) {
	return ends, call(unix.SYS_SOCKETPAIR, unix.AF_UNIX, kind, 0, address(&ends))
}

func datagramPair(int) error {
	ends, err := pair(unix.SOCK_DGRAM)
	if err == nil {
		unix.Close(int(ends[0]))
		unix.Close(int(ends[1]))
	}
	return err
}

// submitSync has the kernel synchronise a file in the background, by a request in memory.
func submitSync(fd int) error {
	var context uintptr
	if err := call(unix.SYS_IO_SETUP, 1, address(&context)); err != nil {
		return err
	}
	defer call(unix.SYS_IO_DESTROY, context)
	const fsync = 2
	request := struct {
		_         [2]uint64
		operation uint16
		_         int16
		fd        uint32
		_         [5]uint64
	}{operation: fsync, fd: uint32(fd)}
	requests := [1]uintptr{address(&request)}
	return call(unix.SYS_IO_SUBMIT, context, 1, address(&requests))
}

var attempts = []attempt{
	{"flags: fcntl F_SETFL", on(unix.SYS_FCNTL, unix.F_SETFL, unix.O_NOATIME), false},
	{"flags: fcntl64 F_SETFL", on(unix.SYS_FCNTL64, unix.F_SETFL, unix.O_NONBLOCK), false},
	{"flags: FIONBIO", ioctl(fionbio, 1), false},
	{"flags: FIOASYNC", ioctl(fioasync, 0), false},
	{"owner: fcntl F_SETOWN", func(fd int) error { return on(unix.SYS_FCNTL, unix.F_SETOWN, uintptr(os.Getpid()))(fd) }, false},
	{"owner: fcntl64 F_SETOWN", setOwner, false},
	{"owner: fcntl64 F_SETOWN_EX", setOwnerEx, false},
	{"owner: fcntl64 F_SETSIG", on(unix.SYS_FCNTL64, unix.F_SETSIG, uintptr(unix.SIGURG)), false},
	{"lock: flock", on(unix.SYS_FLOCK, unix.LOCK_EX|unix.LOCK_NB), false},
	{"lock: fcntl64 F_OFD_SETLK", lock(unix.SYS_FCNTL64, unix.F_OFD_SETLK), false},
	{"lock: fcntl64 F_OFD_SETLKW", lock(unix.SYS_FCNTL64, unix.F_OFD_SETLKW), false},
	{"lock: fcntl F_SETLEASE", on(unix.SYS_FCNTL, unix.F_SETLEASE, unix.F_WRLCK), false},
	{"lock: fcntl64 F_SETLEASE", on(unix.SYS_FCNTL64, unix.F_SETLEASE, unix.F_WRLCK), false},
	{"seek: lseek", on(unix.SYS_LSEEK, 5, unix.SEEK_SET), false},
	{"seek: lseek on", on(unix.SYS_LSEEK, 1, unix.SEEK_CUR), false},
	{"seek: _llseek", longSeek(0, 5, unix.SEEK_SET), false},
	{"seek: _llseek on", longSeek(0, 1, unix.SEEK_CUR), false},
	{"seek: _llseek far on", longSeek(1, 0, unix.SEEK_CUR), false},
	{"seek: _llseek to the end", longSeek(0, 0, unix.SEEK_END), false},

	{"offset: read", buffer(unix.SYS_READ, 1), false},
	{"offset: write", buffer(unix.SYS_WRITE, 1), false},
	{"offset: readv", vector(unix.SYS_READV), false},
	{"offset: writev", vector(unix.SYS_WRITEV), false},
	{"offset: preadv2 at its position", vector(unix.SYS_PREADV2, ownPosition, ownPosition, 0), false},
	{"offset: pwritev2 at its position", vector(unix.SYS_PWRITEV2, ownPosition, ownPosition, 0), false},
	{"offset: sendfile out of it", sendfileFrom(unix.SYS_SENDFILE), false},
	{"offset: sendfile64 out of it", sendfileFrom(unix.SYS_SENDFILE64), false},
	{"offset: sendfile into it", sendfileTo(unix.SYS_SENDFILE), false},
	{"offset: sendfile64 into it", sendfileTo(unix.SYS_SENDFILE64), false},
	{"offset: copy_file_range out of it", copyFrom, false},
	{"offset: copy_file_range into it", copyTo, false},
	{"offset: splice out of it", spliced(true), false},
	{"offset: splice into it", spliced(false), false},
	{"dup: dup", copied(unix.SYS_DUP), true},
	{"dup: dup2", copied(unix.SYS_DUP2, 50), true},
	{"dup: dup3", copied(unix.SYS_DUP3, 50, 0), true},
	{"dup: fcntl F_DUPFD", copied(unix.SYS_FCNTL, unix.F_DUPFD, 10), true},
	{"dup: fcntl64 F_DUPFD_CLOEXEC", copied(unix.SYS_FCNTL64, unix.F_DUPFD_CLOEXEC, 10), true},
	{"steal: pidfd_getfd", getfd, false},
	{"steal: process_vm_writev", writeMemory, false},
	{"pass: a datagram pair", datagramPair, false},
	{"pass: a seccomp listener", func(int) error {
		return call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, 0)
	}, false},
	{"wberr: fsync", on(unix.SYS_FSYNC), false},
	{"wberr: fdatasync", on(unix.SYS_FDATASYNC), false},
	{"wberr: syncfs", on(unix.SYS_SYNCFS), false},
	{"wberr: io_submit", submitSync, false},
	{"tty: TIOCSTI", ioctl(unix.TIOCSTI, 0), false},
	{"tty: TIOCLINUX", ioctl(unix.TIOCLINUX, 0), false},
	{"io_uring: setup", func(int) error { return call(unix.SYS_IO_URING_SETUP, 1, 0) }, false},
	{"UNIX socket: any", unixSocket, false},
}

var onDirectory = []attempt{
	{"seek: getdents", buffer(unix.SYS_GETDENTS, 4096), false},
	{"seek: getdents64", buffer(unix.SYS_GETDENTS64, 4096), false},
}

// passOverPair sends the file to itself.
func passOverPair() error {
	fd, err := received()
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func received() (int, error) {
	ends, err := pair(unix.SOCK_STREAM)
	if err != nil {
		return -1, err
	}
	defer unix.Close(int(ends[0]))
	defer unix.Close(int(ends[1]))
	rights := unix.UnixRights(file)
	word := []byte{'w'}
	iov := unix.Iovec{Base: &word[0], Len: 1}
	message := unix.Msghdr{Iov: &iov, Iovlen: 1, Control: &rights[0], Controllen: uint32(len(rights))}
	if err := call(unix.SYS_SENDMSG, uintptr(ends[0]), address(&message), 0); err != nil {
		return -1, err
	}
	clear(rights)
	if err := call(unix.SYS_RECVMSG, uintptr(ends[1]), address(&message), unix.MSG_DONTWAIT); err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:message.Controllen])
	if err != nil || len(messages) != 1 {
		return -1, errors.Join(err, unix.EBADMSG)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

// tryAll changes flags, owners and locks in every way, and returns the last refusal, or nothing when one was missing.
func tryAll(fd int) (refusal error) {
	for _, a := range attempts {
		switch operation, _, _ := strings.Cut(a.name, ":"); operation {
		case "flags", "owner", "lock":
			if refusal = a.do(fd); refusal == nil {
				return nil
			}
		}
	}
	return refusal
}

// tryCopy tries on copies what is refused on the file: it succeeds where one of them isn't guarded.
func tryCopy() error {
	copies := []func() (int, error){
		func() (int, error) { return callFor(unix.SYS_DUP2, file, 50) },
		func() (int, error) { return callFor(unix.SYS_FCNTL64, file, unix.F_DUPFD, 100) },
		received,
	}
	var refusal error = unix.EPERM
	for _, copied := range copies {
		fd, err := copied()
		if err != nil {
			refusal = err
			continue
		}
		refusal = tryAll(fd)
		unix.Close(fd)
		if refusal == nil {
			return nil
		}
	}
	return refusal
}
