package spawn

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/ofd"
)

// A table turns entries into what package forkexec takes, and holds what has to be opened for that.
type table struct {
	path    string
	entries []entry
	moves   []fdtable.Move
	fresh   []reopened
}

// A reopened is a private description: made from the caller's descriptor from, and close when the start is over.
type reopened struct {
	from, fd int
	writing  ofd.Writing
}

func (t *table) release() {
	for _, r := range t.fresh {
		unix.Close(r.fd)
	}
}

// with calls start while the descriptors of all files from entry i on are borrowed: another goroutine's Close waits until
// start is over. File.Fd, unlike this, would make the description blocking for all who share it.
func (t *table) with(i int, start func([]fdtable.Move) error) error {
	if i == len(t.entries) {
		return start(t.moves)
	}
	e := &t.entries[i]
	if e.file == nil {
		return t.add(e, func() error { return t.with(i+1, start) })
	}
	conn, err := e.file.SyscallConn()
	if err != nil {
		return t.refuse(e, err)
	}
	err = t.refuse(e, os.ErrClosed) // unless it can be borrowed
	conn.Control(func(fd uintptr) {
		e.fd = int(fd)
		err = t.add(e, func() error { return t.with(i+1, start) })
	})
	return err
}

func (t *table) refuse(e *entry, err error) error {
	return &StartError{Path: t.path, Stage: stagePass, Number: e.number, Err: err}
}

// add settles what the child gets for an entry, and goes on.
func (t *table) add(e *entry, next func() error) error {
	from := e.fd
	if from != DevNull {
		var err error
		if from, err = t.source(e); err != nil {
			return t.refuse(e, err)
		}
	}
	t.moves = append(t.moves, fdtable.Move{From: from, To: e.number})
	return next()
}

// source is the descriptor that the child's is made of: the caller's, or one of a private description.
func (t *table) source(e *entry) (int, error) {
	if e.own {
		return e.fd, unix.SetNonblock(e.fd, false)
	}
	if e.private {
		return t.reopen(e)
	}
	flags, err := unix.FcntlInt(uintptr(e.fd), unix.F_GETFL, 0)
	if err != nil {
		return -1, err
	}
	if flags&unix.O_NONBLOCK == 0 {
		return e.fd, nil
	}
	return t.blocking(e)
}

// blocking finds something for a child that doesn't expect EAGAIN: a pipe, FIFO or terminal is opened again. What that
// can't be done with goes as it is when Pass named it; elsewhere Fd makes it blocking, for everybody, as in os/exec, if
// it was Go that made it non-blocking.
func (t *table) blocking(e *entry) (int, error) {
	if streams(e.fd) {
		fd, err := t.reopen(e)
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

// reopen returns a private description for an entry: one for all that share the caller's.
func (t *table) reopen(e *entry) (int, error) {
	for _, r := range t.fresh {
		if r.writing != e.writing {
			continue
		}
		if r.from == e.fd {
			return r.fd, nil
		}
		if same, err := ofd.Same(r.from, e.fd); err == nil && same {
			return r.fd, nil
		}
	}
	fd, err := ofd.Reopen(e.fd, e.writing)
	if err == nil {
		t.fresh = append(t.fresh, reopened{e.fd, fd, e.writing})
	}
	return fd, err
}
