// Package systemd checks the example units with systemd's own tools, and runs the service as they say.
package systemd

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func TestMain(m *testing.M) {
	// What the tests' own caller let leak is no part of them.
	if err := unix.CloseRange(3, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

const (
	examples  = "../../examples/systemd"
	name      = "safeexec-example"
	installed = "/usr/local/bin/safeexec" // where the service has the command
)

// units copies the units into a directory, with the command where it is here, and changed as the arguments say.
func units(t *testing.T, safeexec string, changes ...string) (files []string) {
	t.Helper()
	dir := t.TempDir()
	change := strings.NewReplacer(append([]string{installed, safeexec}, changes...)...)
	for _, kind := range []string{".service", ".socket"} {
		text, err := os.ReadFile(filepath.Join(examples, name+kind))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name+kind)
		if err := os.WriteFile(file, []byte(change.Replace(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// verify says what systemd finds wrong with the units.
func verify(t *testing.T, files []string) (complaints string, err error) {
	t.Helper()
	args := append([]string{"verify", "--man=no", "--recursive-errors=one"}, files...)
	out, err := exec.Command(proctest.NeedTool(t, "systemd-analyze"), args...).CombinedOutput()
	return string(out), err
}

func TestUnitsAreValid(t *testing.T) {
	safeexec := proctest.NeedBinary(t, t.TempDir())
	if complaints, err := verify(t, units(t, safeexec)); err != nil || complaints != "" {
		t.Errorf("%v: %s", err, complaints)
	}
	// And it would be seen if they weren't.
	for _, mistake := range [][2]string{{"ProtectSystem", "ProtectSytem"}, {"Requires=safeexec", "Requires=nosuch"}} {
		if complaints, _ := verify(t, units(t, safeexec, mistake[0], mistake[1])); complaints == "" {
			t.Errorf("nothing is said about %s", mistake[1])
		}
	}
}

// setting is a value of one of the units.
func setting(t *testing.T, kind, key string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examples, name+kind))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if value, found := strings.CutPrefix(line, key+"="); found {
			return value
		}
	}
	t.Fatalf("%s%s has no %s", name, kind, key)
	return ""
}

// service is the service's command line, with the command where it is here and the server at the address.
func service(t *testing.T, server string) []string {
	t.Helper()
	words := strings.Fields(setting(t, ".service", "ExecStart"))
	if words[0] != installed {
		t.Fatalf("the service starts %s", words[0])
	}
	words[0] = proctest.NeedBinary(t, t.TempDir())
	words[len(words)-1] = server
	for i, word := range words {
		if strings.HasPrefix(word, "--exit-idle-time=") {
			words[i] = "--exit-idle-time=1" // seconds: it ends by itself
		}
	}
	return words
}

// server is what the proxy stands in front of: it greets whoever connects, and waits until they go.
func server(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				fmt.Fprintln(connection, "hello")
				io.Copy(io.Discard, connection)
			}()
		}
	}()
	return listener.Addr().String()
}

// visit checks that the server greets at the address, and calls while the connection is open.
func visit(t *testing.T, address string, while func()) {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if line, err := bufio.NewReader(connection).ReadString('\n'); line != "hello\n" {
		t.Errorf("the service says %q, %v", line, err)
	}
	while()
}

// TestServiceIsActivated: systemd-socket-activate listens as the socket unit says, and starts the service when somebody comes.
func TestServiceIsActivated(t *testing.T) {
	if stream := setting(t, ".socket", "ListenStream"); !strings.HasPrefix(stream, "127.0.0.1:") {
		t.Fatalf("the socket listens on %s", stream)
	}
	address := free(t)
	args := []string{"--listen=" + address, "--fdname=" + setting(t, ".socket", "FileDescriptorName")}
	activate := exec.Command(proctest.NeedTool(t, "systemd-socket-activate"), append(args, service(t, server(t))...)...)
	stderr, err := activate.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := activate.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(stderr)
	if line, err := said.ReadString('\n'); !strings.HasPrefix(line, "Listening on ") {
		t.Fatalf("%q, %v", line, err)
	}
	visit(t, address, func() {})
	rest, err := io.ReadAll(said)
	if err != nil {
		t.Fatal(err)
	}
	if err := activate.Wait(); err != nil {
		t.Errorf("%v: %s", err, rest)
	}
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// TestSocketOutlivesTheService: the test stands in for systemd, which keeps the socket. The proxy makes it non-blocking; when
// the service has ended it is as it was, and the next start works as the first.
func TestSocketOutlivesTheService(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	setBlocking(t, socket)
	words := service(t, server(t))
	for range 2 {
		cmd := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, words...)...)
		cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES="+setting(t, ".socket", "FileDescriptorName"))
		cmd.ExtraFiles = []*os.File{socket}
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		visit(t, listener.Addr().String(), func() {
			if flags(t, socket)&unix.O_NONBLOCK == 0 {
				t.Error("the proxy hasn't made its socket non-blocking: this test shows nothing")
			}
		})
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v: %s", err, stderr.String())
		}
		if flags(t, socket)&unix.O_NONBLOCK != 0 {
			t.Error("the socket stayed non-blocking")
		}
	}
}

func flags(t *testing.T, file *os.File) (flags int) {
	t.Helper()
	control(t, file, func(fd int) (err error) {
		flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		return err
	})
	return flags
}

func setBlocking(t *testing.T, file *os.File) {
	t.Helper()
	control(t, file, func(fd int) error { return unix.SetNonblock(fd, false) })
}

func control(t *testing.T, file *os.File, use func(fd int) error) {
	t.Helper()
	raw, err := file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if outer := raw.Control(func(fd uintptr) { err = use(int(fd)) }); outer != nil || err != nil {
		t.Fatal(outer, err)
	}
}
