package run

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/cmd/safeexec/internal/signals"
	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/relay"
	"github.com/safeexec/safeexec/spawn"
)

// makeRelayed adds what one ITEM of --relay names.
func (t *table) makeRelayed(item fdtable.Item) error {
	option := "--relay " + item.String()
	switch {
	case item.All:
		return about(option, none, errors.New("all is for --keep: say which ones"))
	case item.Suffix != "":
		return about(option, none, fmt.Errorf("@%s is for --private", item.Suffix))
	}
	return t.addItem(item, entry{option: option, relayed: true})
}

// openRelays makes the command's ends of all that is relayed. It returns a host where that has a terminal which the command reads
// from: then this process isn't the one that supervises the command.
func (s *supervisor) openRelays(a *act) (*host, error) {
	if s.session = s.options.session; s.session != nil {
		return nil, s.session.place(a.attr.Pass)
	}
	var requests []relay.Request
	for _, d := range a.attr.Pass {
		if d.Mode == spawn.Relayed {
			requests = append(requests, relay.Request{Number: d.Number, FD: d.FD})
		}
	}
	if len(requests) == 0 {
		return nil, nil
	}
	var err error
	s.relays, err = relay.Open(requests)
	var at *relay.Error
	switch {
	case errors.As(err, &at):
		return nil, about(fmt.Sprintf("--relay %d", at.Number), at.Number, at.Err)
	case err != nil:
		return nil, about("--relay", none, err)
	}
	if terminals := reading(s.relays); terminals != nil {
		return &host{options: s.options, relays: s.relays, terminals: terminals}, nil
	}
	for i, d := range a.attr.Pass {
		if d.Mode == spawn.Relayed {
			a.attr.Pass[i].FD = s.relays.Far(d.Number)
		}
	}
	return nil, nil
}

// relayDescriptors stay open here while the command runs.
func (s *supervisor) relayDescriptors() []int {
	switch {
	case s.session != nil:
		return s.session.descriptors()
	case s.relays != nil:
		return s.relays.Descriptors()
	}
	return nil
}

// runRelays begins to carry: the command has its ends.
func (s *supervisor) runRelays() {
	switch {
	case s.session != nil:
		s.session.started()
	case s.relays != nil:
		s.relays.Run()
	}
}

// finishRelays waits until what the command wrote has arrived, or until a signal says that nobody wants that any more: the
// command, which would have taken it, is gone.
func (s *supervisor) finishRelays() {
	switch {
	case s.session != nil:
		s.session.finish(s.signals)
	case s.relays != nil:
		if sig := finish(s.relays, receive(s.signals), s.signals); sig != 0 {
			s.status = 128 + sig
		}
	}
}

// finish returns the signal by which it was interrupted, or 0.
func finish(set *relay.Set, infos <-chan signals.Info, queue *signals.Queue) int {
	done := make(chan struct{})
	go func() {
		set.Finish()
		close(done)
	}()
	for {
		select {
		case <-done:
			return 0
		case info, ok := <-infos:
			if !ok {
				return int(unix.SIGKILL)
			}
			switch sig := info.Signal(); sig {
			case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH:
			case unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
				queue.Default(sig, never)
			default:
				return int(sig)
			}
		}
	}
}

// never: there is nothing that a stop could be too late for.
func never() bool { return false }

// receive makes a channel of a queue; it is closed when the queue fails.
func receive(queue *signals.Queue) <-chan signals.Info {
	infos := make(chan signals.Info)
	go func() {
		for {
			info, err := queue.Next()
			if err != nil {
				close(infos)
				return
			}
			infos <- info
		}
	}()
	return infos
}

// resized passes a change of size on to terminals that are nobody's controlling ones. The command may have had its signal already,
// but then it came too early.
func (s *supervisor) resized(info *signals.Info) bool {
	if s.relays == nil || len(s.relays.Terminals()) == 0 {
		return false
	}
	for _, t := range s.relays.Terminals() {
		t.Resize()
	}
	info.Send(s.child)
	return true
}

// openNull takes those of 0, 1 and 2 that are free, so that nothing else is opened under these numbers.
func openNull() {
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		if fd > 2 {
			unix.Close(fd)
			return
		}
	}
}
