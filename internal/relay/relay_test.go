package relay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pipeOf returns a pipe in blocking mode, as shells make them.
func pipeOf(t *testing.T) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func number(f *os.File) (n int) {
	conn, err := f.SyscallConn()
	if err != nil {
		panic(err)
	}
	conn.Control(func(fd uintptr) { n = int(fd) })
	return n
}

// begin relays one descriptor and returns the child's end, which here has no child.
func begin(t *testing.T, f *os.File) (*Set, *os.File) {
	t.Helper()
	s, err := Open([]Request{{7, number(f)}})
	if err != nil {
		t.Fatal(err)
	}
	far, err := unix.FcntlInt(uintptr(s.Far(7)), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	s.Run()
	child := os.NewFile(uintptr(far), "far")
	t.Cleanup(func() { child.Close(); s.Cut(); s.Finish(); s.Close() })
	return s, child
}

// noReopen has the caller's ends be duplicates, as where the pipe is somebody else's.
func noReopen(s *Set, fds ...int) error {
	for _, d := range s.directions {
		for i, e := range []*end{&d.from, &d.to} {
			if d.output == (i == 1) && e.ours && e.kind == pipe {
				dup, err := unix.FcntlInt(uintptr(fds[0]), unix.F_DUPFD_CLOEXEC, 3)
				if err != nil {
					return err
				}
				e.close()
				*e = end{fd: dup, kind: pipe}
			}
		}
	}
	return nil
}

// Bytes arrive as they were sent, whatever the ways and the sizes.
func TestIntact(t *testing.T) {
	for _, size := range []int{0, 1, 4095, 65536, 65537, 3 << 20} {
		for _, way := range []string{"pipe", "duplicate", "waiting", "socket"} {
			intact(t, way, size, true)
			intact(t, way, size, false)
		}
	}
}

func intact(t *testing.T, way string, size int, output bool) {
	t.Helper()
	r, w := pipeOf(t)
	if way == "socket" {
		r, w = pair(t)
	}
	caller, other := r, w
	if output {
		caller, other = w, r
	}
	s, err := Open([]Request{{7, number(caller)}})
	if err != nil {
		t.Fatal(err)
	}
	if way == "duplicate" || way == "waiting" {
		if err := noReopen(s, number(caller)); err != nil {
			t.Fatal(err)
		}
		for _, d := range s.directions {
			d.from.waits, d.to.waits = way == "waiting" && !d.from.ours, way == "waiting" && !d.to.ours
		}
	}
	far, err := unix.FcntlInt(uintptr(s.Far(7)), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := unix.FcntlInt(uintptr(number(caller)), unix.F_GETFL, 0)
	s.Run()
	child := os.NewFile(uintptr(far), "far")
	unix.SetNonblock(far, false)
	from, to := other, child
	if output {
		from, to = child, other
	}
	data := make([]byte, size)
	for i := 0; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(data[i:], rand.Uint64())
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(200_000))
			from.Write(rest[:n])
			rest = rest[n:]
		}
		halfClose(from)
		if output {
			s.Finish()
		}
		if way != "socket" {
			caller.Close() // only now: it was ours as well
		} else {
			halfClose(caller)
		}
	}()
	got, err := io.ReadAll(to)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%s, output %v, %d bytes: got %d, %v", way, output, size, len(got), err)
	}
	if way == "socket" {
		after, _ := unix.FcntlInt(uintptr(number(caller)), unix.F_GETFL, 0)
		if before != after {
			t.Errorf("flags were %#o, are %#o", before, after)
		}
	}
	<-done
	child.Close()
	s.Finish()
	s.Close()
}

