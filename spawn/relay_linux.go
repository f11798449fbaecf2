package spawn

import (
	"errors"

	"github.com/safeexec/safeexec/internal/relay"
)

// errTerminal: a terminal takes a session of its own, raw mode and job control, which are no business of a library.
var errTerminal = errors.New("a terminal can't be relayed by a package, only by the command safeexec")

// openRelays makes the child's ends for all that is relayed.
func (t *table) openRelays() error {
	var requests []relay.Request
	for _, e := range t.entries {
		if e.relayed {
			requests = append(requests, relay.Request{Number: e.number, FD: e.fd})
		}
	}
	if len(requests) == 0 {
		return nil
	}
	set, err := relay.Open(requests)
	var about *relay.Error
	switch {
	case errors.As(err, &about):
		return t.refuse(about.Number, about.Err)
	case err != nil:
		return t.refuse(requests[0].Number, err)
	case len(set.Terminals()) > 0:
		set.Close()
		return t.refuse(requests[0].Number, errTerminal)
	}
	t.relays = set
	return nil
}

// refuseRelayed is for a process that won't be there to carry anything.
func refuseRelayed(path string, pass []Descriptor) error {
	for _, d := range pass {
		if d.Mode == Relayed {
			err := errors.New("a process that is replaced can't relay it")
			return &StartError{Path: path, Stage: stagePass, Number: d.Number, Err: err}
		}
	}
	return nil
}

// carry begins to carry what is relayed. What the command wrote is waited for like what is copied.
func (c *Cmd) carry() {
	if c.relays == nil {
		return
	}
	set := c.relays
	set.Run()
	c.copies = append(c.copies, func() error {
		set.Wait()
		return nil
	})
}

// endRelays: the command has ended.
func (c *Cmd) endRelays() {
	if c.relays != nil {
		c.relays.End()
	}
}

// cutRelays: nobody waits any more.
func (c *Cmd) cutRelays() {
	if c.relays != nil {
		c.relays.End()
		c.relays.Cut()
	}
}

func (c *Cmd) closeRelays() {
	if c.relays != nil {
		c.relays.Close()
		c.relays = nil
	}
}
