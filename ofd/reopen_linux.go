package ofd

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sys/unix"
)

// Writing says what becomes of a writable file when it is opened a second time without O_APPEND. It concerns regular
// files and block devices; everything else has no data to overwrite.
type Writing int

const (
	// Refuse such a file: the choice is the caller's.
	Refuse Writing = iota
	// Append: the new description has O_APPEND.
	Append
	// Offset: the new description has an offset of its own, which begins where the shared one stands.
	Offset
)

// Reopen returns a new descriptor, close-on-exec, of a new description of the file behind fd; the caller closes it.
//
// The access mode, O_APPEND, O_DIRECT, O_SYNC, O_DSYNC, O_NOATIME and the offset are those of fd. Locks, owner and
// O_ASYNC aren't carried over, and the new description is always blocking: whoever wants it otherwise may set O_NONBLOCK,
// which now concerns nobody else. Descriptors opened with O_PATH give the like.
//
// Opening goes through /proc, with O_NONBLOCK|O_NOCTTY, so that it neither waits for anything nor changes the session. It
// needs the right to open the file anew. What has no file, or what opening would change, is refused: the error is then
// a *Refusal. On any error nothing is left open, and the description behind fd is as it was.
func Reopen(fd int, writing Writing) (int, error) {
	o, err := look(fd)
	if err != nil {
		return -1, err
	}
	if err := o.mayOpen(writing); err != nil {
		return -1, err
	}
	fresh, err := o.open(o.openFlags())
	if err != nil {
		return -1, err
	}
	if err := o.settle(fresh, writing); err != nil {
		unix.Close(fresh)
		return -1, err
	}
	return fresh, nil
}

// original is the description that is to be opened again, as it was found.
type original struct {
	fd    int
	flags int
	stat  unix.Stat_t
	// offset is -1 where there is none, or none that means anything.
	offset int64
	tty    terminal
}

func look(fd int) (o original, err error) {
	o = original{fd: fd, offset: -1}
	if o.flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil {
		err = unix.Fstat(fd, &o.stat)
	}
	if err != nil {
		return o, o.failed(err)
	}
	if o.flags&unix.O_PATH != 0 {
		return o, nil
	}
	switch o.kind() {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFBLK:
		o.offset, err = offsetOf(fd)
	case unix.S_IFCHR:
		o.tty = terminalOf(fd)
	}
	if err != nil {
		return o, o.failed(err)
	}
	return o, nil
}

func (o *original) kind() uint32 { return o.stat.Mode & unix.S_IFMT }

func (o *original) failed(err error) error {
	return fmt.Errorf("ofd: reopen descriptor %d: %w", o.fd, err)
}

func (o *original) refuse(reason error, errno error, instead string) error {
	return &Refusal{FD: o.fd, Reason: reason, Err: errno, Instead: instead}
}

// mayOpen refuses what opening would change, and what can't be opened. It must come before any open: with POSIX locks
// even closing the new descriptor again is too much.
func (o *original) mayOpen(writing Writing) error {
	if o.flags&unix.O_PATH != 0 {
		return nil
	}
	switch o.kind() {
	case unix.S_IFSOCK:
		return o.refuse(ErrNoFile, unix.ENXIO, "a socket can be passed shared, or its bytes relayed")
	case unix.S_IFCHR:
		if err := o.mayOpenDevice(); err != nil {
			return err
		}
	case unix.S_IFREG, unix.S_IFBLK:
		if err := o.mayWrite(writing); err != nil {
			return err
		}
	case unix.S_IFDIR, unix.S_IFIFO:
	default:
		return o.refuse(ErrNoFile, unix.ENXIO, "an anonymous inode can only be passed shared; make a new one instead")
	}
	return o.mayLock()
}

func (o *original) mayOpenDevice() error {
	major, minor := unix.Major(o.stat.Rdev), unix.Minor(o.stat.Rdev)
	if isMaster(o.fd, major) {
		return o.refuse(ErrOtherObject, nil, "a pseudo-terminal's master can only be passed shared")
	}
	if o.tty.hungUp {
		return o.refuse(ErrHangup, unix.EIO, "pass it shared")
	}
	if o.tty.is {
		return nil
	}
	// null, zero, full, random and urandom remember nothing, so opening them does nothing.
	if major == 1 && slices.Contains([]uint32{3, 5, 7, 8, 9}, minor) {
		return nil
	}
	return o.refuse(ErrDevice, nil, "pass it shared, or open the device by its path")
}

func (o *original) mayWrite(writing Writing) error {
	writes := o.flags&unix.O_ACCMODE == unix.O_WRONLY || o.flags&unix.O_ACCMODE == unix.O_RDWR
	if writes && o.flags&unix.O_APPEND == 0 && writing == Refuse {
		return o.refuse(ErrWritable, nil, "choose whether it appends or starts at the shared offset with one of its own")
	}
	return nil
}

func (o *original) mayLock() error {
	held, err := holdsPOSIX(o.fd)
	if err != nil {
		return o.refuse(ErrDenied, err, "pass it shared")
	}
	if held {
		return o.refuse(ErrPOSIXLock, nil, "pass it shared")
	}
	if o.kind() != unix.S_IFREG {
		return nil // only regular files have leases
	}
	// Where the leases can't be listed, a break is what any other program's open would do as well.
	if held, err = holdsLease(o.fd); err == nil && held {
		return o.refuse(ErrLease, nil, "pass it shared")
	}
	return nil
}