func pair(t *testing.T) (a, b *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b = os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func halfClose(f *os.File) {
	if unix.Shutdown(number(f), unix.SHUT_WR) != nil {
		f.Close()
	}
}

// Each way through a socket ends by itself, also while the caller has the connection too.
func TestHalfClose(t *testing.T) {
	a, b := pair(t)
	_, child := begin(t, b)
	child.WriteString("request")
	halfClose(child)
	if got, err := io.ReadAll(a); err != nil || string(got) != "request" {
		t.Fatalf("%q, %v", got, err)
	}
	a.WriteString("answer")
	halfClose(a)
	if got, err := io.ReadAll(child); err != nil || string(got) != "answer" {
		t.Errorf("%q, %v", got, err)
	}
}

// The other way round.
func TestHalfClosed(t *testing.T) {
	a, b := pair(t)
	_, child := begin(t, b)
	b.Close()
	halfClose(a)
	if got, err := io.ReadAll(child); err != nil || len(got) != 0 {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := child.WriteString("still open"); err != nil {
		t.Fatal(err)
	}
	halfClose(child)
	if got, err := io.ReadAll(a); err != nil || string(got) != "still open" {
		t.Errorf("%q, %v", got, err)
	}
}

// A child that closes its end doesn't end a connection that the caller keeps.
func TestClosedSocket(t *testing.T) {
	a, b := pair(t)
	s, child := begin(t, b)
	child.WriteString("one ")
	child.Close()
	s.Finish()
	b.WriteString("two")
	b.Close()
	if got, err := io.ReadAll(a); err != nil || string(got) != "one two" {
		t.Errorf("%q, %v", got, err)
	}
}

// Over TCP too.
func TestTCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	f, err := server.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	_, child := begin(t, f)
	f.Close()
	client.Write([]byte("question"))
	client.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(child); err != nil || string(got) != "question" {
		t.Fatalf("%q, %v", got, err)
	}
	child.WriteString("answer")
	child.Close()
	if got, err := io.ReadAll(client); err != nil || string(got) != "answer" {
		t.Errorf("%q, %v", got, err)
	}
}

// When the caller's reader goes away, the child's next write fails, though nothing was being carried.
func TestBroken(t *testing.T) {
	r, w := pipeOf(t)
	_, child := begin(t, w)
	r.Close()
	w.Close()
	untilEPIPE(t, child)
}

func TestBrokenSocket(t *testing.T) {
	a, b := pair(t)
	_, child := begin(t, b)
	a.Close()
	untilEPIPE(t, child)
}

// untilEPIPE writes until nobody reads: more than all the buffers hold means that somebody does.
func untilEPIPE(t *testing.T, f *os.File) {
	t.Helper()
	for range 1 << 20 {
		if _, err := f.Write([]byte("x")); err != nil {
			if !errors.Is(err, unix.EPIPE) {
				t.Error(err)
			}
			return
		}
	}
	t.Error("nothing broke")
}

// When the child doesn't read any more, the caller's writer gets to know.
func TestBrokenInput(t *testing.T) {
	r, w := pipeOf(t)
	_, child := begin(t, r)
	r.Close()
	child.Close()
	untilEPIPE(t, w)
}

// What a descendant writes for ever doesn't hold up the end, and it is told.
func TestDescendant(t *testing.T) {
	r, w := pipeOf(t)
	s, child := begin(t, w)
	w.Close()
	child.WriteString("before")
	end := make(chan error)
	go func() {
		s.Finish()
		s.Close()
		for {
			if _, err := child.Write(make([]byte, 100)); err != nil {
				end <- err
				return
			}
		}
	}()
	got, err := io.ReadAll(r)
	if err != nil || string(got) != "before" {
		t.Errorf("%q, %v", got, err)
	}
	if err := <-end; !errors.Is(err, unix.EPIPE) {
		t.Error(err)
	}
}

// Whoever doesn't read isn't waited for after a Cut.
func TestCut(t *testing.T) {
	r, w := pipeOf(t)
	s, child := begin(t, w)
	go func() {
		for {
			if _, err := child.Write(make([]byte, 65536)); err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, 200_000) // the pipes are full by now, or will be
	if _, err := io.ReadFull(r, buffer); err != nil {
		t.Fatal(err)
	}
	s.Cut()
	s.Finish()
	s.Close()
}

// Descriptors of one pipe have one end: what is written to both keeps its order.
func TestOrder(t *testing.T) {
	r, w := pipeOf(t)
	again, err := unix.Open("/proc/self/fd/"+itoa(number(w)), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(again)
	s, err := Open([]Request{{0, number(r)}, {1, number(w)}, {2, again}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Far(1) != s.Far(2) || s.Far(1) == s.Far(0) || s.Far(3) != -1 {
		t.Errorf("%d, %d, %d", s.Far(0), s.Far(1), s.Far(2))
	}
}

func itoa(n int) string {
	var digits []byte
	for ; n > 0; n /= 10 {
		digits = append([]byte{byte('0' + n%10)}, digits...)
	}
	return string(digits)
}

// The bounds of packets stay.
func TestPackets(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_DIRECT); err != nil {
		t.Fatal(err)
	}
	r, w := os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	defer r.Close()
	_, child := begin(t, w)
	w.Close()
	for _, text := range []string{"one", "two", "three"} {
		child.WriteString(text)
	}
	for _, want := range []string{"one", "two", "three"} {
		buffer := make([]byte, 100)
		n, err := r.Read(buffer)
		if err != nil || string(buffer[:n]) != want {
			t.Errorf("%q, %v; want %q", buffer[:n], err, want)
		}
	}
}

// Output has room, input no more than the caller's pipe.
func TestRoom(t *testing.T) {
	for _, size := range []int{4 << 10, 64 << 10, 512 << 10} {
		r, w := pipeOf(t)
		if _, err := unix.FcntlInt(uintptr(number(w)), unix.F_SETPIPE_SZ, size); err != nil {
			t.Fatal(err)
		}
		_, input := begin(t, r)
		_, output := begin(t, w)
		for f, want := range map[*os.File]int{input: size, output: max(size, outputRoom)} {
			if got, err := unix.FcntlInt(uintptr(number(f)), unix.F_GETPIPE_SZ, 0); err != nil || got != want {
				t.Errorf("the caller's holds %d: got %d, %v; want %d", size, got, err, want)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	dgram, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/fifo"
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	both, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	opath, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		fd   int
		want string
	}{
		{number(null), "it is a memory device: only"},
		{number(file), "it is a file: only"},
		{dgram[0], "it is a socket that carries no stream: only"},
		{listener, "it is a socket that isn't connected: only"},
		{both, "it is a fifo that is open both ways: only"},
		{event, "it is an eventfd: only"},
		{master, "it is a pty master: only"},
		{opath, "it is a directory that is open with O_PATH: only"},
		{1 << 20, "bad file descriptor"},
	} {
		_, err := Open([]Request{{5, tt.fd}})
		var about *Error
		if !errors.As(err, &about) || about.Number != 5 || !strings.Contains(err.Error(), "relay descriptor 5: "+tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	for _, fd := range []int{dgram[0], dgram[1], listener, both, event, master, opath} {
		unix.Close(fd)
	}
}

// A terminal that refuses a read may have done so before this process came to its foreground; one that goes on is at its end.
func TestRefusedRead(t *testing.T) {
	d := &direction{terminal: &Terminal{fd: -1}, gate: &gate{}}
	if !d.fromBackground() {
		t.Error("the first refusal counts")
	}
	d.carried(1)
	if !d.fromBackground() {
		t.Error("the first refusal after something was read counts")
	}
	if d.fromBackground() {
		t.Error("the second one in a row doesn't count")
	}
	if d.gate.closed() {
		t.Error("the gate is shut")
	}
}

// Nothing stays open, whether a set ran or not, and whatever is refused.
func TestDescriptors(t *testing.T) {
	r, w := pipeOf(t)
	a, _ := pair(t)
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	before := open(t)
	for range 50 {
		requests := []Request{{0, number(r)}, {1, number(w)}, {2, number(a)}}
		s, err := Open(requests)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if s, err = Open(requests); err != nil {
			t.Fatal(err)
		}
		s.Run()
		s.Finish()
		s.Close()
		if _, err := Open(append(requests, Request{3, number(file)})); err == nil {
			t.Fatal("a file was relayed")
		}
	}
	if after := open(t); !bytes.Equal(before, after) {
		t.Errorf("open before:\n%s\nafter:\n%s", before, after)
	}
}

func open(t *testing.T) (list []byte) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name()+"\n"...)
	}
	return list
}
