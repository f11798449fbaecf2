package ofd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// socketPair returns two connected UNIX sockets.
func socketPair(t testing.TB, kind int) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socket")
		conn, err := net.FileConn(file)
		must(t, err)
		file.Close()
		conns[i] = conn.(*net.UnixConn)
		t.Cleanup(func() { conn.Close() })
	}
	return conns[0], conns[1]
}

func openFiles(t testing.TB, n int) []*os.File {
	t.Helper()
	var files []*os.File
	for range n {
		f, err := os.Open("/dev/null")
		must(t, err)
		t.Cleanup(func() { f.Close() })
		files = append(files, f)
	}
	return files
}

func TestSendAndRecv(t *testing.T) {
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET, unix.SOCK_DGRAM} {
		for _, count := range []int{0, 1, 2, 3, maxRights} {
			t.Run(fmt.Sprintf("kind %d, %d files", kind, count), func(t *testing.T) {
				a, b := socketPair(t, kind)
				files := openFiles(t, count)
				var kept []int
				for _, f := range files {
					kept = append(kept, dup(t, number(t, f)))
				}
				must(t, Send(a, []byte("payload"), files...))
				for _, f := range files {
					if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
						t.Fatalf("the sender's copy is open: %v", err)
					}
				}
				payload := make([]byte, 20)
				n, got, err := Recv(b, payload, count)
				must(t, err)
				if string(payload[:n]) != "payload" || len(got) != count {
					t.Fatalf("%q, %d files", payload[:n], len(got))
				}
				for i, f := range got {
					fd := number(t, f)
					if same, err := Same(fd, kept[i]); !same || err != nil {
						t.Errorf("file %d: the same: %v, %v", i, same, err)
					}
					if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags != unix.FD_CLOEXEC || err != nil {
						t.Errorf("file %d: close-on-exec %#x, %v", i, flags, err)
					}
				}
			})
		}
	}
}

// TestSendFails sees that the files are still the caller's.
func TestSendFails(t *testing.T) {
	files := openFiles(t, maxRights+1)
	a, b := socketPair(t, unix.SOCK_STREAM)
	still := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		for _, f := range files {
			if _, err := f.Stat(); err != nil {
				t.Fatal(err)
			}
		}
	}
	still(Send(a, []byte("x"), files...), unix.EINVAL)
	still(Send(a, nil, files[:2]...), unix.EINVAL)
	b.Close()
	still(Send(a, []byte("x"), files[:2]...), unix.EPIPE)
	a.Close()
	still(Send(a, []byte("x"), files[:2]...), net.ErrClosed)
	closed := openFiles(t, 1)[0]
	closed.Close()
	c, d := socketPair(t, unix.SOCK_STREAM)
	still(Send(c, []byte("x"), files[0], closed, files[1]), os.ErrClosed)
	c.Close()
	if n, _, err := Recv(d, make([]byte, 1), 0); n != 0 || err != io.EOF {
		t.Errorf("something was sent: %d, %v", n, err)
	}
}

// TestSendLargePayload fills the socket, so that the payload goes in parts.
func TestSendLargePayload(t *testing.T) {
	a, b := socketPair(t, unix.SOCK_STREAM)
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	sent := make(chan error)
	file := openFiles(t, 1)[0]
	go func() { sent <- Send(a, payload, file) }()
	got := make([]byte, len(payload))
	n, files, err := Recv(b, got, 1)
	must(t, err)
	files[0].Close()
	_, err = io.ReadFull(b, got[n:])
	must(t, err)
	must(t, <-sent)
	if !bytes.Equal(got, payload) {
		t.Error("the payload arrived otherwise")
	}
}

