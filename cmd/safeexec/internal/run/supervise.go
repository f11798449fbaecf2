package run

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/cmd/safeexec/internal/signals"
	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/poller"
	"github.com/safeexec/safeexec/internal/relay"
	"github.com/safeexec/safeexec/seccomp"
	"github.com/safeexec/safeexec/spawn"
)

// supervision are the options for which safeexec stays as the command's parent.
type supervision struct {
	stay    toggle
	toGroup toggle
	restore toggle

	reportTo reportTo
	relay    list
	session  *session // or nil
	front    number   // a socket to the process that the caller waits for, where that is another one
}

// wanted reports whether any option asks for a parent that stays.
func (s *supervision) wanted() bool {
	return bool(s.stay || s.restore) || s.reportTo.set || len(s.relay.items) > 0
}

// check refuses what would be without effect.
func (s *supervision) check() error {
	if bool(s.toGroup) && !s.wanted() {
		return about("--forward-to-group", none, errors.New("there is no --supervise that it could go with"))
	}
	return nil
}

// A supervisor is the parent of a running command.
type supervisor struct {
	options *Options
	signals *signals.Queue
	started *spawn.Child
	child   int
	own     int     // this program, for handOver, or none
	record  *record // for --report, or nil
	log     int     // a copy of standard error for --on-violation log, or none
	relays  *relay.Set
	session *session // a relayed terminal, seen from within, or nil
	before  snapshot // what --restore puts back
	tookTTY bool     // the command's group had the terminal when the command was stopped
	status  int
}

// supervise runs the command as a child, and returns the exit status when it has ended.
func (o *Options) supervise(a *act, command []string, stderr io.Writer) int {
	// The signal mask and the parent's death are matters of a thread.
	runtime.LockOSThread()
	s := &supervisor{options: o, own: none, log: none}
	host, err := s.openRelays(a)
	switch {
	case err != nil:
		return o.Fail(err, stderr)
	case host != nil:
		return host.run(a, stderr)
	case o.needsFront():
		if s.relays != nil { // the supervisor opens its own
			s.relays.Close()
		}
		return o.stand(a, stderr)
	}
	if err := s.start(a, command); err != nil {
		s.takeTerminalBack()
		return o.Fail(err, stderr)
	}
	for ended := s.reap(); !ended; ended = s.reap() {
		info, err := s.signals.Next()
		if err != nil {
			return s.giveUp(err)
		}
		s.forward(&info)
	}
	s.takeTerminalBack()
	s.finishRelays()
	s.end(command)
	o.writeStatus(fmt.Sprintf(`{"exit-code":%d}`, s.status))
	s.leaveGuard()
	return s.status
}

// end does what is to be done when the command has ended.
func (s *supervisor) end(command []string) {
	if s.record != nil {
		if err := s.record.write(command, s.status); err != nil {
			s.status = s.options.Fail(about("--report", none, err), s.stderr())
		}
	}
	if err := s.before.restore(); err != nil {
		s.status = s.options.Fail(about("--restore", none, err), s.stderr())
	}
}

// leaveGuard is the last act, when everything of the caller's may go.
func (s *supervisor) leaveGuard() {
	if s.own == none || !s.started.Left() || os.Getpid() == 1 { // with PID 1 all others end
		return
	}
	if err := s.handOver(); err != nil {
		s.status = s.options.Fail(about("--supervise", none, fmt.Errorf("guard what the command left behind: %w", err)), s.stderr())
	}
}

// stderr is where what goes wrong after the start can still be said.
func (s *supervisor) stderr() io.Writer {
	if s.record != nil && s.record.text != nil {
		return s.record.text
	}
	return s.before.stderr()
}