// carried are the flags that open takes over as they are. O_DIRECT isn't among them: opening a pipe with it is an
// error, while setting it afterwards isn't.
const carried = unix.O_ACCMODE | unix.O_SYNC | unix.O_DSYNC | unix.O_NOATIME

func (o *original) openFlags() int {
	if o.flags&unix.O_PATH != 0 {
		return o.flags&(unix.O_PATH|unix.O_DIRECTORY) | unix.O_CLOEXEC
	}
	// O_NONBLOCK and O_APPEND are taken back in settle; until then they also mark the new description (differs).
	flags := o.flags&carried | unix.O_NONBLOCK | unix.O_APPEND | unix.O_NOCTTY | unix.O_CLOEXEC
	if o.kind() == unix.S_IFDIR {
		flags |= unix.O_DIRECTORY
	}
	return flags
}

// open goes by the calling thread's own table: a thread may have one that /proc/self doesn't show.
func (o *original) open(flags int) (int, error) {
	path := fmt.Sprintf("/proc/thread-self/fd/%d", o.fd)
	for {
		fresh, err := unix.Open(path, flags, 0)
		if err == nil {
			return fresh, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return -1, o.notOpened(err)
		}
	}
}

// notOpened tells what the kernel has against this file from what it would have against any.
func (o *original) notOpened(err error) error {
	errno, _ := errors.AsType[unix.Errno](err)
	switch errno {
	case unix.EBADF, unix.EMFILE, unix.ENFILE, unix.ENOMEM:
		return o.failed(err)
	case unix.ENXIO, unix.EIO:
		switch {
		case o.kind() == unix.S_IFIFO:
			return o.refuse(ErrHangup, err, "pass it shared")
		case o.tty.is:
			return o.refuse(ErrOtherObject, err, "pass it shared")
		case errno == unix.ENXIO: // a file in name only, secret memory for example
			return o.refuse(ErrNoFile, err, "pass it shared")
		}
	case unix.EWOULDBLOCK:
		return o.refuse(ErrLease, err, "pass it shared")
	}
	return o.refuse(ErrDenied, err, "pass it shared")
}

// settle makes the new description what it was to be, after making sure that it is a new one of the same file.
func (o *original) settle(fresh int, writing Writing) error {
	now, err := look(fresh)
	if err != nil {
		return err
	}
	if now.stat.Dev != o.stat.Dev || now.stat.Ino != o.stat.Ino || now.kind() != o.kind() || now.stat.Rdev != o.stat.Rdev ||
		now.tty != o.tty {
		return o.refuse(ErrOtherObject, nil, "pass it shared")
	}
	if now.flags&(unix.O_ACCMODE|unix.O_PATH) != o.flags&(unix.O_ACCMODE|unix.O_PATH) {
		return o.refuse(ErrOtherObject, nil, "pass it shared")
	}
	if err := o.differs(&now); err != nil {
		return err
	}
	if o.flags&unix.O_PATH != 0 {
		return nil
	}
	if o.kind() == unix.S_IFIFO && hungUp(o.fd) && !hungUp(fresh) {
		// Opened without a writer, a FIFO doesn't report the end to poll(2) before another writer has come and gone.
		return o.refuse(ErrHangup, nil, "pass it shared")
	}
	flags := o.flags &^ (unix.O_NONBLOCK | unix.O_ASYNC)
	if writing == Append && o.offset >= 0 {
		flags |= unix.O_APPEND
	}
	if err := setFlags(fresh, flags); err != nil {
		return o.refuse(ErrDenied, err, "pass it shared")
	}
	if o.offset > 0 {
		if _, err := unix.Seek(fresh, o.offset, io.SeekStart); err != nil {
			return o.refuse(ErrDenied, err, "pass it shared")
		}
	}
	return nil
}

// differs makes sure that fresh is another description. Where the kernel may not be asked, a flag is the proof: opening
// set it on the one, and the other doesn't have it.
func (o *original) differs(fresh *original) error {
	same, err := Same(o.fd, fresh.fd)
	switch {
	case err == nil && same:
		return o.refuse(ErrOtherObject, nil, "pass it shared")
	case err == nil || marked(o, fresh):
		return nil
	}
	return o.refuse(ErrDenied, err, "pass it shared")
}

func marked(o, fresh *original) bool {
	return fresh.flags&^o.flags&(unix.O_NONBLOCK|unix.O_APPEND) != 0
}

type terminal struct {
	is, hungUp bool
	// device is what the terminal really is: /dev/tty and /dev/console stand for others.
	device uint32
}

func terminalOf(fd int) (t terminal) {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	t.hungUp = err == unix.EIO
	if t.is = err == nil; t.is {
		t.device, err = unix.IoctlGetUint32(fd, unix.TIOCGDEV)
		t.is = err == nil
	}
	return t
}

// isMaster knows a pseudo-terminal's master: those of /dev/ptmx tell the number of their slave, those of BSD's naming
// have a major number of their own.
func isMaster(fd int, major uint32) bool {
	_, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	return err == nil || major == 2
}

func hungUp(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd)}}
	_, err := unix.Poll(poll, 0)
	return err == nil && poll[0].Revents&unix.POLLHUP != 0
}
