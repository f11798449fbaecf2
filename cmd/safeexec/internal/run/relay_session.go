package run

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/cmd/safeexec/internal/signals"
	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/relay"
	"github.com/safeexec/safeexec/spawn"
)

// A terminal that the command reads from takes two of us. The command's terminal is the controlling one of a session of its own, or
// there would be neither ^C nor job control in it; and the kernel stops a command by ^Z only if its parent is in that session too.
// But a process that the caller's shell has started can't leave its session, and has to stay in it, to be stopped and continued by
// that shell. So the one that was started is the host: it has the caller's terminal, and carries the bytes. It starts itself again, as
// the leader of the new session: that one is the supervisor, as ever.

// sessionName begins the name by which the host starts the session; what it has to know follows.
const sessionName = "safeexec (relay)"

// A session is what the leader of the new session knows of the host. A nil one is for a process that is none.
type session struct {
	far        map[int]int // the descriptor that is to become the command's, by its number
	control    int
	tty        int // the command's terminal
	callers    int // the caller's
	foreground bool

	saved    *unix.Termios // the caller's settings
	restored sync.Once
}

// name is what sessionOf reads.
func (s *session) name() string {
	name := fmt.Sprintf("%s %d %d %d %t", sessionName, s.control, s.tty, s.callers, s.foreground)
	for number, fd := range s.far {
		name += fmt.Sprintf(" %d=%d", number, fd)
	}
	return name
}

// sessionOf returns the session that a host started this process for, if one did. Its descriptors aren't the command's.
func sessionOf(name string) *session {
	s := parseSession(name)
	if s == nil {
		return nil
	}
	for _, fd := range s.descriptors() {
		if !fdtable.Inherited(fd) {
			return nil
		}
	}
	for _, fd := range s.descriptors() {
		unix.CloseOnExec(fd)
	}
	return s
}

// parseSession reads what name wrote; nil stands for anything else.
func parseSession(name string) *session {
	rest, ok := strings.CutPrefix(name, sessionName+" ")
	if !ok {
		return nil
	}
	words := strings.Fields(rest)
	if len(words) < 4 {
		return nil
	}
	s := &session{far: map[int]int{}}
	var errs [4]error
	s.control, errs[0] = strconv.Atoi(words[0])
	s.tty, errs[1] = strconv.Atoi(words[1])
	s.callers, errs[2] = strconv.Atoi(words[2])
	s.foreground, errs[3] = strconv.ParseBool(words[3])
	for _, word := range words[4:] {
		left, right, _ := strings.Cut(word, "=")
		number, err1 := strconv.Atoi(left)
		fd, err2 := strconv.Atoi(right)
		if err := cmp.Or(err1, err2); err != nil {
			return nil
		}
		s.far[number] = fd
	}
	if errors.Join(errs[:]...) != nil {
		return nil
	}
	for _, fd := range s.descriptors() {
		if fd < 3 {
			return nil
		}
	}
	return s
}

func (s *session) descriptors() []int {
	fds := map[int]bool{s.control: true, s.tty: true, s.callers: true}
	for _, fd := range s.far {
		fds[fd] = true
	}
	var list []int
	for fd := range fds {
		list = append(list, fd)
	}
	return list
}

// guardLines pass what a guard explains, which is at the start of the command, line by line.
type guardLines struct{ to io.Writer }

func (g guardLines) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte("safeexec: guard: descriptor ")) {
		return g.to.Write(line)
	}
	return len(line), nil
}

// place puts the command's ends into its table.
func (s *session) place(pass []spawn.Descriptor) error {
	for i, d := range pass {
		if d.Mode != spawn.Relayed {
			continue
		}
		fd, ok := s.far[d.Number]
		if !ok {
			return about(fmt.Sprintf("--relay %d", d.Number), d.Number, unix.EBADF)
		}
		pass[i].FD = fd
	}
	return nil
}

// begin makes the terminal the new session's, whose leader this process is since before it was executed: a key of the caller's that
// stopped it would leave the host waiting. The command is a job in the session, as in a shell.
func (s *session) begin(attr *spawn.ChildAttr) (err error) {
	if s == nil {
		return nil
	}
	if err = unix.IoctlSetInt(s.tty, unix.TIOCSCTTY, 0); err != nil {
		return about("--relay", none, fmt.Errorf("begin a session: %w", err))
	}
	if s.saved, err = unix.IoctlGetTermios(s.tty, unix.TCGETS); err != nil {
		return about("--relay", none, err)
	}
	attr.Group, attr.Terminal = true, none
	if s.foreground {
		attr.Terminal = s.tty
	}
	return nil
}

// started: the command has its ends. One of the terminal stays here, so that it doesn't hang up when the command closes all of its
// own.
func (s *session) started() {
	for _, fd := range s.descriptors() {
		if fd != s.control && fd != s.tty && fd != s.callers {
			unix.Close(fd)
		}
	}
	s.say(sayStarted, 0)
	go func() {
		s.awaitHangUp()
		s.restore()
	}()
}

func (s *session) say(what, value byte) { say(s.control, what, value) }

// awaitHangUp returns when the host is gone.
func (s *session) awaitHangUp() {
	fds := []unix.PollFd{{Fd: int32(s.control)}}
	for {
		if n, err := unix.Poll(fds, -1); err == nil && n > 0 {
			return
		}
	}
}

// restore takes the caller's terminal out of raw mode, when the host was killed and can't.
func (s *session) restore() {
	s.restored.Do(func() {
		now, err := unix.IoctlGetTermios(s.callers, unix.TCGETS)
		if err != nil {
			return
		}
		raw := relay.Raw(*s.saved)
		raw.Oflag = now.Oflag
		if *now != raw {
			return
		}
		saved := *s.saved
		saved.Oflag |= now.Oflag
		unix.IoctlSetTermios(s.callers, unix.TCSETS, &saved)
	})
}

// stopped: the host stops, and says when to go on.
func (s *session) stopped(by syscall.Signal) { s.say(sayStopped, byte(by)) }

// leave gives the terminal up as the leader's end would: whoever is in its foreground gets a hang-up.
func (s *session) leave() {
	if s != nil {
		unix.IoctlSetInt(s.tty, unix.TIOCNOTTY, 0)
	}
}

// resumed does what the host said before it sent the SIGCONT.
func (s *session) resumed(group int) {
	if s == nil {
		return
	}
	var last byte
	for buffer := make([]byte, 2); ; last = buffer[0] {
		n, _, err := unix.Recvfrom(s.control, buffer, unix.MSG_DONTWAIT)
		if err != nil || n < len(buffer) {
			break
		}
	}
	switch last {
	case sayForeground:
		moveForeground(unix.Getpgrp(), group)
	case sayBackground:
		moveForeground(group, unix.Getpgrp())
	}
}

// finish has the host carry what the command wrote before it ended. A signal means that nobody wants to wait for that.
func (s *session) finish(queue *signals.Queue) {
	s.say(sayEnded, 0)
	infos := receive(queue)
	done := make(chan bool)
	go func() {
		for {
			if message, ok := hear(s.control); !ok || message[0] == sayDone {
				done <- !ok
				return
			}
		}
	}()
	for {
		select {
		case alone := <-done:
			if alone {
				s.restore()
			}
			return
		case info := <-infos:
			switch info.Signal() {
			case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
			default:
				return
			}
		}
	}
}
