// Package supervise drives the real binary as a parent that stays, on a terminal of the test's own.
package supervise

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/tests/behind"
)

var (
	binary string
	before []string // what stands before the binary in TestTerminal's commands
)

func TestMain(m *testing.M) {
	proctest.Helper("shell", shell)
	proctest.Helper("typist", typist)
	proctest.Helper("relay-copy", relayCopy)
	proctest.Helper("relay-die", relayDie)
	proctest.Helper("relay-witness", relayWitness)
	proctest.Helper("relay-list", relayList)
	behind.Register()
	behind.RegisterRestricted()
	proctest.Main(m)
}

func build(t *testing.T) { binary = proctest.NeedBinary(t, t.TempDir()) }

func TestTerminal(t *testing.T) {
	build(t)
	onTerminal(t)
}

// TestTerminalBehindFront: all is the same where another process stands between the shell and the supervisor.
func TestTerminalBehindFront(t *testing.T) {
	build(t)
	before = behind.Restricted(t, 0)
	defer func() { before = nil }()
	onTerminal(t)
}

func onTerminal(t *testing.T) {
	t.Run("job control", jobControl)
	t.Run("once", once)
	t.Run("continued", continued)
	t.Run("interrupted", interrupted)
	t.Run("refused", refused)
}

// shell is as much of an interactive shell as job control takes. It runs its arguments as a job in the foreground of its terminal,
// says how the job changes, and continues it when it has stopped.
func shell(args []string) int {
	out, words := os.NewFile(3, "out"), os.NewFile(4, "words")
	job := exec.Command(args[0], args[1:]...)
	job.Stdin, job.Stdout, job.Stderr = os.Stdin, out, out
	job.SysProcAttr = &syscall.SysProcAttr{Foreground: true, Ctty: 0}
	if err := job.Start(); err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	signal.Ignore(unix.SIGTTOU) // not before: the job would ignore it too
	pid := job.Process.Pid
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, unix.WUNTRACED, nil); err != nil {
			continue // EINTR
		}
		if !status.Stopped() {
			group, _ := unix.IoctlGetInt(0, unix.TIOCGPGRP)
			fmt.Fprintf(out, "ended %d, terminal back: %v\n", status.ExitStatus(), group == pid)
			return 0
		}
		unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, unix.Getpgrp())
		fmt.Fprintf(out, "stopped by %v\n", unix.SignalName(status.StopSignal()))
		var word string
		fmt.Fscan(words, &word)
		if word != "background" {
			unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, pid)
		}
		if word == "alone" {
			unix.Kill(pid, unix.SIGCONT)
		} else {
			unix.Kill(-pid, unix.SIGCONT)
		}
		fmt.Fprintln(out, "continued")
	}
}

// typist reads lines and says what it read, and each signal that it gets.
func typist(args []string) int {
	got := make(chan os.Signal, 8)
	for _, arg := range args {
		var n int
		fmt.Sscan(arg, &n)
		signal.Notify(got, syscall.Signal(n))
	}
	if len(args) > 0 {
		fmt.Println("ready")
		for sig := range got {
			fmt.Println("got", unix.SignalName(sig.(syscall.Signal)))
			if sig == unix.SIGUSR1 || sig == unix.SIGHUP {
				return 0
			}
		}
	}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println("read", lines.Text())
	}
	return 5
}

// A session is the shell on a terminal, seen from its keyboard.
type session struct {
	t        *testing.T
	keyboard *os.File
	say      *os.File
	lines    *bufio.Reader
}

// openTerminal opens a pseudo-terminal: its keyboard and screen, and what programs see.
func openTerminal(t *testing.T) (master, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	var name string
	err = control(master, func(fd int) error {
		n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
		name = fmt.Sprintf("/dev/pts/%d", n)
		if err == nil {
			err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); tty.Close() })
	return master, tty
}

func open(t *testing.T, options []string, args ...string) *session {
	t.Helper()
	master, tty := openTerminal(t)
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	goRead, goWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command := append([]string{binary}, options...)
	if before != nil {
		command = append(append(command, "--guard"), behind.Unheld()...)
	}
	command = append(command, "--", proctest.Program(t))
	cmd := proctest.Command(t, "shell", append(command, args...)...)
	cmd.Env = append(proctest.Environment("typist"), proctest.Environment("shell")...)
	cmd.Args = append([]string{cmd.Path}, wrap(t, append(command, args...))...)
	cmd.Stdin, cmd.ExtraFiles = tty, []*os.File{outWrite, goRead}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	outWrite.Close()
	goRead.Close()
	t.Cleanup(func() {
		cmd.Process.Kill()
		master.Close()
		cmd.Wait()
		outRead.Close()
		goWrite.Close()
	})
	return &session{t, master, goWrite, bufio.NewReader(outRead)}
}

