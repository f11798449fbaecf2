package relay

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	chunk      = 128 << 10 // what cat takes: fewer calls for large writes
	outputRoom = 256 << 10
	inATTY     = 64 << 10 // more than a terminal holds back
)

// A direction carries bytes one way. It owns both ends.
type direction struct {
	from, to end
	output   bool // what the child writes
	events   *events
	gate     *gate
	terminal *Terminal // which hangs up when the caller's does

	refused bool        // the last read was, in the foreground
	busy    atomic.Bool // perhaps something was read and isn't written yet
	rested  time.Time
	buffer  []byte
	pending []byte // read and not yet written
	ready   bool   // there is something to read
	flows   bool   // there was much to read the last time: asking whether there is more would only cost
	over    bool   // the child has ended
	left    int    // how much is still to be carried then
}

// events are what all directions of a Set heed.
type events struct {
	ended signal // the child has: output carries what is there by then, input stops
	cut   signal // nobody waits for what hasn't arrived by now
}

// How a direction ends.
type outcome uint8

const (
	running    outcome = iota
	sourceOver         // the source came to its end
	sinkBroken         // nobody reads what is written
	stopped            // the child has ended, or nobody waits any more
)

func (d *direction) run() {
	if d.from.kind == terminal || d.to.kind == terminal {
		// Who isn't in a terminal's foreground is stopped for writing to it, or reading, unless these are blocked.
		runtime.LockOSThread()
		blockTerminalStops()
	}
	d.left = chunk // until the child has ended, there is no end to it
	how := running
	for how == running {
		how = d.step()
	}
	d.finish(how)
}

// step carries some bytes, or waits until there are some or there is room.
func (d *direction) step() outcome {
	switch {
	case d.events.cut.given():
		return stopped
	case !d.over && d.events.ended.given():
		return d.beginEnd()
	case len(d.pending) > 0:
		return d.flush()
	case d.left == 0:
		return stopped
	case d.gate.closed():
		return d.wait(false)
	case !d.ready && !d.flows && !d.over:
		return d.wait(true)
	}
	if d.buffer == nil {
		d.buffer = make([]byte, chunk)
	}
	d.busy.Store(true)
	n, err := d.from.read(d.buffer[:min(d.left, chunk)])
	switch {
	case err == unix.EINTR:
		return running
	case err == unix.EAGAIN:
		return d.nothing()
	case err == unix.EIO && d.fromBackground():
		return running
	case err != nil || n == 0:
		return sourceOver
	}
	d.pending = d.buffer[:n]
	d.carried(n)
	return d.flush()
}

// flush writes what was read.
func (d *direction) flush() outcome {
	n, err := d.to.write(d.pending)
	switch {
	case err == unix.EINTR:
	case err == unix.EAGAIN:
		return d.waitForRoom()
	case err != nil:
		return sinkBroken
	default:
		d.pending = d.pending[n:]
	}
	return running
}

// nothing: the source is empty, and that is what was waited for if the child has ended.
func (d *direction) nothing() outcome {
	d.ready, d.flows = false, false
	if d.over {
		return stopped
	}
	return running
}

func (d *direction) carried(n int) {
	d.ready, d.flows, d.refused = false, n >= chunk/4, false
	if d.over {
		d.left -= n
	}
}

// wait waits for something to read, and meanwhile for anything else that ends the direction.
func (d *direction) wait(reading bool) outcome {
	fds := [5]unix.PollFd{
		{Fd: int32(d.from.fd)},
		{Fd: int32(d.to.fd)},
		{Fd: d.gate.number(), Events: unix.POLLIN},
		{Fd: d.events.cut.number(), Events: unix.POLLIN},
		{Fd: d.events.ended.number(), Events: unix.POLLIN},
	}
	d.busy.Store(false)
	if reading {
		fds[0].Events = unix.POLLIN
	}
	if err := d.poll(fds[:]); err != nil {
		return running // EINTR
	}
	switch {
	case fds[1].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0:
		return sinkBroken
	case fds[2].Revents != 0:
		d.gate.passed()
	case !reading && fds[0].Revents != 0:
		return sourceOver // nothing but a hang-up is told unasked
	default:
		d.ready = fds[0].Revents != 0
	}
	return running
}

// poll waits, and lets the scheduler go round now and then. A goroutine that hasn't been through it for 10 ms counts as one that
// won't give way: as long as that lasts, each wait has its P taken away and a thread woken that looks in vain for other work.
func (d *direction) poll(fds []unix.PollFd) error {
	if now := time.Now(); now.Sub(d.rested) > 4*time.Millisecond {
		runtime.Gosched()
		d.rested = now
	}
	_, err := unix.Poll(fds, -1)
	return err
}

// beginEnd: the child has ended. Some descendant may go on writing for ever, so what counts is what is there by now.
func (d *direction) beginEnd() outcome {
	if !d.output {
		return stopped
	}
	d.over, d.left = true, inATTY
	if d.from.kind != terminal {
		d.left, _ = unix.IoctlGetInt(d.from.fd, unix.TIOCINQ)
	}
	return running
}

// waitForRoom waits until something can be written.
func (d *direction) waitForRoom() outcome {
	fds := [3]unix.PollFd{
		{Fd: int32(d.to.fd), Events: unix.POLLOUT},
		{Fd: d.events.cut.number(), Events: unix.POLLIN},
		{Fd: d.events.ended.number(), Events: unix.POLLIN},
	}
	if d.over {
		fds[2].Fd = -1
	}
	d.poll(fds[:])
	return running // what is broken says so when it is written to
}

// finish passes the end on. Closing says everything for pipes and terminals: whoever has the other side sees an end, or EPIPE.
// On a socket each way ends by itself.
func (d *direction) finish(how outcome) {
	if d.from.kind == socket {
		d.finishSocket(how)
	}
	d.from.close()
	d.to.close()
	if d.terminal == nil {
		return
	}
	if d.output {
		close(d.terminal.drained)
	}
	if how != stopped || d.events.cut.given() {
		d.terminal.hangUp()
	}
}

func (d *direction) finishSocket(how outcome) {
	switch {
	case !d.output && how == sourceOver:
		unix.Shutdown(d.to.fd, unix.SHUT_WR)
	case d.output && how == sourceOver && !d.from.hungUp():
		// The child said that it has no more to write. If it only closed its end, the caller's connection stays as open as it
		// was, for whoever else has it. (After the end of the input the two can't be told apart: it counts as closed.)
		unix.Shutdown(d.to.fd, unix.SHUT_WR)
	case d.output && how != sourceOver:
		// Closed with something in it, a socket would say ECONNRESET to the child, and no SIGPIPE.
		unix.Shutdown(d.from.fd, unix.SHUT_RD)
		for buffer := make([]byte, chunk); ; {
			if n, err := d.from.read(buffer); n <= 0 && err != unix.EINTR {
				return
			}
		}
	}
}

func blockTerminalStops() {
	var block unix.Sigset_t
	block.Val[0] = 1<<(unix.SIGTTOU-1) | 1<<(unix.SIGTTIN-1)
	unix.PthreadSigmask(unix.SIG_BLOCK, &block, nil)
}
