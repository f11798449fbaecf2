package guard

import (
	"bufio"
	"crypto/ed25519"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

// The accidents that everybody knows, with the programs that make them.

// ways are to start a program: bare, and by us.
var ways = []struct {
	name string
	args []string
	safe bool
}{
	{"bare", nil, false},
	{"shared", []string{"--"}, false},
	{"guard", []string{"--guard", "--"}, true},
	{"private", []string{"--private", "0-2", "--"}, true},
}

func start(args []string, program ...string) *exec.Cmd {
	if args != nil {
		program = append(append([]string{safeexec}, args...), program...)
	}
	return exec.Command(program[0], program[1:]...)
}

func nonblocking(t *testing.T, f *os.File) bool { return flagsOf(t, f)&unix.O_NONBLOCK != 0 }

// TestNodeOnAPipe: Node, killed in the middle of writing to a pipe, leaves O_NONBLOCK behind for whoever writes there next.
func TestNodeOnAPipe(t *testing.T) {
	proctest.NeedTool(t, "node")
	const script = `process.stdout.write("up\n" + "x".repeat(1e6)); process.stderr.write("")`
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			in, inner := pipe(t)
			r, w := pipe(t)
			cmd := start(way.args, "node", "-e", script)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = in, w, w
			must(t, cmd.Start())
			line, err := bufio.NewReaderSize(r, 16).ReadString('\n') // the rest is more than fits into the pipe
			if line != "up\n" {
				t.Errorf("%q, %v", line, err)
			}
			cmd.Process.Kill()
			cmd.Wait()
			inner.Close()
			if got := nonblocking(t, w); got == way.safe {
				t.Errorf("the caller's pipe is non-blocking: %v", got)
			}
		})
	}
}

// TestNodeOnATerminal: the terminal's description is the shell's too. (Node opens a terminal again by itself, where it can.)
func TestNodeOnATerminal(t *testing.T) {
	proctest.NeedTool(t, "node")
	const script = `process.stdin.on("data", () => {}); process.stdout.write("up\n"); setInterval(() => process.stdout.write("x".repeat(1e5)), 10)`
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			master, slave := pty(t)
			before := flagsOf(t, slave)
			cmd := start(way.args, "node", "-e", script)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			must(t, cmd.Start())
			line, err := bufio.NewReaderSize(master, 16).ReadString('\n')
			if line != "up\r\n" {
				t.Errorf("%q, %v", line, err)
			}
			cmd.Process.Kill()
			cmd.Wait()
			if after := flagsOf(t, slave); way.safe && after != before {
				t.Errorf("the caller's terminal had the flags %#o and has %#o", before, after)
			}
		})
	}
}

// TestCarelessOnATerminal: whoever sets the flag and is killed. The shell's next read, or cat's next write, fails with EAGAIN.
func TestCarelessOnATerminal(t *testing.T) {
	const script = `
import fcntl, os, signal
fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_NONBLOCK)
os.kill(os.getpid(), signal.SIGKILL)`
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			_, slave := pty(t)
			cmd := start(way.args, proctest.NeedTool(t, "python3"), "-c", script)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Run(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Fatal(err)
			}
			if got := nonblocking(t, slave); got == way.safe {
				t.Errorf("the caller's terminal is non-blocking: %v", got)
			}
		})
	}
}

// TestSSH: ssh makes its standard descriptors non-blocking where they are no terminals, and puts that back, unless it is killed.
func TestSSH(t *testing.T) {
	ssh := proctest.NeedTool(t, "ssh")
	port := sshServer(t)
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			in, inner := pipe(t)
			r, w := pipe(t)
			cmd := start(way.args, ssh, "-q", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
				"-p", port, "somebody@127.0.0.1", "anything")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = in, w, w
			must(t, cmd.Start())
			if line, err := bufio.NewReader(r).ReadString('\n'); line != "up\n" {
				t.Errorf("%q, %v", line, err)
			}
			cmd.Process.Kill()
			cmd.Wait()
			inner.Close()
			for _, f := range []*os.File{in, w} {
				if got := nonblocking(t, f); got == way.safe {
					t.Errorf("the caller's pipe is non-blocking: %v", got)
				}
			}
		})
	}
}

