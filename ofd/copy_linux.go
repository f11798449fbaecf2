package ofd

import (
	"errors"
	"io"
	"math"
	"os"
	"reflect"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A step copies at most max bytes within the kernel and moves the File's own offset. Where the kernel can't, it returns
// an error, and nothing has happened.
type step func(max int) (int, error)

// copyChunk bounds a call within the kernel, which no signal ends.
const copyChunk = 1 << 30

// sendChunk is less, because a socket takes what fits its buffer.
const sendChunk = 4 << 20

// WriteTo implements io.WriterTo. To another File, an *os.File or a TCP or UNIX connection the bytes go within the
// kernel where that can be done (copy_file_range(2), sendfile(2)).
func (f *File) WriteTo(w io.Writer) (int64, error) {
	n, done, err := f.copyTo(w, math.MaxInt64)
	if done {
		return n, err
	}
	m, err := io.Copy(w, onlyReader{f})
	return n + m, err
}

// ReadFrom implements io.ReaderFrom. From another File or an *os.File the bytes go within the kernel where that can be
// done.
func (f *File) ReadFrom(r io.Reader) (int64, error) {
	var n int64
	limited, rest := &io.LimitedReader{R: r, N: math.MaxInt64}, r
	if given, ok := r.(*io.LimitedReader); ok {
		limited = given
	}
	n, done, err := f.copyFrom(limited.R, limited.N)
	limited.N -= n
	if done {
		return n, err
	}
	m, err := io.Copy(onlyWriter{f}, onlyReader{rest})
	return n + m, err
}

// onlyReader and onlyWriter hide the methods that would come back here.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

// copyTo copies within the kernel as far as it goes. It is done at the end, at an error of the writer's side, or at the
// limit; what is left otherwise must be read and written.
func (f *File) copyTo(w io.Writer, limit int64) (n int64, done bool, err error) {
	switch to := w.(type) {
	case *File:
		return loop(limit, copyChunk, func(max int) (int, error) { return copyFiles(to, f, max) })
	case *os.File:
		return overConn(to, limit, copyChunk, f.toFile)
	case syscall.Conn: // of package net, unless somebody has one of his own
		if isStream(to) {
			return overConn(to, limit, sendChunk, f.toSocket)
		}
	}
	return 0, false, nil
}

// isStream reports whether there is a stream socket behind: datagrams have boundaries that sendfile(2) doesn't know.
func isStream(conn syscall.Conn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var kind int
	if raw.Control(func(fd uintptr) { kind, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE) }) != nil {
		return false
	}
	return err == nil && kind == unix.SOCK_STREAM
}

// overConn runs the steps on a descriptor of the net or os package, which waits until it can take more.
func overConn(to syscall.Conn, limit int64, chunk int, send func(fd, max int) (int, error)) (int64, bool, error) {
	raw, err := to.SyscallConn()
	if err != nil {
		return 0, false, nil
	}
	return loop(limit, chunk, func(max int) (n int, err error) {
		waitErr := raw.Write(func(fd uintptr) bool {
			n, err = retry(func() (int, error) { return send(int(fd), max) })
			return err != unix.EAGAIN
		})
		if waitErr != nil {
			return 0, &waitError{waitErr}
		}
		return n, err
	})
}

// waitError is what waiting for the other side ended in, a deadline for example: trying it otherwise won't help.
type waitError struct{ error }

func loop(limit int64, chunk int, s step) (total int64, done bool, err error) {
	for total < limit {
		n, err := s(int(min(limit-total, int64(chunk))))
		total += int64(n)
		var wait *waitError
		switch {
		case errors.As(err, &wait):
			return total, true, wait.error
		case err != nil:
			// Reading and writing will do it, or say what is wrong.
			return total, false, nil
		case n == 0:
			// The files of /proc have no size, and copying ends before it begins: only reading tells.
			return total, total > 0, nil
		}
	}
	return total, true, nil
}

// toFile copies to a descriptor that keeps an offset in its description.
func (f *File) toFile(fd, max int) (int, error) {
	return f.stepping(func(offset *int64) (int, error) { return unix.CopyFileRange(f.fd, offset, fd, nil, max, 0) })
}

func (f *File) toSocket(fd, max int) (int, error) {
	return f.stepping(func(offset *int64) (int, error) { return unix.Sendfile(fd, f.fd, offset, max) })
}

// stepping makes one call that moves an offset, the File's own.
func (f *File) stepping(call func(offset *int64) (int, error)) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.acquire() {
		return 0, os.ErrClosed
	}
	defer f.release()
	offset := f.offset
	n, err := call(&offset)
	n = max(n, 0)
	f.offset += int64(n)
	return n, err
}

// copyFiles copies between two Files. Whoever locks two of them takes the lower address first.
func copyFiles(to, from *File, max int) (int, error) {
	if to == from || to.appends {
		return 0, unix.EINVAL
	}
	first, second := to, from
	if uintptr(unsafe.Pointer(first)) > uintptr(unsafe.Pointer(second)) {
		first, second = second, first
	}
	var n int
	_, err := first.stepping(func(*int64) (int, error) {
		var err error
		n, err = second.stepping(func(*int64) (int, error) { return copyRange(to, from, max) })
		return n, err
	})
	return n, err
}

func copyRange(to, from *File, max int) (int, error) {
	in, out := from.offset, to.offset
	return retry(func() (int, error) { return unix.CopyFileRange(from.fd, &in, to.fd, &out, max, 0) })
}

func (f *File) copyFrom(r io.Reader, limit int64) (n int64, done bool, err error) {
	if f.appends {
		return 0, false, nil
	}
	if from, ok := r.(*File); ok {
		return loop(limit, copyChunk, func(max int) (int, error) { return copyFiles(f, from, max) })
	}
	from, ok := r.(syscall.Conn)
	if !ok || !ofPackageOS(r) {
		return 0, false, nil
	}
	raw, err := from.SyscallConn()
	if err != nil {
		return 0, false, nil
	}
	return loop(limit, copyChunk, func(max int) (n int, err error) {
		waitErr := raw.Read(func(fd uintptr) bool {
			n, err = f.stepping(func(offset *int64) (int, error) {
				return retry(func() (int, error) { return unix.CopyFileRange(int(fd), nil, f.fd, offset, max, 0) })
			})
			return true
		})
		if waitErr != nil {
			return 0, &waitError{waitErr}
		}
		return n, err
	})
}

// ofPackageOS reports whether package os made the type: an *os.File, or what its WriteTo hides one in. Any other type
// that has the method, by embedding a file for example, may read something else than the file's bytes.
func ofPackageOS(r io.Reader) bool {
	t := reflect.TypeOf(r)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath() == "os"
}