// start is the walk to the running command: gather, start, let go.
func (s *supervisor) start(a *act, command []string) (err error) {
	o := s.options
	if o.dieWithParent {
		if err := dieWithParent(); err != nil {
			return err
		}
	}
	if s.signals, err = signals.Catch(); err != nil {
		return about("--supervise", none, err)
	}
	if os.Getpid() != 1 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return about("--supervise", none, fmt.Errorf("become the reaper of orphans: %w", err))
		}
	}
	if o.restore {
		if s.before, err = snapshotOf(a.shared); err != nil {
			return about("--restore", none, err)
		}
	}
	if err := s.prepareGuard(a); err != nil {
		return err
	}
	attr := spawn.ChildAttr{ExecAttr: a.attr, Group: bool(o.toGroup), Terminal: none}
	if o.toGroup {
		attr.Terminal = ownedTerminal()
		defer closeTerminal(attr.Terminal)
	}
	if o.keepListen {
		attr.OwnPID = "LISTEN_PID"
	}
	if err := s.session.begin(&attr); err != nil {
		return err
	}
	if s.started, err = spawn.StartChild(a.path, command, a.variables, &attr); err != nil {
		takeFromNobody(attr.Terminal) // the child's group had it before the program was refused
		return explain(err)
	}
	s.child = s.started.PID
	o.writeStatus(fmt.Sprintf(`{"child-pid":%d}`, s.child))
	if err := s.letGo(); err != nil {
		unix.Kill(s.child, unix.SIGKILL)
		return about("--supervise", none, err)
	}
	go s.started.Serve()
	s.runRelays()
	return nil
}

// prepareGuard opens what --report and a guard by description need. A report without a guard lets the command do as it likes, and
// only watches.
func (s *supervisor) prepareGuard(a *act) (err error) {
	o := s.options
	if o.reportTo.set {
		if s.record, err = newRecord(o.reportTo.file, a.shared); err != nil {
			return about("--report", none, err)
		}
		if a.attr.Guard == nil {
			s.record.learning = true
			a.attr.Guard = &spawn.Guard{ByDescription: true, Learn: true}
		} else {
			explain := a.attr.Guard.Explain
			a.attr.Guard.Explain = func(number int, gets string) {
				s.record.gets(number, gets)
				if explain != nil {
					explain(number, gets)
				}
			}
		}
		a.attr.Guard.Observe = s.record.observe
	}
	if a.attr.Guard == nil {
		return nil
	}
	if a.attr.Guard.Action == seccomp.Log {
		if err := s.logViolations(a.attr.Guard); err != nil {
			return about("--on-violation log", none, err)
		}
	}
	if s.own, err = own(); err != nil {
		return about("--guard", none, err)
	}
	return nil
}

// logViolations writes a line for each to standard error, which stays open for that.
func (s *supervisor) logViolations(g *spawn.Guard) error {
	fd, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("standard error: %w", err)
	}
	s.log = fd
	observe := g.Observe
	g.Observe = func(attempt spawn.Attempt) {
		unix.Write(fd, fmt.Appendf(nil, "safeexec: log: %d (%s): %s on the description of %d\n",
			attempt.PID, oneLine(attempt.Program), attempt.Call, attempt.Number))
		if observe != nil {
			observe(attempt)
		}
	}
	return nil
}

// dieWithParent: the command dies with safeexec, and safeexec with the caller.
func dieWithParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return about("--die-with-parent", none, err)
	}
	if os.Getppid() != parentAtStart { // nobody would tell any more
		unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	return nil
}

// letGo closes what was inherited: whoever waits for the end of a pipe or connection shall see it as if safeexec weren't there.
// Only the status descriptor stays. 0, 1 and 2 become /dev/null, where there is one, so that nothing else is opened under these numbers.
func (s *supervisor) letGo() error {
	return letGo(s.options.statusNumbers(), slices.Concat(s.signals.Descriptors(), s.before.copies(), s.needed(), s.relayDescriptors()))
}

// letGo closes what was inherited and isn't kept; marked is what is close-on-exec and needed here.
func letGo(kept, marked []int) error {
	if err := fdtable.CloseInherited(kept, append(marked, poller.Descriptors()...)); err != nil {
		return fmt.Errorf("close what the command has: %w", err)
	}
	openNull()
	return nil
}

// needed are the descriptors of the guard and the report, and the one to the front.
func (s *supervisor) needed() []int {
	fds := s.started.Descriptors()
	if s.options.front.set {
		fds = append(fds, s.options.front.n)
	}
	if s.own != none {
		fds = append(fds, s.own)
	}
	if s.record != nil {
		fds = append(fds, s.record.kept...)
	}
	if s.log != none { // a number, because os.File.Fd makes the caller's description blocking
		fds = append(fds, s.log)
	}
	return fds
}

// reap takes away whoever has ended: the command, or an orphan that became our child. It reports whether the command has.
func (s *supervisor) reap() (ended bool) {
	s.status, ended = reap(s.child, s.stop)
	return ended
}

