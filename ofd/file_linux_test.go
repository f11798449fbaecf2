package ofd

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

// newFile opens a File; the test ends with it closed.
func newFile(t testing.TB, path string, flags int) *File {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	must(t, err)
	f, err := NewFile(fd, path)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func TestFileIsAReader(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	must(t, iotest.TestReader(newFile(t, fileWith(t, string(content)), unix.O_RDONLY), content))
}

// fileSystem gives Files for files, and leaves directories to package os.
type fileSystem struct{ root string }

func (s fileSystem) Open(name string) (fs.File, error) {
	f, err := os.DirFS(s.root).Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return f, err
	}
	return TakeFile(f.(*os.File))
}

func TestFileIsAnFSFile(t *testing.T) {
	root := t.TempDir()
	must(t, os.Mkdir(filepath.Join(root, "sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "sub", "file"), []byte("content"), 0o640))
	must(t, os.WriteFile(filepath.Join(root, "empty"), nil, 0o4750))
	must(t, os.Chmod(filepath.Join(root, "empty"), 0o750|fs.ModeSetuid|fs.ModeSticky))
	must(t, fstest.TestFS(fileSystem{root}, "sub/file", "empty"))
}

// TestFileTakes sees what is refused, by which name, and who owns the descriptor then.
func TestFileTakes(t *testing.T) {
	sockets, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(sockets[0])
	defer unix.Close(sockets[1])
	r, _ := pipe(t, 0)
	_, slave := pty(t)
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	must(t, err)
	defer unix.Close(event)
	cases := []struct {
		fd    int
		errno error
		word  string
	}{
		{r, unix.ESPIPE, "a pipe"},
		{sockets[0], unix.ESPIPE, "a socket"},
		{slave, unix.ESPIPE, "a terminal"},
		{event, unix.ESPIPE, "an anonymous inode"},
		{open(t, t.TempDir(), unix.O_RDONLY), unix.EISDIR, "is a directory"},
		{1 << 20, unix.EBADF, "bad file descriptor"},
		{open(t, fileWith(t, ""), unix.O_PATH), unix.EBADF, "bad file descriptor"},
	}
	for _, c := range cases {
		f, err := NewFile(c.fd, "given")
		if f != nil || !errors.Is(err, c.errno) || !strings.Contains(err.Error(), c.word) || !strings.Contains(err.Error(), "given") {
			t.Errorf("descriptor %d: %v, want %v, %q", c.fd, err, c.errno, c.word)
		}
	}
	if _, err := unix.FcntlInt(uintptr(r), unix.F_GETFD, 0); err != nil {
		t.Errorf("what was refused was closed: %v", err)
	}
	pr, pw, err := os.Pipe()
	must(t, err)
	defer pr.Close()
	defer pw.Close()
	count := openDescriptors(t)
	if _, err := TakeFile(pr); !errors.Is(err, unix.ESPIPE) || openDescriptors(t) != count {
		t.Errorf("TakeFile of a pipe: %v", err)
	}
	if _, err := pr.Stat(); err != nil {
		t.Errorf("what was refused was closed: %v", err)
	}
	file, err := os.Open(fileWith(t, "content"))
	must(t, err)
	f, err := TakeFile(file)
	must(t, err)
	if _, err := file.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("what was taken is still open: %v", err)
	}
	must(t, f.Close())
	if _, err := TakeFile(file); !errors.Is(err, os.ErrClosed) {
		t.Errorf("TakeFile of a closed file: %v", err)
	}
}

// TestFileBeginsWhereSharedOffsetStands and then each goes its way.
func TestFileOffsets(t *testing.T) {
	shared := open(t, fileWith(t, "0123456789"), unix.O_RDWR)
	must(t, seekTo(shared, 3))
	f, err := NewFile(dup(t, shared), "file")
	must(t, err)
	var p [2]byte
	_, err = f.Read(p[:])
	must(t, err)
	if string(p[:]) != "34" {
		t.Errorf("read %q", p)
	}
	_, err = f.WriteString("XY")
	must(t, err)
	if at, err := f.Seek(0, io.SeekCurrent); at != 7 || err != nil {
		t.Errorf("own offset %d, %v", at, err)
	}
	if at, err := f.Seek(-1, io.SeekEnd); at != 9 || err != nil {
		t.Errorf("own offset from the end %d, %v", at, err)
	}
	if at, err := offsetOf(shared); at != 3 || err != nil {
		t.Errorf("shared offset %d, %v", at, err)
	}
	for _, c := range []struct {
		offset int64
		whence int
	}{{-1, io.SeekStart}, {-11, io.SeekEnd}, {math.MaxInt64, io.SeekCurrent}, {0, 3}, {0, 4}, {0, -1}} {
		if _, err := f.Seek(c.offset, c.whence); !errors.Is(err, unix.EINVAL) {
			t.Errorf("Seek(%d, %d): %v", c.offset, c.whence, err)
		}
	}
	if _, err := f.ReadAt(p[:], -1); !errors.Is(err, errNegative) {
		t.Errorf("ReadAt(-1): %v", err)
	}
	if _, err := f.WriteAt(p[:], -1); !errors.Is(err, errNegative) {
		t.Errorf("WriteAt(-1): %v", err)
	}
}

// TestAccidents has another process do to the shared description what it does by accident, and sees that a File
// doesn't notice. (Each accident is first seen to happen to the bare descriptor.)
func TestAccidentsWithFile(t *testing.T) {
	for _, old := range []bool{false, true} {
		t.Run(fmt.Sprintf("old=%v", old), func(t *testing.T) {
			path := fileWith(t, "0123456789")
			file, err := os.OpenFile(path, os.O_RDWR, 0)
			must(t, err)
			fd := number(t, file)
			child := startOther(t, file)
			f, err := NewFile(dup(t, fd), path)
			must(t, err)
			f.old.Store(old)

			child.does(t, "read") // moves the offset
			if at, _ := offsetOf(fd); at != 3 {
				t.Fatalf("the accident didn't happen: offset %d", at)
			}
			var p [2]byte
			if _, err := f.Read(p[:]); err != nil || string(p[:]) != "01" {
				t.Errorf("after the other read: %q, %v", p, err)
			}

			child.does(t, "append")
			if n, err := unix.Pwrite(fd, []byte("!"), 0); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			if got, _ := os.ReadFile(path); string(got) != "0123456789!" {
				t.Fatalf("the accident didn't happen: %q", got)
			}
			_, err = f.Write([]byte("ab"))
			_, err2 := f.WriteAt([]byte("c"), 9)
			got, _ := os.ReadFile(path)
			if f.old.Load() != old {
				proctest.Skip(t, "RWF_NOAPPEND (Linux 6.9)")
			}
			switch {
			case old && (!errors.Is(err, errFlipped) || !errors.Is(err2, errFlipped) || string(got) != "0123456789!"):
				t.Errorf("an old kernel: %q, %v, %v", got, err, err2)
			case !old && (err != nil || err2 != nil || string(got) != "01ab45678c!"):
				t.Errorf("after the other set O_APPEND: %q, %v, %v", got, err, err2)
			}
		})
	}
}

// TestAppending sees what Linux does with O_APPEND, and that a File says so.
func TestAppending(t *testing.T) {
	for _, old := range []bool{false, true} {
		path := fileWith(t, "0123456789")
		f := newFile(t, path, unix.O_RDWR|unix.O_APPEND)
		f.old.Store(old)
		if n, err := unix.Pwrite(f.fd, []byte("A"), 2); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if _, err := f.WriteAt([]byte("x"), 2); !errors.Is(err, errAppends) {
			t.Errorf("WriteAt: %v", err)
		}
		if n, err := f.Write([]byte("BC")); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		if at, err := f.Seek(0, io.SeekCurrent); at != 13 || err != nil {
			t.Errorf("offset %d, %v", at, err)
		}
		if n, err := f.ReadFrom(strings.NewReader("D")); n != 1 || err != nil {
			t.Errorf("ReadFrom: %d, %v", n, err)
		}
		if got, _ := os.ReadFile(path); string(got) != "0123456789ABCD" {
			t.Errorf("%q", got)
		}
		// Another holder clears it.
		must(t, setFlags(f.fd, 0))
		_, err := f.Seek(0, io.SeekStart)
		must(t, err)
		_, err = f.Write([]byte("E"))
		want := "0123456789ABCDE"
		if old {
			want = "0123456789ABCD"
		}
		if got, _ := os.ReadFile(path); string(got) != want || errors.Is(err, errFlipped) != old {
			t.Errorf("old %v: %q, %v", old, got, err)
		}
	}
}

// TestAgainstOS does the same random operations to a File and to an *os.File on a copy, and compares every answer.
func TestAgainstOS(t *testing.T) {
	for _, flags := range []int{os.O_RDWR, os.O_RDWR | os.O_APPEND, os.O_RDONLY, os.O_WRONLY} {
		t.Run(fmt.Sprintf("%#x", flags), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed(t), uint64(flags)))
			mine, theirs := fileWith(t, "0123456789"), fileWith(t, "0123456789")
			f := newFile(t, mine, flags)
			o, err := os.OpenFile(theirs, flags, 0)
			must(t, err)
			defer o.Close()
			source, target := fileWith(t, ""), fileWith(t, "")
			for i := range 1000 {
				name, got, want := randomOperation(t, random, f, o, source, target)
				if got != want {
					t.Fatalf("operation %d, %s:\ngot  %s\nwant %s", i, name, got, want)
				}
			}
			a, err := os.ReadFile(mine)
			must(t, err)
			b, err := os.ReadFile(theirs)
			must(t, err)
			if !bytes.Equal(a, b) {
				t.Error("the files differ")
			}
		})
	}
}

