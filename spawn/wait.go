package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Wait waits until the command has ended and everything was copied to and from it. It returns nil after exit status 0,
// *ExitError after any other end, and errors of copying or cancelling only where the command itself succeeded.
func (c *Cmd) Wait() error {
	switch {
	case c.Process == nil:
		return errors.New("exec: not started")
	case c.ProcessState != nil:
		return errors.New("exec: Wait was already called")
	}
	state, err := c.Process.Wait()
	if err == nil && !state.Success() {
		err = &ExitError{ProcessState: state}
	}
	c.ProcessState = state
	c.endRelays()

	seen := c.watcher.finish()
	if err == nil {
		err = seen.err
	}
	if copied := c.awaitCopies(seen); err == nil {
		err = copied
	}
	closeAll(c.ours)
	c.ours = nil
	c.closeRelays()
	return err
}

// awaitCopies waits for the copying goroutines, for WaitDelay at the longest: then it closes their pipes.
func (c *Cmd) awaitCopies(seen verdict) error {
	if seen.timer != nil {
		defer seen.timer.Stop()
	}
	if c.copying == nil || seen.settled {
		return nil
	}
	var late <-chan time.Time
	switch {
	case c.copying.over(): // also when WaitDelay is over too
		return c.copying.err
	case seen.timer != nil:
		late = seen.timer.C
	case c.WaitDelay != 0:
		timer := time.NewTimer(c.WaitDelay)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-c.copying.done:
		return c.copying.err
	case <-late:
		c.cutOff()
		return ErrWaitDelay
	}
}

// cutOff closes our ends of the pipes, which some descendant of the command may hold open for ever, and sees the
// goroutines end. What they report then comes from the closing.
func (c *Cmd) cutOff() {
	closeAll(c.ours)
	c.cutRelays()
	<-c.copying.done
}

// A watcher is the goroutine that waits for the context's end while the command runs.
type watcher struct {
	ended  chan struct{} // closed when the process has ended
	result chan verdict
}

// A verdict is what the watcher saw and did until the process ended.
type verdict struct {
	err     error
	timer   *time.Timer // WaitDelay, still running
	settled bool        // the copying is over, and err says what is to be said about it
}

func (c *Cmd) watch() {
	if c.ctx == nil || c.ctx.Done() == nil || c.Cancel == nil && c.WaitDelay == 0 {
		return
	}
	c.watcher = &watcher{make(chan struct{}), make(chan verdict, 1)}
	go func() { c.watcher.result <- c.guard(c.ctx) }()
}

// finish tells the watcher, if there is one, that the process has ended.
func (w *watcher) finish() verdict {
	if w == nil {
		return verdict{}
	}
	close(w.ended)
	return <-w.result
}

// guard cancels the command when the context ends first, and kills it when WaitDelay runs out as well.
func (c *Cmd) guard(ctx context.Context) (v verdict) {
	select {
	case <-c.watcher.ended:
		return v
	case <-ctx.Done():
	}
	if c.Cancel != nil {
		v.err = cancelled(ctx, c.Cancel())
	}
	if c.WaitDelay == 0 {
		return v
	}
	timer := time.NewTimer(c.WaitDelay)
	select {
	case <-c.watcher.ended:
		v.timer = timer
		return v
	case <-timer.C:
	}
	return c.kill(v)
}

// cancelled is what a successful command reports after Cancel returned err.
func cancelled(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return ctx.Err()
	case errors.Is(err, os.ErrProcessDone):
		return nil
	}
	return fmt.Errorf("exec: canceling Cmd: %w", err)
}

// kill comes before the pipes are closed: the command shall die of SIGKILL, and not of SIGPIPE.
func (c *Cmd) kill(v verdict) verdict {
	err := c.Process.Kill()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		v.err = fmt.Errorf("exec: killing Cmd: %w", err)
	}
	if c.copying == nil {
		return v
	}
	v.settled = true
	select {
	case <-c.copying.done:
		if v.err == nil && err != nil { // nothing was cancelled or killed that the error could come from
			v.err = c.copying.err
		}
	default:
		c.cutOff()
		if v.err == nil {
			v.err = ErrWaitDelay
		}
	}
	return v
}
