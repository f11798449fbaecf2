package supervise

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/tests/behind"
)

func TestRelay(t *testing.T) {
	build(t)
	t.Run("intact", relayIntact)
	t.Run("socket", relaySocket)
	t.Run("flags", relayFlags)
	t.Run("RWF_NOWAIT", relayNowait)
	t.Run("killed", relayKilled)
	t.Run("safeexec killed", relaySafeexecKilled)
	t.Run("table", relayTable)
	t.Run("interrupted", relayInterrupted)
	t.Run("job control", relayJobControl)
	t.Run("once", relayOnce)
	t.Run("background", relayBackground)
	t.Run("cooked", relayCooked)
	t.Run("early key", relayEarlyKey)
	t.Run("hang-up", relayHangUp)
	t.Run("echo", relayEcho)
	t.Run("left raw by nobody", relayKilledTerminal)
	t.Run("bash", relayBash)
	t.Run("under bash", relayUnderBash)
	t.Run("to the foreground", relayToForeground)
	t.Run("long output", relayLongOutput)
	t.Run("left behind", relayLeftBehind)
}

// relayLeftBehind: the session's leader, who supervises, is the one that goes on guarding.
func relayLeftBehind(t *testing.T) {
	_, tty := openTerminal(t)
	behind.Guarded(t, nil, binary, tty, true, "--relay", "0", "--guard")
}

// relayed runs a helper of this file behind a relay.
func relayed(t *testing.T, list, helper string, args ...string) *exec.Cmd {
	t.Helper()
	proctest.Environment(helper)
	words := []string{"--relay", list, "--", proctest.NeedTool(t, "env"), "SAFEEXEC_TEST_HELPER=" + helper, proctest.Program(t)}
	cmd := exec.Command(binary, append(words, args...)...)
	cmd.Stderr = os.Stderr
	return cmd
}