// both is what File and *os.File have in common.
type both interface {
	fs.File
	io.ReadWriteSeeker
	io.ReaderAt
	io.WriterAt
	io.ReaderFrom
	io.WriterTo
	io.StringWriter
}

// randomOperation does one to both; source and target are there to copy from and to.
func randomOperation(t *testing.T, random *rand.Rand, f *File, o *os.File, source, target string) (name, got, want string) {
	size, offset := 1+random.IntN(6000), int64(random.IntN(20000))
	whence, data := random.IntN(3), bytes.Repeat([]byte{byte(random.IntN(256))}, size)
	must(t, os.WriteFile(source, data, 0o600))
	operations := []struct {
		name string
		do   func(b both) string
	}{
		{"Read", func(b both) string {
			p := make([]byte, size)
			n, err := b.Read(p)
			return outcome(n, err, p[:n])
		}},
		{"ReadAt", func(b both) string {
			p := make([]byte, size)
			n, err := b.ReadAt(p, offset)
			return outcome(n, err, p[:n])
		}},
		{"Write", func(b both) string {
			n, err := b.Write(data)
			return outcome(n, err, nil)
		}},
		{"WriteString", func(b both) string {
			n, err := b.WriteString(string(data))
			return outcome(n, err, nil)
		}},
		{"WriteAt", func(b both) string {
			n, err := b.WriteAt(data, offset)
			return outcome(n, err, nil)
		}},
		{"Seek", func(b both) string {
			n, err := b.Seek(offset-5000, whence)
			return outcome(n, err, nil)
		}},
		{"ReadFrom", func(b both) string {
			n, err := b.ReadFrom(bytes.NewReader(data))
			return outcome(n, err, nil)
		}},
		{"ReadFrom a file", func(b both) string {
			from, err := os.Open(source)
			must(t, err)
			defer from.Close()
			n, err := b.ReadFrom(io.LimitReader(from, int64(size/2)))
			left, _ := io.ReadAll(from)
			if err != nil {
				left = nil // how much was read in vain is nobody's promise
			}
			return outcome(n, err, left)
		}},
		{"WriteTo", func(b both) string {
			var buffer bytes.Buffer
			n, err := b.WriteTo(&buffer)
			return outcome(n, err, buffer.Bytes())
		}},
		{"WriteTo a file", func(b both) string {
			to, err := os.Create(target)
			must(t, err)
			defer to.Close()
			n, err := b.WriteTo(to)
			written, _ := os.ReadFile(to.Name())
			return outcome(n, err, written)
		}},
		{"Stat", func(b both) string {
			info, err := b.Stat()
			must(t, err)
			return fmt.Sprint(info.Size(), info.Mode(), info.IsDir(), info.Name())
		}},
	}
	op := operations[random.IntN(len(operations))]
	return op.name, op.do(f), op.do(o)
}

