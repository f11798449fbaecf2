package run

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/cmd/safeexec/internal/signals"
	"github.com/safeexec/safeexec/ofd"
)

// Job control: to the shell, safeexec is the job, so it has to stop and go on with the command.

// stop stops safeexec as the command was stopped, so that the shell, which waits for safeexec, gets to know it. SIGSTOP counts
// where there is a terminal that somebody has to get back; else it was sent to the command alone, and so may SIGCONT be.
func (s *supervisor) stop(by syscall.Signal) {
	if s.session != nil {
		s.session.stopped(by)
		return
	}
	tty := openTerminal()
	if by == unix.SIGSTOP && tty < 0 {
		return
	}
	if tty >= 0 {
		group := s.childGroup()
		s.tookTTY = group != unix.Getpgrp() && foreground(tty) == group
		unix.Close(tty)
	}
	// A SIGCONT for our group reaches the command first, which is younger.
	s.signals.Default(by, func() bool { return s.changed(unix.WCONTINUED | unix.WEXITED) })
}

// resume continues the command, after giving the terminal back to its group if that had it.
func (s *supervisor) resume(info *signals.Info) {
	group := s.childGroup()
	if s.wentOn(group == unix.Getpgrp()) {
		return
	}
	s.session.resumed(group)
	if s.tookTTY {
		s.tookTTY = false
		moveForeground(unix.Getpgrp(), group)
	}
	if group > 0 && group != unix.Getpgrp() {
		unix.Kill(-group, unix.SIGCONT)
		return
	}
	info.Send(s.child)
}

// wentOn reports whether the command may have had a SIGCONT too, as a member of our group, or was stopped since, which reap hasn't seen
// yet. Then it mustn't get another: a key may be about to stop it, and SIGCONT takes that back. Once the command has been continued,
// the signal says nothing of when it was sent; one that finds the command in the stop that reap saw, or never continued, is for it.
func (s *supervisor) wentOn(inGroup bool) bool {
	changes := unix.WSTOPPED
	if inGroup {
		changes |= unix.WCONTINUED
	}
	for range 2 { // waitid looks for a stop first, and then a new one may hide that the command went on before
		if s.changed(changes) {
			return true
		}
	}
	return false
}

// changed reports whether the command has changed, in one of these ways, since reap looked.
func (s *supervisor) changed(how int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, s.child, &info, how|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo != 0
}

// takeTerminalBack makes this process group the terminal's again, after a command that had been given a group of its own.
func (s *supervisor) takeTerminalBack() {
	if s.options.toGroup && s.child > 0 {
		moveForeground(s.child, unix.Getpgrp())
	}
}

// openTerminal opens the controlling terminal; none where there isn't one.
func openTerminal() int {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return none
	}
	return fd
}

// ownedTerminal opens the controlling terminal if its foreground is ours.
func ownedTerminal() int {
	tty := openTerminal()
	if tty >= 0 && foreground(tty) != unix.Getpgrp() {
		unix.Close(tty)
		return none
	}
	return tty
}

func closeTerminal(tty int) {
	if tty >= 0 {
		unix.Close(tty)
	}
}

func foreground(tty int) int {
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	if err != nil {
		return none
	}
	return group
}

// moveForeground makes to the terminal's foreground group, if from is that.
func moveForeground(from, to int) {
	tty := openTerminal()
	if tty < 0 {
		return
	}
	defer unix.Close(tty)
	if foreground(tty) == from {
		setForeground(tty, to)
	}
}

// takeFromNobody makes this process group the terminal's again, if the one that has it is empty.
func takeFromNobody(tty int) {
	if group := foreground(tty); group > 0 && unix.Kill(-group, 0) == unix.ESRCH {
		setForeground(tty, unix.Getpgrp())
	}
}

func setForeground(tty, group int) {
	withoutStop(func() error { return unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, group) })
}

// withoutStop calls what would stop a process that is in the background: the kernel permits it to a thread that blocks SIGTTOU.
func withoutStop(call func() error) error {
	var block, old unix.Sigset_t
	block.Val[0] = 1 << (unix.SIGTTOU - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &block, &old); err != nil {
		return err
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	return call()
}

// restore puts back what the command has changed.
func (h held) restore() error {
	if err := (ofd.State{Flags: h.flags}).Restore(h.fd); err != nil {
		return err
	}
	if h.termios == nil {
		return nil
	}
	now, err := unix.IoctlGetTermios(h.fd, unix.TCGETS)
	if err != nil || *now == *h.termios { // a terminal that was hung up has nothing to put back
		return nil
	}
	return withoutStop(func() error { return unix.IoctlSetTermios(h.fd, unix.TCSETS, h.termios) })
}
