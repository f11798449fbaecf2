package ofd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrTruncated says that a mapped file became shorter than the bytes that were asked for.
var ErrTruncated = fmt.Errorf("the file was truncated: %w", io.ErrUnexpectedEOF)

// A Map is a file mapped for reading (mmap(2)), in the length that it had then. When somebody truncates the file, reading
// what is gone gives ErrTruncated, and an I/O error gives EIO, where the program would die of SIGBUS otherwise. It can be
// used by many goroutines at once.
type Map struct {
	handle
	file *File
	data []byte
}

// Map maps the file for reading. The Map is the caller's to close, and keeps the descriptor open until then.
func (f *File) Map() (*Map, error) {
	if !f.acquire() {
		return nil, f.failed("map", fs.ErrClosed)
	}
	m := &Map{file: f}
	m.end = m.unmap
	if err := m.begin(); err != nil {
		f.release()
		return nil, f.failed("map", err)
	}
	return m, nil
}

func (m *Map) begin() error {
	size, err := sizeOf(m.file.fd)
	if err != nil || size == 0 {
		return err
	}
	if size > math.MaxInt {
		return unix.EFBIG
	}
	m.data, err = unix.Mmap(m.file.fd, 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	return err
}

func (m *Map) unmap() error {
	defer m.file.release()
	if m.data == nil {
		return nil
	}
	return unix.Munmap(m.data)
}

// Close ends the mapping, behind the last reader that is under way.
func (m *Map) Close() error { return m.file.failed("unmap", m.close()) }

// Len is the length of the mapping: that of the file when it was made.
func (m *Map) Len() int64 { return int64(len(m.data)) }

// ReadAt implements io.ReaderAt.
func (m *Map) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, m.file.failed("read", errNegative)
	}
	if !m.acquire() {
		return 0, m.file.failed("read", fs.ErrClosed)
	}
	defer m.release()
	source := m.data[min(offset, m.Len()):]
	n, err := m.copy(p[:min(len(p), len(source))], source, offset)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, m.file.failed("read", err)
}

// tries bounds how often copy begins anew: a file that somebody keeps truncating and extending can't hold it for ever.
const tries = 16

// copy copies what there is. When the file has become shorter than that, it begins anew with what is left, because
// nobody knows how far the first try came.
func (m *Map) copy(p, source []byte, offset int64) (n int, err error) {
	n = len(p)
	for range tries {
		left, problem := m.look(source[:n], offset, func(source []byte) { copy(p, source) })
		switch {
		case problem == nil:
			return n, err
		case !errors.Is(problem, ErrTruncated):
			return 0, problem
		case left < int64(n):
			n, err = int(left), problem
		}
	}
	return 0, ErrTruncated
}

// View calls see with the bytes from offset on, length of them, without copying; they must not be used once see has
// returned, nor in another goroutine, nor be written to. When the file is truncated meanwhile, see is ended at its first
// access to what is gone, by a panic that runs its deferred calls and no further, or its result is disregarded: the error
// is then ErrTruncated. Bytes outside the mapping are io.ErrUnexpectedEOF.
func (m *Map) View(offset, length int64, see func(p []byte) error) error {
	if offset < 0 || length < 0 {
		return m.file.failed("view", errNegative)
	}
	if !m.acquire() {
		return m.file.failed("view", fs.ErrClosed)
	}
	defer m.release()
	if offset > m.Len() || length > m.Len()-offset {
		return m.file.failed("view", io.ErrUnexpectedEOF)
	}
	end := offset + length
	var seen error
	if _, err := m.look(m.data[offset:end:end], offset, func(p []byte) { seen = see(p) }); err != nil {
		return m.file.failed("view", err)
	}
	return seen
}

// look lets see look at bytes of the mapping that begin at the offset. When some of them are gone it returns how many
// are left, and ErrTruncated.
func (m *Map) look(p []byte, offset int64, see func(p []byte)) (left int64, err error) {
	fault := m.faults(func() { see(p) })
	// What is gone of the last page faults nowhere, it reads as zeros: only the length tells, and only afterwards.
	size, err := sizeOf(m.file.fd)
	if err != nil {
		return 0, err
	}
	left = min(int64(len(p)), max(size-offset, 0))
	switch {
	case left < int64(len(p)):
		return left, ErrTruncated
	case fault >= 0:
		return left, m.cause(fault)
	}
	return left, nil
}

// cause tells an I/O error from a truncation that has been undone meanwhile, for a fault at an offset.
func (m *Map) cause(offset int64) error {
	_, err := retry(func() (int, error) { return unix.Pread(m.file.fd, make([]byte, 1), offset) })
	if err == nil || errors.Is(err, unix.EINVAL) { // O_DIRECT takes no single bytes
		return ErrTruncated
	}
	return err
}

// faults runs do and returns the offset of the fault in the mapping that ended it, or -1. Other panics go on.
func (m *Map) faults(do func()) (offset int64) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		thrown := recover()
		if thrown == nil {
			return
		}
		fault, ok := thrown.(interface{ Addr() uintptr })
		if !ok || !m.covers(fault.Addr()) {
			panic(thrown)
		}
		offset = int64(fault.Addr() - m.address())
	}()
	do()
	return -1
}

func (m *Map) covers(address uintptr) bool {
	return m.data != nil && address >= m.address() && address-m.address() < uintptr(len(m.data))
}

func (m *Map) address() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(m.data))) }