// outcome is what a call said, with errors reduced to what a caller may branch on.
func outcome(n any, err error, data []byte) string {
	var kind string
	var errno unix.Errno
	switch {
	case err == nil || err == io.EOF:
		kind = fmt.Sprint(err)
	case errors.As(err, &errno):
		kind = errno.Error()
	default:
		kind = "error"
	}
	return fmt.Sprintf("%v, %s, %d bytes %08x", n, kind, len(data), crc32.ChecksumIEEE(data))
}

func TestFileOfBlockDevice(t *testing.T) {
	proctest.NeedRoot(t)
	fd := blockDevice(t)
	f, err := NewFile(dup(t, fd), "loop")
	must(t, err)
	if at, err := f.Seek(-4, io.SeekEnd); at != 1<<20-4 || err != nil {
		t.Fatalf("%d, %v", at, err)
	}
	rest, err := io.ReadAll(f)
	if string(rest) != "cdef" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	if info, err := f.Stat(); err != nil || info.Mode()&fs.ModeDevice == 0 {
		t.Errorf("%v, %v", info, err)
	}
	if at, err := offsetOf(fd); at != 0 || err != nil {
		t.Errorf("shared offset %d, %v", at, err)
	}
}

// TestLargestOffsets works at the very end of what an offset can say; a memfd goes that far.
func TestLargestOffsets(t *testing.T) {
	f, err := NewFile(dup(t, memfd(t, "")), "memfd")
	must(t, err)
	const last = math.MaxInt64 - 1
	if n, err := f.WriteAt([]byte("z"), last); n != 1 || err != nil {
		t.Fatalf("the last byte: %d, %v", n, err)
	}
	p := make([]byte, 10)
	if n, err := f.ReadAt(p, last); n != 1 || p[0] != 'z' || err != io.EOF {
		t.Errorf("read the last byte: %d, %q, %v", n, p, err)
	}
	if n, err := f.ReadAt(p, math.MaxInt64); n != 0 || err != io.EOF {
		t.Errorf("read behind it: %d, %v", n, err)
	}
	if at, err := f.Seek(0, io.SeekEnd); at != math.MaxInt64 || err != nil {
		t.Errorf("seek to the end: %d, %v", at, err)
	}
	if n, err := f.Write([]byte("y")); n != 0 || !(errors.Is(err, unix.EFBIG) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOVERFLOW)) {
		t.Errorf("write behind the end: %d, %v", n, err)
	}
	if _, err := f.Seek(1, io.SeekCurrent); !errors.Is(err, unix.EINVAL) {
		t.Errorf("seek behind the end: %v", err)
	}
	if _, err := f.Seek(last, io.SeekStart); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(f); string(rest) != "z" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestDiskFull(t *testing.T) {
	proctest.NeedRoot(t)
	dir := t.TempDir()
	must(t, unix.Mount("none", dir, "tmpfs", 0, "size=64k"))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	path := filepath.Join(dir, "file")
	f := newFile(t, path, unix.O_RDWR|unix.O_CREAT)
	data := bytes.Repeat([]byte("0123456789abcdef"), 8192)
	n, err := f.Write(data)
	if n != 64<<10 || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Write: %d, %v", n, err)
	}
	if at, err := f.Seek(0, io.SeekCurrent); at != int64(n) || err != nil {
		t.Errorf("offset %d, %v", at, err)
	}
	if n, err := f.WriteAt(data[:10], 64<<10-5); n != 5 || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("WriteAt: %d, %v", n, err)
	}
	must(t, f.Control(func(fd int) error { return unix.Ftruncate(fd, 0) }))
	_, err = f.Seek(0, io.SeekStart)
	must(t, err)
	source, err := os.Open(fileWith(t, string(data)))
	must(t, err)
	defer source.Close()
	m, err := f.ReadFrom(source)
	if m != 64<<10 || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("ReadFrom: %d, %v", m, err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, data[:64<<10]) {
		t.Error("what was written isn't there")
	}
}

