package run

import (
	"io"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/cmd/safeexec/internal/signals"
	"github.com/safeexec/safeexec/internal/relay"
	"github.com/safeexec/safeexec/spawn"
)

// A host has the caller's terminals, and carries bytes between them and those of a session (see there).
type host struct {
	options    *Options
	relays     *relay.Set
	terminals  []*relay.Terminal // that the command reads from; the first is the session's
	signals    *signals.Queue
	infos      <-chan signals.Info
	messages   chan [2]byte
	control    int
	leader     int              // the session's, our child
	early      []syscall.Signal // of keys that came before the command
	running    bool             // the command is, or was
	ended      bool
	foreground bool // what the session was told
	status     int
}

// reading are the terminals that the command reads from; the one that controls this process comes first.
func reading(set *relay.Set) []*relay.Terminal {
	var all []*relay.Terminal
	for _, t := range set.Terminals() {
		switch {
		case !t.Reads():
		case t.Controls():
			all = append([]*relay.Terminal{t}, all...)
		default:
			all = append(all, t)
		}
	}
	return all
}

// run starts the session and carries until that has ended. It returns the exit status.
func (h *host) run(a *act, stderr io.Writer) int {
	if err := h.start(a); err != nil {
		return h.options.Fail(err, stderr)
	}
	h.infos = receive(h.signals)
	h.messages = make(chan [2]byte)
	go h.listen()
	h.relays.Run()
	if !h.await() {
		unix.Kill(h.leader, unix.SIGKILL)
		h.leave()
		return exitFailed
	}
	h.relays.End()
	go h.drain(nil)
	sig := finish(h.relays, h.infos, h.signals)
	h.leave()
	if sig != 0 {
		return 128 + sig
	}
	return h.status
}

// await carries until the session has ended, or only its supervisor is left, as a guard. It reports false when signals can't be had
// any more.
func (h *host) await() bool {
	drained := make(chan struct{})
	for !h.reap() {
		select {
		case info, ok := <-h.infos:
			if !ok {
				return false
			}
			h.signal(&info)
		case message := <-h.messages:
			switch message[0] {
			case sayEnded:
				h.ended = true
				h.relays.End()
				go h.drain(drained)
			case sayStays:
				h.status = int(message[1])
				return true
			default:
				h.message(message)
			}
		case <-drained:
			drained = nil
			h.leave()
			h.say(sayDone)
		}
	}
	return true
}

