package guard

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// streams are what a job has as 0, 1 and 2, with what the test keeps of them.
type streams struct {
	in, out, err *os.File
	kept         []*os.File // closed at the end
	terminal     bool
	drained      sync.WaitGroup
	output       lockedBuffer
}

type lockedBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	return len(p), nil
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

// newStreams makes standard descriptors of a kind: pipe, terminal, file, or socket.
func newStreams(t testing.TB, kind, dir string) *streams {
	t.Helper()
	s := &streams{}
	switch kind {
	case "pipe":
		r, w := pipe(t)
		w.Close()
		s.in = r
		r, w = pipe(t)
		s.out, s.err = w, w
		s.drain(r)
	case "terminal":
		master, slave := pty(t)
		s.in, s.out, s.err, s.terminal = slave, slave, slave, true
		s.drain(master)
	case "file":
		path := filepath.Join(dir, "standard-input")
		must(t, os.WriteFile(path, []byte("first\nsecond\n"), 0o644))
		s.in = open(t, path, os.O_RDONLY)
		s.out = open(t, filepath.Join(dir, "standard-output"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
		s.err = s.out
	case "socket":
		ours, theirs := socketPair(t, unix.SOCK_STREAM)
		must(t, unix.Shutdown(int(ours.Fd()), unix.SHUT_WR))
		s.in, s.out, s.err = theirs, theirs, theirs
		s.drain(ours)
	default:
		t.Fatalf("there are no streams of kind %q", kind)
	}
	return s
}

func (s *streams) drain(from *os.File) {
	s.kept = append(s.kept, from)
	s.drained.Add(1)
	go func() {
		defer s.drained.Done()
		io.Copy(&s.output, from)
	}()
}

// end closes the job's side and returns what the job has said. Whoever still holds the other side is cut off.
func (s *streams) end() string {
	s.in.Close()
	s.out.Close()
	s.drained.Wait()
	for _, f := range s.kept {
		f.Close()
	}
	return s.output.String()
}

// newKept makes what is kept at 3: file, pipe, or TCP listener.
func newKept(t testing.TB, kind, dir string) *os.File {
	t.Helper()
	switch kind {
	case "file":
		path := filepath.Join(dir, "kept-at-3")
		must(t, os.WriteFile(path, []byte("0123456789"), 0o666))
		return open(t, path, os.O_RDWR)
	case "pipe":
		_, w := pipe(t)
		return w
	case "TCP listener":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		must(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	t.Fatalf("nothing of kind %q can be kept", kind)
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0o666)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// file makes an os.File that leaves the description as it is, blocking.
func file(t testing.TB, fd int, name string) *os.File {
	f := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { f.Close() })
	return f
}

func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	var p [2]int
	must(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
	return file(t, p[0], "pipe"), file(t, p[1], "pipe")
}

func socketPair(t testing.TB, kind int) (a, b *os.File) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	return file(t, p[0], "socket"), file(t, p[1], "socket")
}

// pty opens a pseudo-terminal with a window of 50 rows and 132 columns.
func pty(t testing.TB) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	must(t, err)
	master = file(t, fd, "master")
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(t, err)
	name := fmt.Sprintf("/dev/pts/%d", number)
	other, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	must(t, err)
	must(t, unix.IoctlSetWinsize(other, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 132}))
	return master, file(t, other, name)
}
