package ofd

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func newMap(t testing.TB, path string) *Map {
	t.Helper()
	m, err := newFile(t, path, unix.O_RDONLY).Map()
	must(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

func TestMapReads(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	m := newMap(t, fileWith(t, string(content)))
	must(t, iotest.TestReader(io.NewSectionReader(m, 0, m.Len()), content))
	if _, err := m.ReadAt(make([]byte, 1), -1); !errors.Is(err, errNegative) {
		t.Errorf("negative: %v", err)
	}
	if n, err := m.ReadAt(make([]byte, 1), 1<<40); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d, %v", n, err)
	}
	err := m.View(5, 3, func(p []byte) error {
		if string(p) != "567" || cap(p) != 3 {
			t.Errorf("%q, %d", p, cap(p))
		}
		return fs.ErrExist
	})
	if err != fs.ErrExist {
		t.Errorf("what see returns: %v", err)
	}
	for _, c := range [][2]int64{{-1, 1}, {0, -1}, {0, m.Len() + 1}, {m.Len() + 1, 0}, {1, 1<<63 - 1}} {
		if err := m.View(c[0], c[1], func([]byte) error { t.Error("called"); return nil }); err == nil {
			t.Errorf("%v: no error", c)
		}
	}
}

func TestMapOfNothing(t *testing.T) {
	m := newMap(t, fileWith(t, ""))
	if n, err := m.ReadAt(make([]byte, 1), 0); n != 0 || err != io.EOF || m.Len() != 0 {
		t.Errorf("%d, %v", n, err)
	}
	must(t, m.View(0, 0, func(p []byte) error { return nil }))
}

// TestMapTruncated has another process truncate the file: within a page, and by whole pages.
func TestMapTruncated(t *testing.T) {
	const size = 10 * 4096
	content := bytes.Repeat([]byte("m"), size)
	file, err := os.OpenFile(fileWith(t, string(content)), os.O_RDWR, 0)
	must(t, err)
	number(t, file)
	child := startOther(t, file)
	m := newMap(t, file.Name())
	p := make([]byte, size)

	must(t, file.Truncate(size-5000))
	n, err := m.ReadAt(p, 0)
	if n != size-5000 || !errors.Is(err, ErrTruncated) || !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Equal(p[:n], content[:n]) {
		t.Errorf("cut within a page: %d, %v", n, err)
	}
	// The rest of the last page isn't gone for the processor: zeros, no fault.
	if n, err = m.ReadAt(p[:10], size-5000); n != 0 || !errors.Is(err, ErrTruncated) {
		t.Errorf("the rest of the page: %d, %v", n, err)
	}
	if n, err = m.ReadAt(p[:100], size-5050); n != 50 || !errors.Is(err, ErrTruncated) {
		t.Errorf("across the end: %d, %v", n, err)
	}
	if n, err = m.ReadAt(p[:100], 0); n != 100 || err != nil {
		t.Errorf("what is there: %d, %v", n, err)
	}

	child.does(t, "truncate")
	if n, err = m.ReadAt(p, 0); n != 0 || !errors.Is(err, ErrTruncated) {
		t.Errorf("all is gone: %d, %v", n, err)
	}
	deferred, ended := false, true
	err = m.View(0, size, func(p []byte) error {
		defer func() { deferred = true }()
		bytes.Count(p, []byte("m"))
		ended = false
		return nil
	})
	if !errors.Is(err, ErrTruncated) || !deferred || !ended {
		t.Errorf("View: %v, %v, %v", err, deferred, ended)
	}
	must(t, file.Truncate(size))
	if n, err = m.ReadAt(p, 0); n != size || err != nil || !bytes.Equal(p, make([]byte, size)) {
		t.Errorf("grown again: %d, %v", n, err)
	}
	if debug.SetPanicOnFault(false) {
		t.Error("faults still panic")
	}
}

// TestMapOtherPanics go through: neither a program's own nor a fault elsewhere is a truncation.
func TestMapOtherPanics(t *testing.T) {
	m := newMap(t, fileWith(t, "content"))
	thrown := func(do func()) (r any) {
		defer func() { r = recover() }()
		m.View(0, 7, func([]byte) error { do(); return nil })
		return nil
	}
	if r := thrown(func() { panic("mine") }); r != "mine" {
		t.Errorf("%v", r)
	}
	other := newMap(t, fileWith(t, strings.Repeat("o", 8192)))
	must(t, os.Truncate(other.file.Name(), 0))
	if _, ok := thrown(func() { _ = bytes.Count(other.data, []byte("o")) }).(interface{ Addr() uintptr }); !ok {
		t.Error("a fault in another mapping was taken for ours")
	}
	if !m.acquire() {
		t.Fatal("the Map is closed")
	}
	m.release()
}

// TestMapConcurrently has readers at work while the file shrinks and grows, and the Map is closed under them.
func TestMapConcurrently(t *testing.T) {
	const size = 64 << 10
	content := strings.Repeat("m", size)
	for range 20 {
		path := fileWith(t, content)
		f := newFile(t, path, unix.O_RDONLY)
		m, err := f.Map()
		must(t, err)
		must(t, f.Close()) // the Map has it as long as it needs it
		var group sync.WaitGroup
		var whole, cut atomic.Int64
		for range 4 {
			group.Go(func() {
				for p := make([]byte, size); ; {
					n, err := m.ReadAt(p, 0)
					switch {
					case errors.Is(err, fs.ErrClosed):
						return
					case errors.Is(err, ErrTruncated):
						cut.Add(1)
					case err == nil && n == size:
						whole.Add(1)
					default:
						t.Errorf("%d, %v", n, err)
						return
					}
				}
			})
			group.Go(func() {
				for {
					err := m.View(0, size, func(p []byte) error { bytes.IndexByte(p, 'x'); return nil })
					if errors.Is(err, fs.ErrClosed) {
						return
					}
					if err != nil && !errors.Is(err, ErrTruncated) {
						t.Error(err)
						return
					}
				}
			})
		}
		for range 50 {
			must(t, os.Truncate(path, 100))
			must(t, os.Truncate(path, size))
		}
		must(t, m.Close())
		group.Wait()
		if _, err := m.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		if !errors.Is(m.Close(), fs.ErrClosed) {
			t.Error("closed twice")
		}
	}
}

// TestMapOfBlockDevice maps what has its size elsewhere.
func TestMapOfBlockDevice(t *testing.T) {
	proctest.NeedRoot(t)
	f, err := NewFile(dup(t, blockDevice(t)), "loop")
	must(t, err)
	m, err := f.Map()
	must(t, err)
	defer m.Close()
	p := make([]byte, 4)
	if n, err := m.ReadAt(p, 1<<20-4); n != 4 || err != nil || string(p) != "cdef" {
		t.Errorf("%d, %v, %q", n, err, p)
	}
}