// plainPipe is in blocking mode, as a shell's is.
func plainPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// relayCopy copies its input to its output, both of which it has made non-blocking before, in pieces of any size.
func relayCopy([]string) int {
	for fd := range 2 {
		if err := unix.SetNonblock(fd, true); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	in, out := os.NewFile(0, "in"), os.NewFile(1, "out") // package os waits for what is non-blocking
	buffer := make([]byte, 300_000)
	for {
		n, err := in.Read(buffer[:1+rand.IntN(len(buffer))])
		if n > 0 {
			if _, err := out.Write(buffer[:n]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		if err != nil {
			return 4
		}
	}
}

// pump writes pseudo-random bytes in pieces of any size, and returns their sum.
func pump(w io.Writer, size int, seed uint64) []byte {
	source, sizes, sum := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}), rand.New(rand.NewPCG(seed, 1)), sha256.New()
	buffer := make([]byte, 200_000)
	for size > 0 {
		piece := buffer[:min(size, 1+sizes.IntN(len(buffer)))]
		source.Read(piece)
		sum.Write(piece)
		if _, err := w.Write(piece); err != nil {
			return nil
		}
		size -= len(piece)
	}
	return sum.Sum(nil)
}

// slowly reads everything, now and then after a pause, and returns the sum.
func slowly(r io.Reader, seed uint64) (sum []byte, size int) {
	sizes, hash := rand.New(rand.NewPCG(seed, 2)), sha256.New()
	buffer := make([]byte, 200_000)
	for {
		n, err := r.Read(buffer[:1+sizes.IntN(len(buffer))])
		hash.Write(buffer[:n])
		size += n
		if err != nil {
			return hash.Sum(nil), size
		}
		if sizes.IntN(100) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

func seedOf(t *testing.T) uint64 {
	seed := rand.Uint64N(1 << 16)
	if text := os.Getenv("SAFEEXEC_SEED"); text != "" {
		fmt.Sscan(text, &seed)
	}
	t.Logf("SAFEEXEC_SEED=%d", seed)
	return seed
}

// Bytes go both ways intact, to a command that makes its ends non-blocking, and from and to whom that doesn't concern.
func relayIntact(t *testing.T) {
	for _, size := range []int{0, 1, 65536, 1<<20 + 1, 64 << 20} {
		seed := seedOf(t)
		inRead, inWrite := plainPipe(t)
		outRead, outWrite := plainPipe(t)
		cmd := relayed(t, "0,1", "relay-copy")
		cmd.Stdin, cmd.Stdout = inRead, outWrite
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for _, f := range []*os.File{inRead, outWrite} {
			if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
				t.Errorf("flags %#o, %v", flags, err)
			}
		}
		inRead.Close()
		outWrite.Close()
		sent := make(chan []byte, 1)
		go func() { sent <- pump(inWrite, size, seed); inWrite.Close() }()
		got, n := slowly(outRead, seed)
		if want := <-sent; !bytes.Equal(got, want) || n != size {
			t.Errorf("%d bytes: got %d, others than were sent", size, n)
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 4 {
			t.Error(err)
		}
	}
}

// The same through a socket, each way of which ends by itself.
func relaySocket(t *testing.T) {
	seed := seedOf(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	defer near.Close()
	cmd := relayed(t, "0,1", "relay-copy")
	cmd.Stdin, cmd.Stdout = far, far
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	far.Close()
	sent := make(chan []byte, 1)
	go func() { sent <- pump(near, 8<<20, seed); unix.Shutdown(fds[0], unix.SHUT_WR) }()
	got, n := slowly(near, seed)
	if want := <-sent; !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, others than were sent", n)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 4 {
		t.Error(err)
	}
	if flags, err := unix.FcntlInt(near.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("flags %#o, %v", flags, err)
	}
}

// Whatever flags the caller's descriptions have, they have afterwards.
func relayFlags(t *testing.T) {
	for _, mode := range []int{0, unix.O_NONBLOCK, unix.O_ASYNC} {
		inRead, inWrite := plainPipe(t)
		outRead, outWrite := plainPipe(t)
		var before []int
		for _, f := range []*os.File{inRead, outWrite} {
			unix.FcntlInt(f.Fd(), unix.F_SETFL, mode)
			flags, _ := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
			before = append(before, flags)
		}
		inWrite.WriteString("some")
		inWrite.Close()
		cmd := relayed(t, "0,1", "relay-copy")
		cmd.Stdin, cmd.Stdout = inRead, outWrite
		cmd.Run()
		for i, f := range []*os.File{inRead, outWrite} {
			if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags != before[i] {
				t.Errorf("flags were %#o, are %#o, %v", before[i], flags, err)
			}
		}
		outWrite.Close()
		if text, err := io.ReadAll(outRead); string(text) != "some" {
			t.Errorf("%q, %v", text, err)
		}
	}
}

// The caller's pipe can be written to without waiting, as before: splice(2) would change that.
func relayNowait(t *testing.T) {
	inRead, inWrite := plainPipe(t)
	outRead, outWrite := plainPipe(t)
	write := func() error {
		_, err := unix.Pwritev2(int(outWrite.Fd()), [][]byte{[]byte("x")}, -1, unix.RWF_NOWAIT)
		return err
	}
	if err := write(); errors.Is(err, unix.EOPNOTSUPP) {
		proctest.Skip(t, "RWF_NOWAIT on pipes (Linux 6.4)")
	} else if err != nil {
		t.Fatal(err)
	}
	inWrite.WriteString("some")
	inWrite.Close()
	cmd := relayed(t, "0,1", "relay-copy")
	cmd.Stdin, cmd.Stdout = inRead, outWrite
	cmd.Run()
	if err := write(); err != nil {
		t.Errorf("the description can't be written to without waiting any more: %v", err)
	}
	outWrite.Close()
	if text, err := io.ReadAll(outRead); string(text) != "xsomex" {
		t.Errorf("%q, %v", text, err)
	}
}

// relayDie writes so many bytes and dies at once.
func relayDie(args []string) int {
	var size int
	fmt.Sscan(args[0], &size)
	pump(os.NewFile(1, "out"), size, 7)
	unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
}

// What a command wrote before it was killed arrives, at whatever point that was.
func relayKilled(t *testing.T) {
	for _, size := range []int{0, 1, 4096, 65536, 65537, 500_000, 3_000_000} {
		r, w := plainPipe(t)
		cmd := relayed(t, "1", "relay-die", fmt.Sprint(size))
		cmd.Stdout = w
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		got, n := slowly(r, 7)
		if want := pump(io.Discard, size, 7); n != size || !bytes.Equal(got, want) {
			t.Errorf("%d of %d bytes arrived", n, size)
		}
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 137 {
			t.Errorf("status %d", code)
		}
	}
}

// relayWitness reads and writes until both have ended, and says how on a descriptor that isn't relayed.
func relayWitness([]string) int {
	said := os.NewFile(3, "witness")
	read := make(chan string)
	go func() {
		_, err := io.Copy(io.Discard, os.NewFile(0, "in"))
		read <- fmt.Sprintf("read: %v", err)
	}()
	signalled := catchPipe()
	for {
		if _, err := unix.Write(1, make([]byte, 1000)); err != nil {
			fmt.Fprintf(said, "write: %v\n%s\n", err, <-read)
			<-signalled
			return 0
		}
	}
}

// catchPipe returns what is sent a SIGPIPE.
func catchPipe() <-chan os.Signal {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, unix.SIGPIPE)
	return caught
}

// When safeexec is killed, at whatever point, the command sees both ends.
func relaySafeexecKilled(t *testing.T) {
	for _, after := range []int{0, 1, 1000, 70_000, 1_000_000} {
		inRead, inWrite := plainPipe(t)
		outRead, outWrite := plainPipe(t)
		saysRead, saysWrite := plainPipe(t)
		proctest.Environment("relay-witness")
		cmd := exec.Command(binary, "--relay", "0,1", "--keep", "3", "--",
			proctest.NeedTool(t, "env"), "SAFEEXEC_TEST_HELPER=relay-witness", proctest.Program(t))
		cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = inRead, outWrite, os.Stderr, []*os.File{saysWrite}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		inRead.Close()
		outWrite.Close()
		saysWrite.Close()
		inWrite.WriteString("some input")
		if _, err := io.CopyN(io.Discard, outRead, int64(after)); err != nil {
			t.Fatal(err)
		}
		for after == 0 && !hasChild(t, cmd.Process.Pid) { // before that there is nobody to tell
			time.Sleep(time.Millisecond)
		}
		cmd.Process.Kill()
		cmd.Wait()
		text, _ := io.ReadAll(saysRead)
		if want := "write: broken pipe\nread: <nil>\n"; string(text) != want {
			t.Errorf("killed after %d bytes: %q", after, text)
		}
		if _, err := inWrite.WriteString("more"); !errors.Is(err, unix.EPIPE) {
			t.Errorf("the caller's writer: %v", err)
		}
	}
}

// hasChild reports whether a process has a child, of whichever of its threads.
func hasChild(t *testing.T, pid int) bool {
	t.Helper()
	r, err := fdtable.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all, err := r.Processes()
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(all, func(p fdtable.Process) bool { return p.Parent == pid })
}

// relayList says what it inherited, on its last descriptor.
func relayList([]string) int {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		var fd int
		fmt.Sscan(e.Name(), &fd)
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			fmt.Print(fd, " ")
		}
	}
	return 0
}

