package relay

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/ofd"
)

// A kind of what bytes go through.
type kind uint8

const (
	pipe kind = iota
	socket
	terminal
)

// An end is a descriptor that bytes are read from or written to. It never waits in a call, if that can be had without touching a
// description that others have too: what is ours is in non-blocking mode, sockets are asked by flag, and for the rest
// there are poll(2) and RWF_NOWAIT.
type end struct {
	fd    int
	kind  kind
	ours  bool // nobody else has the description
	waits bool // the kernel doesn't know RWF_NOWAIT for it
}

// ourEnd takes ownership of a descriptor whose description nobody else has.
func ourEnd(fd int, k kind) (end, error) {
	if k == socket {
		return end{fd: fd, kind: k, ours: true}, nil
	}
	return end{fd: fd, kind: k, ours: true}, unix.SetNonblock(fd, true)
}

// callersEnd makes an end of the caller's description: a private one where it can be opened again, else a duplicate. Both are
// close-on-exec.
func callersEnd(fd int, k kind) (end, error) {
	if k != socket {
		if private, err := ofd.Reopen(fd, ofd.Refuse); err == nil {
			e, err := ourEnd(private, k)
			if err != nil {
				unix.Close(private)
			}
			return e, err
		}
	}
	duplicate, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	return end{fd: duplicate, kind: k}, err
}

// another is the same end under a number of its own.
func (e end) another() (end, error) {
	fd, err := unix.FcntlInt(uintptr(e.fd), unix.F_DUPFD_CLOEXEC, 3)
	e.fd = fd
	return e, err
}

// read returns EAGAIN when there is nothing yet, and no bytes at the end.
func (e *end) read(p []byte) (n int, err error) {
	switch {
	case e.kind == socket:
		n, _, err = unix.Recvfrom(e.fd, p, unix.MSG_DONTWAIT)
		return n, err
	case e.ours:
		return unix.Read(e.fd, p)
	case !e.ready(unix.POLLIN):
		return 0, unix.EAGAIN
	case !e.waits:
		n, err = unix.Preadv2(e.fd, [][]byte{p}, -1, unix.RWF_NOWAIT)
		if e.waits = lacksNowait(err); !e.waits {
			return n, err
		}
	}
	return unix.Read(e.fd, p) // it waits only if somebody else was faster
}

// write returns EAGAIN when there is no room yet.
func (e *end) write(p []byte) (n int, err error) {
	switch {
	case e.kind == socket:
		return unix.SendmsgN(e.fd, p, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	case e.ours:
		return unix.Write(e.fd, p)
	case !e.ready(unix.POLLOUT):
		return 0, unix.EAGAIN
	case !e.waits:
		n, err = unix.Pwritev2(e.fd, [][]byte{p}, -1, unix.RWF_NOWAIT)
		if e.waits = lacksNowait(err); !e.waits {
			return n, err
		}
	}
	return unix.Write(e.fd, p)
}

// lacksNowait: splice(2) has turned it off for this description, or the kernel is too old for it on such a file.
func lacksNowait(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL)
}

func (e *end) ready(events int16) bool {
	fds := []unix.PollFd{{Fd: int32(e.fd), Events: events}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1
}

// hungUp reports that the other side is gone in both directions: poll tells that unasked.
func (e *end) hungUp() bool { return e.ready(0) }

func (e *end) close() { unix.Close(e.fd) }