// TestClosed sees that every method of a closed File says so.
func TestClosed(t *testing.T) {
	f := newFile(t, fileWith(t, "content"), unix.O_RDWR)
	must(t, f.Close())
	p := make([]byte, 4)
	_, err1 := f.Read(p)
	_, err2 := f.ReadAt(p, 0)
	_, err3 := f.Write(p)
	_, err4 := f.WriteAt(p, 0)
	_, err5 := f.Seek(0, io.SeekStart)
	_, err6 := f.Seek(0, io.SeekEnd)
	_, err7 := f.Stat()
	_, err8 := f.WriteTo(io.Discard)
	_, err9 := f.ReadFrom(strings.NewReader("x"))
	err10 := f.Control(func(int) error { return nil })
	_, err11 := f.Map()
	for i, err := range []error{err1, err2, err3, err4, err5, err6, err7, err8, err9, err10, err11, f.Close()} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%d: %v", i+1, err)
		}
	}
}

// TestCloseWhileInUse closes under many readers: none may ever read from a file that got the number afterwards.
func TestCloseWhileInUse(t *testing.T) {
	path, stranger := fileWith(t, strings.Repeat("m", 4096)), fileWith(t, strings.Repeat("s", 4096))
	for range 200 {
		f := newFile(t, path, unix.O_RDONLY)
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for p := make([]byte, 64); ; {
					n, err := f.ReadAt(p, 0)
					if errors.Is(err, fs.ErrClosed) {
						return
					}
					if err != nil || n != 64 || p[0] != 'm' {
						t.Errorf("%d, %v, %q", n, err, p[0])
						return
					}
				}
			})
		}
		must(t, f.Close())
		fd, err := unix.Open(stranger, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		must(t, err)
		group.Wait()
		unix.Close(fd)
		if _, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFD, 0); err == nil && f.fd != fd {
			t.Fatal("the last user didn't close the descriptor")
		}
	}
}