// The command has what was named and nothing of the relay's.
func relayTable(t *testing.T) {
	for list, want := range map[string]string{"0,1": "0 1 2 ", "0:7,1": "0 1 2 7 ", "1,0:1000": "0 1 1000 2 "} {
		r, _ := plainPipe(t)
		cmd := relayed(t, list, "relay-list")
		cmd.Stdin = r
		text, err := cmd.Output()
		if string(text) != want || err != nil {
			t.Errorf("--relay %s: %q, %v", list, text, err)
		}
	}
}

// A signal ends safeexec when the command is gone, and nobody takes what it wrote.
func relayInterrupted(t *testing.T) {
	r, w := plainPipe(t)
	cmd := relayed(t, "1", "relay-die", "100000")
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := io.CopyN(io.Discard, r, 1); err != nil {
		t.Fatal(err)
	}
	for hasChild(t, cmd.Process.Pid) { // until the command has ended: its two pipes hold more than it wrote
		time.Sleep(time.Millisecond)
	}
	cmd.Process.Signal(unix.SIGTERM)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 143 {
		t.Errorf("status %d", code)
	}
}

// On terminals: as without a relay.

var relayOptions = []string{"--relay", "0-2"}

func relayJobControl(t *testing.T) { controlled(t, relayOptions) }

func relayOnce(t *testing.T) {
	receivedOnce(t, relayOptions)
	s := open(t, relayOptions)
	s.expect("ready")
	s.press("\x03")
	s.expect("ended 130, terminal back: true")
}

// A command in the background is stopped when it reads, and goes on in the foreground.
func relayBackground(t *testing.T) {
	s := open(t, relayOptions)
	s.expect("ready")
	stopped(s)
}