// wrap has env name the helper that the command is to become: the shell was another.
func wrap(t *testing.T, command []string) []string {
	env := proctest.NeedTool(t, "env")
	return slices.Concat(before, []string{env, "SAFEEXEC_TEST_HELPER=typist"}, command)
}

func control(f *os.File, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if failed := conn.Control(func(fd uintptr) { err = call(int(fd)) }); failed != nil {
		return failed
	}
	return err
}

func (s *session) press(keys string) {
	s.t.Helper()
	if _, err := s.keyboard.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// goOn has the shell continue the job: "go", or only safeexec, not the group: "alone", or without the terminal: "background". A key
// that is pressed before that can be lost, because a command that has begun to stop may still read.
func (s *session) goOn(how string) {
	s.t.Helper()
	fmt.Fprintln(s.say, how)
	s.expect("continued")
}

// foreground is the terminal's foreground process group, which is safeexec's own unless the command has one.
func (s *session) foreground() int {
	s.t.Helper()
	return foreground(s.t, s.keyboard)
}

func foreground(t *testing.T, master *os.File) (group int) {
	t.Helper()
	err := control(master, func(fd int) (err error) {
		group, err = unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return group
}

// expect reads the next lines.
func (s *session) expect(lines ...string) {
	s.t.Helper()
	for _, want := range lines {
		s.expectEither(want)
	}
}

// expectEither reads the next line, which may be one of several.
func (s *session) expectEither(lines ...string) string {
	s.t.Helper()
	got, err := s.lines.ReadString('\n')
	if got = strings.TrimSpace(got); err != nil || !slices.Contains(lines, got) {
		s.t.Fatalf("got %q, %v, want one of %q", got, err, lines)
	}
	return got
}

// One command that is stopped and continued by a shell, several times, in the job's group and in its own.
func jobControl(t *testing.T) {
	for _, options := range [][]string{{"--supervise"}, {"--supervise", "--forward-to-group"}} {
		t.Run(strings.Join(options, " "), func(t *testing.T) { controlled(t, options) })
	}
}

func controlled(t *testing.T, options []string) {
	s := open(t, options)
	s.expect("ready")
	s.press("one\n")
	s.expect("read one")
	for range 50 { // a SIGCONT that is passed on late takes the next stop back
		s.press("\x1a")
		s.expect("stopped by SIGTSTP")
		s.goOn("go")
		s.press("more\n")
		s.expect("read more")
	}
	s.press("\x04")
	s.expect("ended 5, terminal back: true")
}

// What the terminal sends to the group arrives once.
func once(t *testing.T) {
	for _, options := range [][]string{{"--supervise"}, {"--supervise", "--forward-to-group"}} {
		t.Run(strings.Join(options, " "), func(t *testing.T) { receivedOnce(t, options) })
	}
}

func receivedOnce(t *testing.T, options []string) {
	s := open(t, options, "2", "3", "10", "28")
	s.expect("ready")
	s.press("\x03")
	s.expect("got SIGINT")
	s.press("\x1c")
	s.expect("got SIGQUIT")
	size := unix.Winsize{Row: 11, Col: 22}
	if err := control(s.keyboard, func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &size) }); err != nil {
		t.Fatal(err)
	}
	s.expect("got SIGWINCH")
	// safeexec, or the command itself where it has the terminal: what came twice would come before this.
	if err := unix.Kill(s.foreground(), unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	s.expect("got SIGUSR1", "ended 0, terminal back: true")
}

// A SIGCONT for safeexec alone reaches the command, when it is stopped and when it never was.
func continued(t *testing.T) {
	s := open(t, []string{"--supervise"})
	s.expect("ready")
	s.press("\x1a")
	s.expect("stopped by SIGTSTP")
	s.goOn("alone")
	s.press("more\n\x04")
	s.expect("read more", "ended 5, terminal back: true")

	s = open(t, []string{"--supervise"}, "18", "10")
	s.expect("ready")
	if err := unix.Kill(s.foreground(), unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	s.expect("got SIGCONT")
	if err := unix.Kill(s.foreground(), unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	s.expect("got SIGUSR1", "ended 0, terminal back: true")
}

// Without a handler the keys end the command, and the status says by which.
func interrupted(t *testing.T) {
	s := open(t, []string{"--supervise"})
	s.expect("ready")
	s.press("\x03")
	s.expect("ended 130, terminal back: true")
}

// A program that the kernel refuses doesn't take the terminal with it.
func refused(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("what no kernel executes"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := open(t, []string{"--supervise", "--forward-to-group", "--", program})
	s.expect("safeexec: "+program+": exec format error", "ended 126, terminal back: true")
}