// TestRecvRefuses sends what wasn't expected, and sees that nothing stays open.
func TestRecvRefuses(t *testing.T) {
	null := open(t, "/dev/null", unix.O_RDONLY)
	cases := []struct {
		name string
		kind int
		sent []int
		want int
		set  func(b *net.UnixConn) error
		data string
	}{
		{"none came", unix.SOCK_STREAM, nil, 1, nil, "x"},
		{"too few", unix.SOCK_STREAM, []int{null}, 2, nil, "x"},
		{"one too many", unix.SOCK_STREAM, []int{null, null}, 1, nil, "x"},
		{"one where none was expected", unix.SOCK_STREAM, []int{null}, 0, nil, "x"},
		{"one too many, beside the padding", unix.SOCK_STREAM, []int{null, null, null}, 2, nil, "x"},
		{"far too many: cut off", unix.SOCK_STREAM, slices.Repeat([]int{null}, maxRights), 1, nil, "x"},
		{"payload cut off", unix.SOCK_SEQPACKET, []int{null}, 1, nil, "longer than the buffer that there is for it"},
		{"credentials as well", unix.SOCK_STREAM, []int{null}, 1, func(b *net.UnixConn) error { return setOption(b, unix.SO_PASSCRED) }, "x"},
		{"a pidfd as well", unix.SOCK_STREAM, []int{null}, 3, func(b *net.UnixConn) error { return setOption(b, unix.SO_PASSPIDFD) }, "x"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, b := socketPair(t, c.kind)
			if c.set != nil {
				if err := c.set(b); errors.Is(err, unix.ENOPROTOOPT) {
					t.Skip("the kernel has no SO_PASSPIDFD (Linux 6.5)")
				} else {
					must(t, err)
				}
			}
			count := openDescriptors(t)
			var control []byte
			if len(c.sent) > 0 {
				control = unix.UnixRights(c.sent...)
			}
			_, _, err := a.WriteMsgUnix([]byte(c.data), control, nil)
			must(t, err)
			_, files, err := Recv(b, make([]byte, 20), c.want)
			if files != nil || !errors.Is(err, ErrMessage) {
				t.Errorf("%v, %v", files, err)
			}
			if now := openDescriptors(t); now != count {
				t.Errorf("%d descriptors are open, %d before", now, count)
			}
		})
	}
	a, b := socketPair(t, unix.SOCK_STREAM)
	for _, bad := range []struct {
		payload []byte
		want    int
	}{{nil, 1}, {make([]byte, 1), -1}, {make([]byte, 1), maxRights + 1}} {
		if _, _, err := Recv(b, bad.payload, bad.want); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	a.Close()
	if n, files, err := Recv(b, make([]byte, 1), 1); n != 0 || files != nil || err != io.EOF {
		t.Errorf("at the end: %d, %v, %v", n, files, err)
	}
}

func setOption(conn *net.UnixConn, option int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 1) })
	return errors.Join(err, inner)
}

// TestRecvOutOfNumbers receives where no number is left: the kernel cuts the list.
func TestRecvOutOfNumbers(t *testing.T) {
	a, b := socketPair(t, unix.SOCK_STREAM)
	must(t, Send(a, []byte("x"), openFiles(t, 3)...))
	next := dup(t, 0)
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	low := limit
	low.Cur = uint64(next) + 2
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &low))
	_, files, err := Recv(b, make([]byte, 1), 3)
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	if files != nil || !errors.Is(err, ErrMessage) {
		t.Errorf("%v, %v", files, err)
	}
}

// TestRecvPrivate sees that a sender that kept a copy can't move the offset, nor change the flags.
func TestRecvPrivate(t *testing.T) {
	a, b := socketPair(t, unix.SOCK_STREAM)
	path := fileWith(t, "0123456789")
	file, err := os.Open(path)
	must(t, err)
	kept := dup(t, number(t, file))
	must(t, seekTo(kept, 4))
	r, w, err := os.Pipe()
	must(t, err)
	number(t, w)
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	must(t, err)
	writable, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	must(t, Send(a, []byte("x"), file, r, os.NewFile(uintptr(event), "eventfd"), writable))
	n, files, err := RecvPrivate(b, make([]byte, 1), 4, Refuse)
	must(t, err)
	for _, f := range files {
		number(t, f.File)
	}
	must(t, seekTo(kept, 0))
	must(t, setFlags(kept, unix.O_NONBLOCK))
	s, err := StateOf(number(t, files[0].File))
	must(t, err)
	if n != 1 || s.Offset != 4 || s.Flags&unix.O_NONBLOCK != 0 || files[0].Shared != nil || files[1].Shared != nil {
		t.Errorf("%d, %+v, %v, %v", n, s, files[0].Shared, files[1].Shared)
	}
	if !errors.Is(files[2].Shared, ErrNoFile) || !errors.Is(files[3].Shared, ErrWritable) {
		t.Errorf("the eventfd: %v, the writable file: %v", files[2].Shared, files[3].Shared)
	}
	count := openDescriptors(t)
	must(t, Send(a, []byte("x"), openFiles(t, 2)...))
	if _, files, err := RecvPrivate(b, make([]byte, 1), 1, Refuse); files != nil || !errors.Is(err, ErrMessage) {
		t.Errorf("%v, %v", files, err)
	}
	if now := openDescriptors(t); now != count {
		t.Errorf("%d descriptors are open, %d before", now, count)
	}
}