// drain waits until all that goes to terminals has arrived, which then needn't be raw any more.
func (h *host) drain(done chan<- struct{}) {
	for _, t := range h.terminals {
		<-t.Drained()
	}
	if done != nil {
		close(done)
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	h.leave()
}

// start is the walk to the session: gather, start, let go.
func (h *host) start(a *act) (err error) {
	o := h.options
	if o.dieWithParent {
		if err := dieWithParent(); err != nil {
			return err
		}
	}
	if h.signals, err = signals.Catch(); err != nil {
		return about("--relay", none, err)
	}
	r, err := newRestart()
	if err != nil {
		return about("--relay", none, err)
	}
	r.session, h.control = true, r.control
	h.foreground = h.terminals[0].Foreground()
	if h.leader, err = r.start(h.session(r, a).name(), o, a); err != nil {
		return about("--relay", none, err)
	}
	return h.letGo()
}

// session gives the session's leader what the relay needs.
func (h *host) session(r *restart, a *act) *session {
	s := &session{far: map[int]int{}, control: r.number, foreground: h.foreground}
	for _, d := range a.attr.Pass {
		if d.Mode == spawn.Relayed {
			s.far[d.Number] = r.give(h.relays.Far(d.Number), spawn.Relayed)
		}
	}
	s.callers = r.give(h.terminals[0].FD(), spawn.Shared) // whose mode isn't ours to change
	s.tty = r.give(h.relays.FarOf(h.terminals[0]), spawn.Relayed)
	return s
}

// letGo closes what was inherited, as a supervisor does.
func (h *host) letGo() error {
	if err := letGo(nil, slices.Concat(h.signals.Descriptors(), h.relays.Descriptors(), []int{h.control})); err != nil {
		unix.Kill(h.leader, unix.SIGKILL)
		return about("--relay", none, err)
	}
	return nil
}

// listen receives messages until the session ends.
func (h *host) listen() {
	for {
		message, ok := hear(h.control)
		if !ok {
			return
		}
		h.messages <- message
	}
}

func (h *host) say(what byte) { say(h.control, what, 0) }

func (h *host) message(m [2]byte) {
	switch m[0] {
	case sayStarted:
		h.running = true
		if here := h.terminals[0].Foreground(); here != h.foreground {
			h.resume()
		} else if here {
			h.enter()
		}
		for _, sig := range h.early {
			h.terminals[0].Signal(sig)
		}
	case sayStopped:
		h.stop(syscall.Signal(m[1]))
	}
}

// signal does what a signal asks for: the command's share goes to the session.
func (h *host) signal(info *signals.Info) {
	switch sig := info.Signal(); sig {
	case unix.SIGCHLD: // reap sees to that
	case unix.SIGCONT:
		h.resume()
	case unix.SIGWINCH:
		for _, t := range h.relays.Terminals() {
			t.Resize()
		}
		if !info.FromKernel() {
			info.Send(h.leader)
		}
	case unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP:
		h.key(info)
	case unix.SIGTTIN, unix.SIGTTOU:
		if info.FromKernel() {
			h.stop(sig)
			return
		}
		info.Send(h.leader)
	default:
		info.Send(h.leader)
	}
}

// key passes on what the caller's terminal made of a key while it wasn't raw: the key was for the command.
func (h *host) key(info *signals.Info) {
	switch sig := info.Signal(); {
	case !info.FromKernel():
		info.Send(h.leader)
	case !h.running:
		h.early = append(h.early, sig)
	case h.ended && sig == unix.SIGTSTP:
		h.stop(sig)
	case h.ended || h.terminals[0].Signal(sig) != nil:
		info.Send(h.leader)
	}
}

// stop stops this process as the command was stopped, so that the shell, which waits for it, gets to know it. A command that was
// stopped because it wanted the terminal when we didn't have it goes on if we have it now.
func (h *host) stop(by syscall.Signal) {
	wants := by == unix.SIGTTIN || by == unix.SIGTTOU
	if wants && !h.foreground && h.terminals[0].Foreground() {
		h.resume()
		return
	}
	for _, t := range h.terminals {
		t.Settle() // an editor puts the screen in order before it stops
	}
	h.leave()
	stopped := h.signals.Default(by, never)
	if h.continued() || stopped {
		h.resume()
		return
	}
	// The kernel doesn't stop what nobody could continue. Without us it wouldn't have stopped the command either, and would
	// have refused it the terminal.
	if wants && !h.terminals[0].Foreground() {
		h.relays.Cut()
		return
	}
	h.resume()
}

// continued reports whether a SIGCONT came in, after which this process went on. It doesn't wait for that without end, because another
// stop makes the kernel forget it.
func (h *host) continued() bool {
	late := time.After(200 * time.Millisecond)
	for {
		select {
		case <-late:
			return false
		case info, ok := <-h.infos:
			if !ok || info.Signal() == unix.SIGCONT {
				return true
			}
			h.signal(&info)
		}
	}
}

// resume has the command go on, in the foreground of its terminal if that is where we are.
func (h *host) resume() {
	if !h.running {
		return
	}
	h.foreground = h.terminals[0].Foreground()
	if h.foreground {
		h.enter()
		h.say(sayForeground)
	} else {
		h.leave()
		h.say(sayBackground)
	}
	unix.Kill(h.leader, unix.SIGCONT)
}

func (h *host) enter() {
	for _, t := range h.terminals {
		t.Resize()
		withoutStop(t.Enter)
	}
}

func (h *host) leave() {
	for _, t := range h.terminals {
		withoutStop(t.Leave)
	}
}

// reap reports whether the session has ended. As PID 1 we get orphans too.
func (h *host) reap() (ended bool) {
	h.status, ended = reap(h.leader, nil)
	return ended
}