// sshServer serves until the test ends, and returns its port. It lets everybody in, says that it is up, and sends back what it gets.
func sshServer(t *testing.T) (port string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	must(t, err)
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go serveSSH(client, config)
		}
	}()
	_, port, err = net.SplitHostPort(listener.Addr().String())
	must(t, err)
	return port
}

func serveSSH(client net.Conn, config *ssh.ServerConfig) {
	defer client.Close()
	_, channels, requests, err := ssh.NewServerConn(client, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for channel := range channels {
		stream, requests, err := channel.Accept()
		if err != nil {
			return
		}
		go func() {
			for request := range requests {
				request.Reply(request.Type == "exec", nil)
			}
		}()
		io.WriteString(stream, "up\n")
		io.Copy(stream, stream)
		stream.Close()
	}
}

// TestMake: make sets O_APPEND on its output, which is the caller's.
func TestMake(t *testing.T) {
	proctest.NeedTool(t, "make")
	for _, kind := range []string{"pipe", "file"} {
		for _, way := range ways {
			if kind == "file" && way.name == "private" {
				continue // a file that is written to isn't made private without a word about its offset
			}
			t.Run(kind+" "+way.name, func(t *testing.T) {
				dir := t.TempDir()
				must(t, os.WriteFile(filepath.Join(dir, "Makefile"), []byte("all: a b\n%:\n\t@echo $@\n"), 0o666))
				s := newStreams(t, kind, dir)
				cmd := start(way.args, "make", "-j2")
				cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, s.in, s.out, s.err
				must(t, cmd.Run())
				if got := flagsOf(t, s.out)&unix.O_APPEND != 0; got == way.safe {
					t.Errorf("the caller's %s has O_APPEND: %v", kind, got)
				}
				s.end()
			})
		}
	}
}

// TestJobserver: the jobserver's pipe is shared by all makes and all that they start. A recipe that is careless with it
// concerns nobody else, and a make inside gets its jobs.
func TestJobserver(t *testing.T) {
	proctest.NeedTool(t, "make")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Makefile": `all: careless inside
careless:
	+@auth=$$(echo "$$MAKEFLAGS" | sed 's/.*--jobserver-auth=//; s/ .*//'); $(PREFIX) python3 careless.py "$$auth"; python3 look.py "$$auth"
inside: careless
	+@$(PREFIX) $(MAKE) -f inside.mk
`,
		"inside.mk":   "all: a b c d\n\t@echo inside\n%:\n\t@sleep 0.01\n",
		"careless.py": "import fcntl, os, sys\nw = int(sys.argv[1].split(',')[1])\nfcntl.fcntl(w, fcntl.F_SETFL, os.O_WRONLY | os.O_NONBLOCK)\n",
		"look.py":     "import os, sys\nprint('blocking', os.get_blocking(int(sys.argv[1].split(',')[1])))\n",
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666))
	}
	var style []string
	if help, _ := exec.Command("make", "--help").Output(); strings.Contains(string(help), "--jobserver-style") {
		style = []string{"--jobserver-style=pipe"} // make 4.4 has a named FIFO else, which every job opens for itself
	}
	for prefix, want := range map[string]string{
		"":                                "blocking False\ninside\n",
		safeexec + " --keep-jobserver --": "blocking False\ninside\n",
		safeexec + " --guard --keep-jobserver --": "blocking True\ninside\n",
	} {
		cmd := exec.Command("make", append([]string{"-s", "-j4", "PREFIX=" + prefix}, style...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "MAKEFLAGS=")
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("%q: %v\n%s", prefix, err, out)
		}
	}
}