// reap takes away whoever has ended, and reports whether one of the children has, and with what exit status. It calls stopped, unless
// that is nil, when that child was stopped.
func reap(child int, stopped func(by syscall.Signal)) (exitStatus int, ended bool) {
	options := unix.WNOHANG
	if stopped != nil {
		options |= unix.WUNTRACED
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, options, nil)
		switch {
		case err == unix.EINTR:
		case err != nil || pid == 0:
			return 0, false
		case pid != child:
		case status.Stopped():
			stopped(status.StopSignal())
		case status.Signaled():
			return 128 + int(status.Signal()), true
		default:
			return status.ExitStatus(), true
		}
	}
}

// forward passes a signal on.
func (s *supervisor) forward(info *signals.Info) {
	switch {
	case info.Signal() == unix.SIGCHLD: // reap sees to that
	case info.Signal() == unix.SIGCONT:
		s.resume(info)
	case info.Signal() == unix.SIGWINCH && s.resized(info): // the command heard of it, or will
	case s.reached(info):
	case bool(s.options.toGroup), s.key(info):
		info.Send(-s.child)
	default:
		info.Send(s.child)
	}
}

// reached reports whether the command has got the signal too: what the kernel sends because of a terminal, it sends to the
// whole process group, but for the hang-up that the session's leader gets.
func (s *supervisor) reached(info *signals.Info) bool {
	if !info.FromKernel() || s.childGroup() != unix.Getpgrp() {
		return false
	}
	switch info.Signal() {
	case unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGWINCH:
		return true
	case unix.SIGHUP:
		session, err := unix.Getsid(0)
		return err == nil && session != os.Getpid()
	}
	return false
}

// key reports whether a relayed terminal made the signal of a key, and sent it here: we are in its foreground when safeexec is in the
// background of the caller's, or has come back from there without a SIGCONT.
func (s *supervisor) key(info *signals.Info) bool {
	switch info.Signal() {
	case unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP:
		return s.session != nil && info.FromKernel() && s.childGroup() == s.child
	}
	return false
}

// childGroup is the command's process group, or 0.
func (s *supervisor) childGroup() int {
	group, err := unix.Getpgid(s.child)
	if err != nil {
		return 0
	}
	return group
}

// giveUp ends the command: nobody would look after it.
func (s *supervisor) giveUp(err error) int {
	unix.Kill(s.child, unix.SIGKILL)
	return s.options.Fail(about("--supervise", none, err), s.stderr())
}

// statusNumbers is the status descriptor, if there is one.
func (o *Options) statusNumbers() []int {
	if o.statusFD.set {
		return []int{o.statusFD.n}
	}
	return nil
}

// writeStatus writes a line to the status descriptor. If nobody reads it any more there is nobody to tell.
func (o *Options) writeStatus(line string) {
	for _, fd := range o.statusNumbers() {
		unix.Write(fd, []byte(line+"\n"))
	}
}

// A snapshot is what shared descriptions were like, each with a copy of a descriptor to put that back through. While there
// is one, the other side of a pipe doesn't see its end.
type snapshot []held

// A held is one description, and the command's descriptor that it was for.
type held struct {
	number, fd int
	flags      int
	termios    *unix.Termios
}

// snapshotOf looks at the descriptions of descriptors: the caller's number by the command's.
func snapshotOf(shared map[int]int) (snapshot, error) {
	var s snapshot
	for number, from := range shared {
		fd, err := unix.FcntlInt(uintptr(from), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, fmt.Errorf("descriptor %d: %w", number, err)
		}
		h := held{number: number, fd: fd}
		if h.flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil {
			return nil, fmt.Errorf("descriptor %d: %w", number, err)
		}
		h.termios, _ = unix.IoctlGetTermios(fd, unix.TCGETS) // what is no terminal has none
		s = append(s, h)
	}
	return s, nil
}

func (s snapshot) copies() (fds []int) {
	for _, h := range s {
		fds = append(fds, h.fd)
	}
	return fds
}

// stderr is where what goes wrong after the start can still be said.
func (s snapshot) stderr() io.Writer {
	for _, h := range s {
		if h.number == 2 {
			return os.NewFile(uintptr(h.fd), "stderr")
		}
	}
	return io.Discard
}

// restore puts back what has changed, all that it can.
func (s snapshot) restore() error {
	var failed []string
	var first error
	for _, h := range s {
		if err := h.restore(); err != nil {
			failed = append(failed, fmt.Sprintf("descriptor %d", h.number))
			first = cmp.Or(first, err)
		}
	}
	if first == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", strings.Join(failed, ", "), first)
}