// TestSendToProcess passes a file to another process, which moves its offset; and privately, which can't any more.
func TestSendLeavesFlagsAlone(t *testing.T) {
	a, b := socketPair(t, unix.SOCK_STREAM)
	r, _, err := os.Pipe() // Go has it in non-blocking mode
	must(t, err)
	kept := dup(t, number(t, r))
	before, err := StateOf(kept)
	must(t, err)
	must(t, Send(a, []byte("x"), r))
	_, files, err := Recv(b, make([]byte, 1), 1)
	must(t, err)
	defer files[0].Close()
	after, err := StateOf(kept)
	must(t, err)
	if changes := before.Diff(after); changes != nil || before.Flags&unix.O_NONBLOCK == 0 {
		t.Errorf("%v, before %+v", changes, before)
	}
}

func TestRights(t *testing.T) {
	for n := range 10 {
		var fds []int
		for i := range n {
			fds = append(fds, i*1000)
		}
		if got, want := rights(fds), syscall.UnixRights(fds...); !bytes.Equal(got, want) {
			t.Errorf("%d: %x, want %x", n, got, want)
		}
	}
}

func TestParseRights(t *testing.T) {
	one, two := rights([]int{7}), rights([]int{8, 9})
	message := func(level, kind uint32, data ...byte) []byte {
		m := binary.NativeEndian.AppendUint64(nil, uint64(cmsgHeader+len(data)))
		m = binary.NativeEndian.AppendUint32(m, level)
		m = binary.NativeEndian.AppendUint32(m, kind)
		m = append(m, data...)
		return append(m, make([]byte, -len(m)&7)...)
	}
	cases := []struct {
		name    string
		control []byte
		fds     []int
		bad     bool
	}{
		{"nothing", nil, nil, false},
		{"one", one, []int{7}, false},
		{"two messages", slices.Concat(one, two), []int{7, 8, 9}, false},
		{"without the last padding", one[:20], []int{7}, false},
		{"an odd size", message(solSocket, scmRights, 1, 0, 0, 0, 2, 0), []int{1}, true},
		{"credentials between", slices.Concat(one, message(solSocket, 2, make([]byte, 12)...), two), []int{7, 8, 9}, true},
		{"a pidfd before", slices.Concat(message(solSocket, scmPidfd, 5, 0, 0, 0), one), []int{5, 7}, true},
		{"another level", message(41, scmRights, 5, 0, 0, 0), nil, true},
		{"a header cut off", slices.Concat(one, two[:10]), []int{7}, true},
		{"a length that is too long", slices.Concat(one, two[:20]), []int{7}, true},
		{"a length that is too short", slices.Concat(one, make([]byte, 16)), []int{7}, true},
	}
	for _, c := range cases {
		fds, err := parseRights(c.control)
		if !slices.Equal(fds, c.fds) || (err != nil) != c.bad {
			t.Errorf("%s: %v, %v", c.name, fds, err)
		}
	}
}

// FuzzParseRights compares with the standard library wherever that finds nothing wrong.
func FuzzParseRights(f *testing.F) {
	f.Add(rights([]int{7}))
	f.Add(slices.Concat(rights([]int{8, 9}), rights([]int{1})))
	f.Add(make([]byte, 17))
	f.Fuzz(func(t *testing.T, control []byte) {
		got, err := parseRights(control)
		if len(got) > len(control)/4 {
			t.Fatalf("%d descriptors in %d bytes", len(got), len(control))
		}
		if err != nil {
			return
		}
		messages, problem := syscall.ParseSocketControlMessage(control)
		if problem != nil && len(control)%8 == 0 {
			t.Fatalf("%v, which nothing was wrong with", problem)
		}
		var want []int
		for i := range messages {
			fds, problem := syscall.ParseUnixRights(&messages[i])
			if problem != nil {
				t.Fatal(problem)
			}
			for _, fd := range fds {
				want = append(want, int(int32(fd)))
			}
		}
		if problem == nil && !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}
