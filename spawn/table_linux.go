package spawn

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/relay"
	"github.com/safeexec/safeexec/ofd"
)

// A table turns entries into what package forkexec takes, and holds what has to be opened for that.
type table struct {
	path    string
	entries []entry
	guard   *Guard
	moves   []fdtable.Move
	settled settlement // the guard's
	fresh   []reopened
	relays  *relay.Set
}

// A reopened is a private description: made from the caller's descriptor from, and closed when the start is over.
type reopened struct {
	from, fd int
	writing  ofd.Writing
}

func (t *table) release() {
	for _, r := range t.fresh {
		unix.Close(r.fd)
	}
	if t.relays != nil {
		t.relays.Close()
	}
}

// with calls start with the moves, while the descriptors of all files from entry i on are borrowed: another goroutine's
// Close waits until start is over. File.Fd, unlike this, would make the description blocking for all who share it.
func (t *table) with(i int, start func() error) error {
	for i < len(t.entries) && t.entries[i].file == nil {
		i++
	}
	if i == len(t.entries) {
		if err := t.settle(); err != nil {
			return err
		}
		return start()
	}
	e := &t.entries[i]
	conn, err := e.file.SyscallConn()
	if err != nil {
		return t.refuse(e.number, err)
	}
	err = t.refuse(e.number, os.ErrClosed) // unless it can be borrowed
	conn.Control(func(fd uintptr) {
		e.fd = int(fd)
		err = t.with(i+1, start)
	})
	return err
}

func (t *table) refuse(number int, err error) error {
	return &StartError{Path: t.path, Stage: stagePass, Number: number, Err: err}
}

// settle finds a source for each entry: the caller's descriptor, or one of a private description.
func (t *table) settle() error {
	if err := t.openRelays(); err != nil {
		return err
	}
	t.moves = make([]fdtable.Move, len(t.entries))
	var guarded []guarded
	for i := range t.entries {
		e := &t.entries[i]
		from, err := t.source(e)
		if err != nil {
			return t.refuse(e.number, err)
		}
		t.moves[i] = fdtable.Move{From: from, To: e.number}
		if from == e.fd && !e.own && from != DevNull {
			guarded = append(guarded, guardedEntry(i, e))
		}
	}
	if t.guard == nil {
		return nil
	}
	settled, err := t.guard.settle(guarded, func(fd int) (int, error) { return t.reopen(fd, ofd.Refuse, true) })
	if err != nil {
		var about *descriptorError
		if errors.As(err, &about) {
			return t.refuse(about.number, about.err)
		}
		return &StartError{Path: t.path, Stage: stageGuard, Number: -1, Err: err}
	}
	t.settled = settled
	for _, d := range guarded {
		t.moves[d.entry].From = d.fd
	}
	return nil
}

// source is the descriptor that the child's is made of, as far as the guard has no say.
func (t *table) source(e *entry) (int, error) {
	switch {
	case e.fd == DevNull:
		return DevNull, nil
	case e.own:
		return e.fd, unix.SetNonblock(e.fd, false)
	case e.relayed:
		return t.relays.Far(e.number), nil
	case e.private:
		return t.reopen(e.fd, e.writing, false)
	}
	flags, err := unix.FcntlInt(uintptr(e.fd), unix.F_GETFL, 0)
	if err != nil {
		return -1, err
	}
	if flags&unix.O_NONBLOCK == 0 || e.asIs {
		return e.fd, nil
	}
	return t.blocking(e)
}

// blocking finds something for a child that doesn't expect EAGAIN: a pipe, FIFO or terminal is opened again. What that
// can't be done with goes as it is when Pass named it; elsewhere Fd makes it blocking, for everybody, as in os/exec, if
// it was Go that made it non-blocking.
func (t *table) blocking(e *entry) (int, error) {
	if streams(e.fd) {
		fd, err := t.reopen(e.fd, ofd.Refuse, true)
		var refusal *ofd.Refusal
		if !errors.As(err, &refusal) {
			return fd, err
		}
	}
	if !e.pass {
		e.file.Fd()
	}
	return e.fd, nil
}

// streams reports whether fd is a pipe, a FIFO or a terminal: with any other file than a socket, the flag means nothing
// or isn't ours to judge.
func streams(fd int) bool {
	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) != nil {
		return false
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return true
	case unix.S_IFCHR:
		_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		return err == nil
	}
	return false
}

// reopen returns a private description of what is behind fd: one for all that share the caller's. Whoever doesn't care how
// it is written to takes what there is.
func (t *table) reopen(fd int, writing ofd.Writing, any bool) (int, error) {
	for _, r := range t.fresh {
		if !same(r.from, fd) {
			continue
		}
		if r.writing != writing && !any {
			return -1, errors.New("it shares a description with another one that is to be private in another way")
		}
		return r.fd, nil
	}
	private, err := ofd.Reopen(fd, writing)
	if err == nil {
		t.fresh = append(t.fresh, reopened{fd, private, writing})
	}
	return private, err
}

// same reports whether two descriptors have one description. Where the kernel doesn't tell (kcmp(2) is often refused in
// containers, and F_DUPFD_QUERY is of Linux 6.10), two that can't be told apart count as the same: the two ends of a pipe,
// which is one file, can.
func same(a, b int) bool {
	if a == b {
		return true
	}
	if equal, err := ofd.Same(a, b); err == nil {
		return equal
	}
	one, err := looksOf(a)
	if err != nil {
		return false
	}
	other, err := looksOf(b)
	return err == nil && one == other
}

// looks are what a description shows of itself.
type looks struct {
	device, inode uint64
	flags         int
	offset        int64 // or -1
}

func looksOf(fd int) (l looks, err error) {
	var stat unix.Stat_t
	if err = unix.Fstat(fd, &stat); err != nil {
		return l, err
	}
	l.device, l.inode = stat.Dev, stat.Ino
	if l.flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil {
		return l, err
	}
	if l.offset, err = unix.Seek(fd, 0, unix.SEEK_CUR); err != nil {
		l.offset = -1
	}
	return l, nil
}