// ^Z stops the command, not safeexec alone, where the caller's terminal makes a signal of it: before the relay has put that into raw
// mode, or when somebody has taken it out.
func relayCooked(t *testing.T) {
	s := open(t, relayOptions)
	s.expect("ready")
	now := settings(t, s.keyboard)
	for ; now.Lflag&unix.ISIG != 0; now = settings(t, s.keyboard) {
		time.Sleep(time.Millisecond)
	}
	now.Lflag |= unix.ISIG
	if err := control(s.keyboard, func(fd int) error { return unix.IoctlSetTermios(fd, unix.TCSETS, &now) }); err != nil {
		t.Fatal(err)
	}
	stopped(s)
}

// ^Z stops safeexec at whatever moment of the start it comes, and all goes on after that.
func relayEarlyKey(t *testing.T) {
	for delay := range 30 {
		s := open(t, relayOptions)
		for own := proctest.Program(t); ; { // before that the key could stop the shell's child, and with it the shell
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.foreground())); err == nil && exe != own {
				break
			}
		}
		time.Sleep(time.Duration(delay) * time.Millisecond)
		s.press("\x1a")
		ready := s.expectEither("ready", "stopped by SIGTSTP") == "ready"
		if ready {
			s.expect("stopped by SIGTSTP")
		}
		s.goOn("go")
		if !ready {
			s.expect("ready")
		}
		s.press("more\n")
		s.expect("read more")
		s.press("\x04")
		s.expect("ended 5, terminal back: true")
	}
}

// stopped stops the command, which is reading, by a key. It goes on in the background, where it is stopped because it reads.
func stopped(s *session) {
	s.press("\x1a")
	s.expect("stopped by SIGTSTP")
	s.goOn("background")
	s.expect("stopped by SIGTTIN")
	s.goOn("go")
	s.press("more\n")
	s.expect("read more")
	s.press("\x04")
	s.expect("ended 5, terminal back: true")
}

// A terminal that goes away is a hang-up to the command.
func relayHangUp(t *testing.T) {
	s := open(t, relayOptions, "1")
	s.expect("ready")
	s.keyboard.Close()
	s.expect("got SIGHUP")
}

// A screen is a terminal with a program on it.
type screen struct {
	t      *testing.T
	master *os.File
	before unix.Termios // the settings when the program was started
	cmd    *exec.Cmd
	text   []byte
}

// show runs a command behind a relay, without a shell in between.
func show(t *testing.T, command ...string) *screen {
	t.Helper()
	return display(t, append([]string{binary, "--relay", "0-2", "--"}, command...)...)
}

func display(t *testing.T, argv ...string) *screen {
	t.Helper()
	master, tty := openTerminal(t)
	s := &screen{t: t, master: master, cmd: exec.Command(argv[0], argv[1:]...)}
	s.before = s.settings()
	err := control(master, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 44})
	})
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = tty, tty, tty
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	tty.Close() // so that the screen tells when nobody is left to write on it
	return s
}

// see reads until a text has come up.
func (s *screen) see(text string) {
	s.t.Helper()
	buffer := make([]byte, 4096)
	for !strings.Contains(string(s.text), text) {
		n, err := s.master.Read(buffer)
		if err != nil {
			s.t.Fatalf("instead of %q: %v, after %q", text, err, s.text)
		}
		s.text = append(s.text, buffer[:n]...)
	}
}

