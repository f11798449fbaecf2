package guest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/seccomp"
)

// A way is one of the ways to reach a UNIX socket.
type way struct {
	name     string
	kind     int
	abstract bool
	send     bool // without connecting first
}

var ways = []way{
	{name: "named stream", kind: unix.SOCK_STREAM},
	{name: "named seqpacket", kind: unix.SOCK_SEQPACKET},
	{name: "named datagram, connected", kind: unix.SOCK_DGRAM},
	{name: "named datagram, addressed", kind: unix.SOCK_DGRAM, send: true},
	{name: "abstract stream", kind: unix.SOCK_STREAM, abstract: true},
	{name: "abstract seqpacket", kind: unix.SOCK_SEQPACKET, abstract: true},
	{name: "abstract datagram, connected", kind: unix.SOCK_DGRAM, abstract: true},
	{name: "abstract datagram, addressed", kind: unix.SOCK_DGRAM, abstract: true, send: true},
}

// address is the one that the way leads to, for a server that is known by a directory.
func (w way) address(dir string) *unix.SockaddrUnix {
	name := filepath.Join(dir, strings.NewReplacer(" ", "-", ",", "").Replace(w.name))
	if w.abstract {
		name = "@" + name
	}
	return &unix.SockaddrUnix{Name: name}
}

// serve opens what the way is to reach.
func (w way) serve(dir string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, w.kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, w.address(dir)); err != nil {
		return -1, err
	}
	if w.kind == unix.SOCK_DGRAM {
		return fd, nil
	}
	return fd, unix.Listen(fd, 8)
}

// reach goes the way as a client, and sends a word.
func (w way) reach(dir string) error {
	fd, err := unix.Socket(unix.AF_UNIX, w.kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if w.send {
		return unix.Sendto(fd, []byte("word"), 0, w.address(dir))
	}
	if err := unix.Connect(fd, w.address(dir)); err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte("word"))
	return err
}

// heard reports whether the word has come to a server.
func (w way) heard(fd int) error {
	if w.kind != unix.SOCK_DGRAM {
		accepted, _, err := unix.Accept(fd)
		if err != nil {
			return err
		}
		defer unix.Close(accepted)
		fd = accepted
	}
	buffer := make([]byte, 16)
	n, err := unix.Read(fd, buffer)
	if err == nil && string(buffer[:n]) != "word" {
		return fmt.Errorf("heard %q", buffer[:n])
	}
	return err
}

// helpSockets tries to reach servers outside, in the directory named, and servers that it opens itself in another one, by way of
// a second process.
func helpSockets(args []string) int {
	f := found{}
	for _, w := range ways {
		f.try("outside: "+w.name, w.reach(args[0]))
	}
	servers := map[string]int{}
	for _, w := range ways {
		fd, err := w.serve(args[1])
		if err != nil {
			f.try("inside: "+w.name, err)
			continue
		}
		servers[w.name] = fd
	}
	clients := exec.Command("/proc/self/exe", args[1])
	clients.Env = append(os.Environ(), "SAFEEXEC_TEST_HELPER=clients")
	clients.Stderr = os.Stderr
	out, err := clients.Output()
	reached := found{}
	if err == nil {
		err = json.Unmarshal(out, &reached)
	}
	for _, w := range ways {
		switch fd, served := servers[w.name]; {
		case err != nil:
			f.try("inside: "+w.name, err)
		case served && reached[w.name] == "ok":
			f.try("inside: "+w.name, w.heard(fd))
		case served:
			f["inside: "+w.name] = reached[w.name]
		}
	}
	for name, kind := range map[string]int{"stream": unix.SOCK_STREAM, "seqpacket": unix.SOCK_SEQPACKET, "datagram": unix.SOCK_DGRAM} {
		_, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
		f.try(name+" pair", err)
	}
	return f.print()
}

func helpClients(args []string) int {
	f := found{}
	for _, w := range ways {
		f.try(w.name, w.reach(args[0]))
	}
	return f.print()
}

// openServers opens a server for each way in a new directory, outside of any guard.
func openServers(t *testing.T) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "s") // short: a socket's address holds 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, w := range ways {
		fd, err := w.serve(dir)
		if err != nil {
			t.Fatalf("%s: %v", w.name, err)
		}
		t.Cleanup(func() { unix.Close(fd) })
	}
	return dir
}

// TestUNIXSockets: with --fd-passing tree sockets stay inside the tree where Landlock confines them, and there are none else.
func TestUNIXSockets(t *testing.T) {
	outside := openServers(t)
	for _, w := range ways {
		if err := w.reach(outside); err != nil {
			t.Fatalf("outside of any guard, %s: %v", w.name, err)
		}
	}
	inside, err := os.MkdirTemp("", "i")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(inside) })
	confined := seccomp.LandlockABI() >= 9
	var all []expectation
	for _, w := range ways {
		switch {
		case !confined:
			all = append(all,
				expectation{"outside: " + w.name, "EPERM", "refused: no UNIX socket"},
				expectation{"inside: " + w.name, "EPERM", "refused: no UNIX socket"})
			continue
		case w.abstract:
			all = append(all, expectation{"outside: " + w.name, "EPERM", refusedWith("EPERM")})
		default:
			all = append(all, expectation{"outside: " + w.name, "EACCES", refusedWith("EACCES")})
		}
		all = append(all, expectation{"inside: " + w.name, "ok", "works"})
	}
	all = append(all,
		expectation{"stream pair", "ok", "works"},
		expectation{"seqpacket pair", "ok", "works"},
		expectation{"datagram pair", "EPERM", "refused: its ends can be sent elsewhere"})
	ask(t, under(t, binary(t), guarding(), "sockets", outside, inside)).hold(t, all)
}
