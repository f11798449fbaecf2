package ofd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A File reads and writes at an offset of its own, through a description that others may share. It never touches the
// shared offset, flags or locks, and what others do to the shared offset and to O_APPEND doesn't concern it.
//
// It can be used by many goroutines at once, as an *os.File can: Read, Write and Seek share the File's offset and wait
// for each other, ReadAt and WriteAt don't.
//
// A description that had O_APPEND when the File was made appends: Write writes to the end of the file, wherever the
// offset stands, and leaves the offset behind what it wrote (or further, where others append as well). On Linux pwrite(2)
// appends then too, whatever offset it is given: WriteAt refuses it.
type File struct {
	handle
	fd      int
	name    string
	appends bool
	// old is set where the kernel can't be told, call by call, whether a write appends (before Linux 6.9, and on some
	// special file systems).
	old atomic.Bool

	mu     sync.Mutex
	offset int64
}

var (
	_ fs.File         = (*File)(nil)
	_ io.ReadWriter   = (*File)(nil)
	_ io.Seeker       = (*File)(nil)
	_ io.ReaderAt     = (*File)(nil)
	_ io.WriterAt     = (*File)(nil)
	_ io.ReaderFrom   = (*File)(nil)
	_ io.WriterTo     = (*File)(nil)
	_ io.StringWriter = (*File)(nil)
)

var (
	errNegative = errors.New("negative offset")
	errAppends  = errors.New("it was opened for appending, and can't be written elsewhere")
	errFlipped  = errors.New("O_APPEND was changed by another holder of the description, and this kernel can't overrule it")
)

// NewFile makes a File of a descriptor of a regular file or a block device, beginning where the shared offset stands,
// and takes ownership of the descriptor. What has no offset (pipes, sockets, terminals) or no bytes (directories) is
// refused with ESPIPE or EISDIR; the descriptor is then still the caller's. The name serves Stat and errors.
func NewFile(fd int, name string) (*File, error) {
	f := &File{handle: handle{end: func() error { return closeOnce(fd) }}, fd: fd, name: name}
	if err := f.check(); err != nil {
		return nil, &fs.PathError{Op: "use", Path: name, Err: err}
	}
	return f, nil
}

