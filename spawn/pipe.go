package spawn

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"sync/atomic"
	"syscall"
)

// StdinPipe returns a pipe to the command's standard input. Wait closes it; the caller may do so before, and must where
// the command waits for the end of its input.
func (c *Cmd) StdinPipe() (io.WriteCloser, error) {
	if err := c.mayPipe("Stdin", c.Stdin != nil); err != nil {
		return nil, err
	}
	theirs, ours, err := c.pipe(true)
	if err != nil {
		return nil, err
	}
	c.Stdin = theirs
	return ours, nil
}

// StdoutPipe returns a pipe from the command's standard output. Wait closes it, so everything must have been read before.
func (c *Cmd) StdoutPipe() (io.ReadCloser, error) {
	if err := c.mayPipe("Stdout", c.Stdout != nil); err != nil {
		return nil, err
	}
	theirs, ours, err := c.pipe(false)
	if err != nil {
		return nil, err
	}
	c.Stdout = theirs
	return ours, nil
}

// StderrPipe returns a pipe from the command's standard error. Wait closes it, so everything must have been read before.
func (c *Cmd) StderrPipe() (io.ReadCloser, error) {
	if err := c.mayPipe("Stderr", c.Stderr != nil); err != nil {
		return nil, err
	}
	theirs, ours, err := c.pipe(false)
	if err != nil {
		return nil, err
	}
	c.Stderr = theirs
	return ours, nil
}

func (c *Cmd) mayPipe(field string, set bool) error {
	switch {
	case set:
		return errors.New("exec: " + field + " already set")
	case c.Process != nil:
		return errors.New("exec: " + field + "Pipe after process started")
	}
	return nil
}

// pipe makes a pipe that the command owns: the child reads from it or writes to it.
func (c *Cmd) pipe(childReads bool) (theirs, ours *os.File, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	theirs, ours = w, r
	if childReads {
		theirs, ours = r, w
	}
	c.theirs, c.ours = append(c.theirs, theirs), append(c.ours, ours)
	return theirs, ours, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// A stream is one of the standard three: open it is a file, or /dev/null without one.
type stream struct {
	file   *os.File
	own    bool // a pipe's end for the child alone
	closed bool // a nil *os.File was named: os/exec leaves the number closed
}

func (c *Cmd) streamOf(f *os.File) stream {
	return stream{file: f, own: slices.Contains(c.theirs, f), closed: f == nil}
}

// streams are the standard three, after making the pipes that Stdin, Stdout and Stderr ask for.
func (c *Cmd) streams() (all [3]stream, err error) {
	if all[0], err = c.input(c.Stdin); err != nil {
		return all, err
	}
	if all[1], err = c.output(c.Stdout); err != nil {
		return all, err
	}
	if c.Stderr != nil && equal(c.Stderr, c.Stdout) {
		all[2] = all[1]
		return all, nil
	}
	all[2], err = c.output(c.Stderr)
	return all, err
}

func (c *Cmd) input(from io.Reader) (stream, error) {
	if from == nil {
		return stream{}, nil
	}
	if f, ok := from.(*os.File); ok {
		return c.streamOf(f), nil
	}
	theirs, ours, err := c.pipe(true)
	if err != nil {
		return stream{}, err
	}
	c.copies = append(c.copies, func() error {
		_, err := io.Copy(ours, from)
		if unread(err, ours) {
			err = nil
		}
		if failed := ours.Close(); err == nil {
			err = failed
		}
		return err
	})
	return c.streamOf(theirs), nil
}

// unread recognises that the command ended, or closed its input, before it had read everything. That is no error.
func unread(err error, pipe *os.File) bool {
	at, ok := err.(*fs.PathError)
	return ok && at.Op == "write" && at.Path == pipe.Name() && at.Err == syscall.EPIPE
}

func (c *Cmd) output(to io.Writer) (stream, error) {
	if to == nil {
		return stream{}, nil
	}
	if f, ok := to.(*os.File); ok {
		return c.streamOf(f), nil
	}
	theirs, ours, err := c.pipe(false)
	if err != nil {
		return stream{}, err
	}
	c.copies = append(c.copies, func() error {
		_, err := io.Copy(to, ours)
		ours.Close() // where writing failed, the command shall hear of it
		return err
	})
	return c.streamOf(theirs), nil
}

// equal compares two writers, of which neither need be of a type that == can compare.
func equal(a, b any) bool {
	return b != nil && reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}

// copying are the goroutines that carry bytes for a running command. When done is closed, err is the first error.
type copying struct {
	done chan struct{}
	left atomic.Int32
	bad  atomic.Bool
	err  error
}

func startCopying(copies []func() error) *copying {
	if len(copies) == 0 {
		return nil
	}
	g := &copying{done: make(chan struct{})}
	g.left.Store(int32(len(copies)))
	for _, run := range copies {
		go g.carry(run)
	}
	return g
}

func (g *copying) carry(run func() error) {
	if err := run(); err != nil && g.bad.CompareAndSwap(false, true) {
		g.err = err
	}
	if g.left.Add(-1) == 0 {
		close(g.done)
	}
}

func (g *copying) over() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// clipSize is how much a clip keeps of either end.
const clipSize = 32 << 10

// A clip is a writer that keeps the beginning and the end of what is written to it.
type clip struct {
	head, tail []byte
	skipped    int
}

func (w *clip) Write(p []byte) (int, error) {
	n := min(len(p), clipSize-len(w.head))
	w.head, w.tail = append(w.head, p[:n]...), append(w.tail, p[n:]...)
	if len(w.tail) > 2*clipSize {
		w.trim()
	}
	return len(p), nil
}

func (w *clip) trim() {
	if over := len(w.tail) - clipSize; over > 0 {
		w.skipped += over
		w.tail = w.tail[:copy(w.tail, w.tail[over:])]
	}
}

func (w *clip) bytes() []byte {
	w.trim()
	if w.skipped > 0 {
		w.head = fmt.Appendf(w.head, "\n... omitting %d bytes ...\n", w.skipped)
	}
	return append(w.head, w.tail...)
}
