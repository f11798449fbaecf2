package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// progress says on a terminal how far a listing is, in one line that is erased at the end. A listing that takes no time shows
// nothing, and what isn't a terminal gets nothing.
type progress struct {
	w           io.Writer
	processes   atomic.Int64
	descriptors atomic.Int64
	total       atomic.Int64
	stage       atomic.Value // a string: what comes after the reading
	end         chan struct{}
	ended       sync.WaitGroup
	once        sync.Once
}

func startProgress(w io.Writer) *progress {
	p := &progress{w: w, end: make(chan struct{})}
	if w == os.Stderr && isTerminal(2) {
		p.ended.Go(p.show)
	}
	return p
}

// stop erases the line.
func (p *progress) stop() {
	p.once.Do(func() { close(p.end) })
	p.ended.Wait()
}

func (p *progress) expect(processes int) { p.total.Store(int64(processes)) }

func (p *progress) done(descriptors int) {
	p.processes.Add(1)
	p.descriptors.Add(int64(descriptors))
}

func (p *progress) say(stage string) { p.stage.Store(stage) }

func (p *progress) show() {
	const eraseLine = "\r\x1b[K"
	tick := time.NewTicker(time.Second / 8)
	defer tick.Stop()
	shown := false
	for {
		select {
		case <-tick.C:
			fmt.Fprint(p.w, eraseLine, p.text())
			shown = true
		case <-p.end:
			if shown {
				fmt.Fprint(p.w, eraseLine)
			}
			return
		}
	}
}

func (p *progress) text() string {
	text := fmt.Sprintf("%d of %d processes, %d descriptors", p.processes.Load(), p.total.Load(), p.descriptors.Load())
	if stage, ok := p.stage.Load().(string); ok {
		text += ", " + stage
	}
	return text
}