// TakeFile makes a File of an *os.File, like NewFile, and closes that on success: POSIX locks that this process holds on
// the file are dropped.
func TakeFile(file *os.File) (*File, error) {
	fd := -1
	err := withDescriptors([]*os.File{file}, func(fds []int) (err error) {
		fd, err = unix.FcntlInt(uintptr(fds[0]), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	f, err := NewFile(fd, file.Name())
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	file.Close()
	return f, nil
}

func (f *File) check() error {
	var stat unix.Stat_t
	if err := unix.Fstat(f.fd, &stat); err != nil {
		return err
	}
	kind := stat.Mode & unix.S_IFMT
	switch kind {
	case unix.S_IFREG, unix.S_IFBLK:
	case unix.S_IFDIR:
		return unix.EISDIR
	default:
		return fmt.Errorf("%s has no offset: %w", kindName(kind), unix.ESPIPE)
	}
	flags, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	f.appends = flags&unix.O_APPEND != 0
	f.offset, err = unix.Seek(f.fd, 0, io.SeekCurrent)
	return err
}

func kindName(kind uint32) string {
	switch kind {
	case unix.S_IFIFO:
		return "a pipe"
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFCHR:
		return "a terminal or character device"
	}
	return "an anonymous inode"
}

// Control calls do with the descriptor, which stays open at least until do returns: for fsync(2), ftruncate(2), flock(2),
// StateOf, Reopen. What do does to the description, it does to all who share it.
func (f *File) Control(do func(fd int) error) error {
	if !f.acquire() {
		return fs.ErrClosed
	}
	defer f.release()
	return do(f.fd)
}

// Close gives up the descriptor. Calls that are under way end first; the descriptor is closed behind the last of them.
func (f *File) Close() error {
	return f.failed("close", f.close())
}

// Name returns the name that the File was made with.
func (f *File) Name() string { return f.name }

func (f *File) failed(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

// Read implements io.Reader.
func (f *File) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.read(p, f.offset)
	f.offset += int64(n)
	return n, f.failed("read", err)
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, f.failed("read", errNegative)
	}
	for n < len(p) && err == nil {
		var m int
		m, err = f.read(p[n:], offset)
		n += m
		offset += int64(m)
	}
	return n, f.failed("read", err)
}

// read reads once; the end is io.EOF.
func (f *File) read(p []byte, offset int64) (int, error) {
	if !f.acquire() {
		return 0, fs.ErrClosed
	}
	defer f.release()
	if len(p) == 0 {
		return 0, nil
	}
	// The kernel refuses a range that passes the largest offset, even to read what there is before it.
	if room := math.MaxInt64 - offset; int64(len(p)) > room {
		p = p[:room]
	}
	n, err := retry(func() (int, error) { return unix.Pread(f.fd, p, offset) })
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write implements io.Writer.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.write(p, f.offset)
	f.offset += int64(n)
	if f.appends && n > 0 {
		// Where the kernel put it, it doesn't tell; the end is right as long as nobody else appends.
		if end, err := f.size(); err == nil {
			f.offset = end
		}
	}
	return n, f.failed("write", err)
}

// WriteString implements io.StringWriter.
func (f *File) WriteString(s string) (int, error) {
	return f.Write(unsafe.Slice(unsafe.StringData(s), len(s)))
}

// WriteAt implements io.WriterAt. A File that appends refuses.
func (f *File) WriteAt(p []byte, offset int64) (int, error) {
	switch {
	case offset < 0:
		return 0, f.failed("write", errNegative)
	case f.appends:
		return 0, f.failed("write", errAppends)
	}
	n, err := f.write(p, offset)
	return n, f.failed("write", err)
}

// write writes all of p.
func (f *File) write(p []byte, offset int64) (n int, err error) {
	if !f.acquire() {
		return 0, fs.ErrClosed
	}
	defer f.release()
	for n < len(p) && err == nil {
		var m int
		m, err = retry(func() (int, error) { return f.pwrite(p[n:], offset) })
		if m == 0 && err == nil {
			err = io.ErrUnexpectedEOF
		}
		n += m
		offset += int64(m)
	}
	return n, err
}

// pwrite appends or doesn't, as it was when the File was made, whatever O_APPEND says now.
func (f *File) pwrite(p []byte, offset int64) (int, error) {
	if !f.old.Load() {
		how := unix.RWF_NOAPPEND
		if f.appends {
			how = unix.RWF_APPEND
		}
		n, err := pwritev2(f.fd, p, offset, how)
		if !lacking(err) {
			return n, err
		}
		f.old.Store(true)
	}
	flags, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0)
	if err == nil && (flags&unix.O_APPEND != 0) != f.appends {
		err = errFlipped
	}
	if err != nil {
		return 0, err
	}
	return unix.Pwrite(f.fd, p, offset)
}

func lacking(err error) bool {
	return err != nil && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS))
}

func pwritev2(fd int, p []byte, offset int64, flags int) (int, error) {
	return unix.Pwritev2(fd, [][]byte{p}, offset, flags)
}

// Seek implements io.Seeker for the File's own offset. SEEK_DATA and SEEK_HOLE are refused: the kernel offers them only
// together with moving the shared offset.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var base int64
	var err error
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		base = f.offset
	case io.SeekEnd:
		base, err = f.size()
	default:
		err = unix.EINVAL
	}
	if err == nil && !f.open() {
		err = fs.ErrClosed
	}
	if err == nil && (offset > 0 && base > math.MaxInt64-offset || base+offset < 0) {
		err = unix.EINVAL
	}
	if err != nil {
		return 0, f.failed("seek", err)
	}
	f.offset = base + offset
	return f.offset, nil
}

func (f *File) size() (int64, error) {
	if !f.acquire() {
		return 0, fs.ErrClosed
	}
	defer f.release()
	return sizeOf(f.fd)
}

// sizeOf asks without moving: lseek to the end would move the shared offset.
func sizeOf(fd int) (size int64, err error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return stat.Size, err
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, errno
	}
	return size, nil
}

// closeOnce closes; on Linux a signal that interrupts close leaves nothing to close again.
func closeOnce(fd int) error {
	if err := unix.Close(fd); err != unix.EINTR {
		return err
	}
	return nil
}

// retry repeats a call that a signal interrupted before it did anything.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}