func (s *screen) press(keys string) {
	s.t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// settings are those that programs see: the keyboard's side has none of its own.
func (s *screen) settings() unix.Termios {
	s.t.Helper()
	return settings(s.t, s.master)
}

func settings(t *testing.T, master *os.File) (now unix.Termios) {
	t.Helper()
	err := control(master, func(fd int) error {
		got, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil {
			now = *got
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// What the command sets on its terminal counts: what is typed isn't shown when it turns that off, and everything is as before
// when it has ended, though it left it turned off.
func relayEcho(t *testing.T) {
	proctest.NeedTool(t, "stty")
	// No newline after "ready": a terminal shows a line and its end one after the other, and what is typed may come between the two.
	s := show(t, "/bin/sh", "-c", `test -t 0 && test -t 1 && test -t 2 && stty size && printf ready && read x
		stty -echo; echo hidden; read y; echo "got $x, $y"; stty raw; exit 9`)
	s.see("33 44")
	s.see("ready")
	s.press("shown\r")
	s.see("shown\r\nhidden")
	if s.settings().Lflag&unix.ECHO != 0 {
		t.Error("the caller's terminal echoes too")
	}
	s.press("secret\r")
	s.see("got shown, secret")
	if n := strings.Count(string(s.text), "secret"); n != 1 {
		t.Errorf("what was typed comes up: %q", s.text)
	}
	s.cmd.Wait()
	if code := s.cmd.ProcessState.ExitCode(); code != 9 {
		t.Errorf("status %d", code)
	}
	if now := s.settings(); now != s.before {
		t.Errorf("the settings were %+v, are %+v", s.before, now)
	}
}

// The terminal doesn't stay raw when safeexec is killed, and the command hears of it.
func relayKilledTerminal(t *testing.T) {
	said := filepath.Join(t.TempDir(), "said")
	s := show(t, "/bin/sh", "-c", `trap 'echo >"$1"; exit' HUP; echo ready; while :; do sleep 0.01; done`, "sh", said)
	s.see("ready")
	for s.settings() == s.before { // raw mode comes after the start
		time.Sleep(time.Millisecond)
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	for s.settings() != s.before {
		time.Sleep(time.Millisecond)
	}
	for {
		if _, err := os.Stat(said); err == nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// An interactive shell has job control on its terminal.
func relayBash(t *testing.T) {
	bash := proctest.NeedTool(t, "bash")
	s := show(t, bash, "--norc", "--noprofile", "--noediting", "-i")
	s.press("PS1='> '; echo $((6*7))\r")
	s.see("42")
	s.press("sh -c 'echo $((50+6)); exec sleep 1000'\r")
	s.see("56") // it runs, in the foreground
	s.press("\x1a")
	s.see("Stopped")
	s.press("kill -9 %1; wait; echo $((7*9))\r")
	s.see("63")
	s.press("exit 3\rexit 3\r") // the first only warns, if the shell hasn't noticed yet that the job is gone
	s.cmd.Wait()
	if code := s.cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("status %d: %q", code, s.text)
	}
}

// Under a real shell: what a job wrote before it was stopped comes before the shell says so, and the shell has its settings back.
func relayUnderBash(t *testing.T) {
	bash := proctest.NeedTool(t, "bash")
	s := display(t, bash, "--norc", "--noprofile", "--noediting", "-i")
	s.press("PS1='> '; echo $((6*7))\r")
	s.see("42")
	s.press(binary + ` --relay 0-2 -- sh -c 'stty raw; echo $((1+1))nd; kill -TSTP $$; echo $((2+1))rd'` + "\r")
	s.see("Stopped")
	if !bytes.Contains(s.text[:bytes.Index(s.text, []byte("Stopped"))], []byte("2nd")) {
		t.Errorf("late: %q", s.text)
	}
	s.press("stty -a | grep -o '.icanon'\r")
	s.see(" icanon")
	s.press("fg\r")
	s.see("3rd")
	s.text = s.text[bytes.Index(s.text, []byte("3rd")):]
	s.see("> ") // what is typed before is the job's
	s.press("exit 4\r")
	s.cmd.Wait()
	if code := s.cmd.ProcessState.ExitCode(); code != 4 {
		t.Errorf("status %d: %q", code, s.text)
	}
}

// A key reaches all of the command's group when safeexec has come to the foreground without hearing of it: a shell sends no SIGCONT
// to a job that runs.
func relayToForeground(t *testing.T) {
	bash := proctest.NeedTool(t, "bash")
	s := display(t, bash, "--norc", "--noprofile", "--noediting", "-i")
	s.press("PS1='> '; " + binary + ` --relay 0-2 -- sh -c 'echo $((7*8))th; sleep 1000 | cat' &` + "\r")
	s.see("56th")
	s.press("fg; exit $?\r")
	for foreground(t, s.master) == s.cmd.Process.Pid {
		time.Sleep(time.Millisecond)
	}
	s.press("\x03")
	s.cmd.Wait()
	if code := s.cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("status %d: %q", code, s.text)
	}
}

// All of it arrives before the terminal hangs up, which the end of a session does.
func relayLongOutput(t *testing.T) {
	s := show(t, "/bin/sh", "-c", `i=0; while test $i -lt 3000; do i=$((i+1)); echo line $i; done; exit 6`)
	s.see("line 3000\r\n")
	s.cmd.Wait()
	if n := bytes.Count(s.text, []byte("line ")); n != 3000 || s.cmd.ProcessState.ExitCode() != 6 {
		t.Errorf("%d lines, status %d", n, s.cmd.ProcessState.ExitCode())
	}
}