// TestConcurrentWriters write at one File's offset: nothing overlaps, nothing is lost.
func TestConcurrentUse(t *testing.T) {
	path := fileWith(t, "")
	f := newFile(t, path, unix.O_RDWR)
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for range 100 {
				if n, err := f.Write(bytes.Repeat([]byte{'a' + byte(w)}, 10)); n != 10 || err != nil {
					t.Error(n, err)
				}
			}
		})
	}
	group.Wait()
	got, err := os.ReadFile(path)
	must(t, err)
	counts := map[byte]int{}
	for i := 0; i+10 <= len(got); i += 10 {
		if strings.Trim(string(got[i:i+10]), string(got[i])) != "" {
			t.Fatalf("mixed: %q", got[i:i+10])
		}
		counts[got[i]]++
	}
	if len(got) != 8000 || len(counts) != 8 || counts['a'] != 100 {
		t.Errorf("%d bytes, %v", len(got), counts)
	}
}

// TestCopies copies over every way that there is within the kernel, and those that fall back.
func TestCopies(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 20000)
	source := fileWith(t, string(content))
	read := func(path string) []byte {
		got, err := os.ReadFile(path)
		must(t, err)
		return got
	}
	for _, way := range []struct {
		name string
		copy func(t *testing.T, f *File) (int64, []byte, error)
	}{
		{"to a File", func(t *testing.T, f *File) (int64, []byte, error) {
			path := fileWith(t, "")
			n, err := io.Copy(newFile(t, path, unix.O_WRONLY), f)
			return n, read(path), err
		}},
		{"to a File that appends", func(t *testing.T, f *File) (int64, []byte, error) {
			path := fileWith(t, "")
			n, err := io.Copy(newFile(t, path, unix.O_WRONLY|unix.O_APPEND), f)
			return n, read(path), err
		}},
		{"to an os.File", func(t *testing.T, f *File) (int64, []byte, error) {
			to, err := os.Create(t.TempDir() + "/to")
			must(t, err)
			defer to.Close()
			n, err := io.Copy(to, f)
			return n, read(to.Name()), err
		}},
		{"to an os.File that appends", func(t *testing.T, f *File) (int64, []byte, error) {
			to, err := os.OpenFile(t.TempDir()+"/to", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
			must(t, err)
			defer to.Close()
			n, err := io.Copy(to, f)
			return n, read(to.Name()), err
		}},
		{"to a pipe", func(t *testing.T, f *File) (int64, []byte, error) {
			r, w, err := os.Pipe()
			must(t, err)
			return through(f, w, r)
		}},
		{"to a TCP connection", func(t *testing.T, f *File) (int64, []byte, error) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			defer listener.Close()
			to, err := net.Dial("tcp", listener.Addr().String())
			must(t, err)
			from, err := listener.Accept()
			must(t, err)
			return through(f, to.(*net.TCPConn), from)
		}},
		{"to a UNIX connection", func(t *testing.T, f *File) (int64, []byte, error) {
			a, b := socketPair(t, unix.SOCK_STREAM)
			return through(f, a, b)
		}},
		{"to memory", func(_ *testing.T, f *File) (int64, []byte, error) {
			var b bytes.Buffer
			n, err := io.Copy(&b, f)
			return n, b.Bytes(), err
		}},
		{"from a File, limited", func(t *testing.T, f *File) (int64, []byte, error) {
			path := fileWith(t, "")
			n, err := io.CopyN(newFile(t, path, unix.O_WRONLY), f, int64(len(content))-16)
			return n, read(path), err
		}},
		{"from an os.File", func(t *testing.T, _ *File) (int64, []byte, error) {
			from, err := os.Open(source)
			must(t, err)
			defer from.Close()
			_, err = from.Seek(16, io.SeekStart)
			must(t, err)
			path := fileWith(t, "")
			n, err := io.Copy(newFile(t, path, unix.O_WRONLY), from)
			return n, read(path), err
		}},
		{"from a pipe", func(t *testing.T, _ *File) (int64, []byte, error) {
			r, w, err := os.Pipe()
			must(t, err)
			go func() {
				w.Write(content[16:])
				w.Close()
			}()
			path := fileWith(t, "")
			n, err := newFile(t, path, unix.O_WRONLY).ReadFrom(r)
			r.Close()
			return n, read(path), err
		}},
		{"from a type that hides a file", func(t *testing.T, _ *File) (int64, []byte, error) {
			from, err := os.Open(os.DevNull)
			must(t, err)
			defer from.Close()
			path := fileWith(t, "")
			n, err := newFile(t, path, unix.O_WRONLY).ReadFrom(&disguised{from, bytes.NewReader(content[16:])})
			return n, read(path), err
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			f := newFile(t, source, unix.O_RDONLY)
			_, err := f.Seek(16, io.SeekStart)
			must(t, err)
			n, got, err := way.copy(t, f)
			if n != int64(len(content))-16 || err != nil || !bytes.Equal(got, content[16:]) {
				t.Errorf("%d bytes, %v; %d arrived, the right ones: %v", n, err, len(got), bytes.Equal(got, content[16:]))
			}
			if at, err := offsetOf(f.fd); at != 0 || err != nil {
				t.Errorf("shared offset %d, %v", at, err)
			}
		})
	}
}

// disguised embeds a file, but reads something else.
type disguised struct {
	*os.File
	r io.Reader
}

func (d *disguised) Read(p []byte) (int, error) { return d.r.Read(p) }

// through copies to one side and reads the other.
func through(f *File, w io.WriteCloser, r io.ReadCloser) (int64, []byte, error) {
	defer r.Close()
	arrived := make(chan []byte)
	go func() {
		got, _ := io.ReadAll(r)
		arrived <- got
	}()
	n, err := io.Copy(w, f)
	w.Close()
	return n, <-arrived, err
}

func TestCopyDeadline(t *testing.T) {
	a, b := socketPair(t, unix.SOCK_STREAM)
	defer b.Close()
	must(t, a.SetWriteDeadline(time.Now().Add(-time.Second)))
	n, err := newFile(t, fileWith(t, "content"), unix.O_RDONLY).WriteTo(a)
	if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d, %v", n, err)
	}
}

// TestCopyOfProc copies a file without a size.
func TestCopyOfProc(t *testing.T) {
	to, err := os.Create(t.TempDir() + "/to")
	must(t, err)
	defer to.Close()
	n, err := newFile(t, "/proc/self/status", unix.O_RDONLY).WriteTo(to)
	if n == 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// TestCrossCopies copies between two Files both ways at once.
func TestCrossCopies(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 100)
	for range 50 {
		a, b := newFile(t, fileWith(t, content), unix.O_RDWR), newFile(t, fileWith(t, content), unix.O_RDWR)
		var group sync.WaitGroup
		group.Go(func() { io.CopyN(a, b, 1000) })
		group.Go(func() { io.CopyN(b, a, 1000) })
		group.Wait()
	}
}

func TestRetry(t *testing.T) {
	left := 3
	n, err := retry(func() (int, error) {
		if left--; left > 0 {
			return -1, unix.EINTR
		}
		return 7, nil
	})
	if n != 7 || err != nil || left != 0 {
		t.Errorf("%d, %v, %d", n, err, left)
	}
	if n, err := retry(func() (int, error) { return -1, unix.EIO }); n != 0 || !errors.Is(err, unix.EIO) {
		t.Errorf("%d, %v", n, err)
	}
}

// TestUnderSignals copies to a slow reader while signals rain on the process.
func TestUnderSignals(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, unix.SIGUSR2)
	defer signal.Stop(caught)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				unix.Kill(os.Getpid(), unix.SIGUSR2)
			}
		}
	}()
	a, b := socketPair(t, unix.SOCK_STREAM)
	n, got, err := through(newFile(t, fileWith(t, string(content)), unix.O_RDONLY), a, b)
	if n != int64(len(content)) || err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d, %v", n, err)
	}
	path := fileWith(t, "")
	if n, err := newFile(t, path, unix.O_WRONLY).Write(content); n != len(content) || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	close(stop)
	<-stopped
}
