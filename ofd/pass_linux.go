package ofd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrMessage says that a message didn't bring what was expected: too few files or too many, another kind of control
// message, or one that was cut off. All that it brought has been closed.
var ErrMessage = errors.New("not the message that was expected")

// A Conn is a connected UNIX socket: *net.UnixConn is one, and so is an *os.File of a socket. (This package doesn't name
// package net's type, because net brings cgo into a program.)
type Conn interface {
	syscall.Conn
	io.Writer
}

// Send passes files over a UNIX socket, together with the payload, and takes ownership of them: when it returns nil, the
// kernel has them, and the files are closed. On an error they are all still open and the caller's; on a stream the other
// side may have got them nevertheless, if it failed in the middle of the payload.
//
// The payload can't be empty: on a stream the files would be lost, and a receiver couldn't tell an empty message from the
// end. Not more than 253 files go into a message (unix(7), SCM_RIGHTS). Closing a file drops the POSIX locks that this
// process holds on it.
func Send(conn Conn, payload []byte, files ...*os.File) error {
	if err := send(conn, payload, files); err != nil {
		return fmt.Errorf("ofd: send %d files: %w", len(files), err)
	}
	for _, file := range files {
		file.Close() // it is on its way, whatever closing says
	}
	return nil
}

func send(conn Conn, payload []byte, files []*os.File) error {
	switch {
	case len(payload) == 0:
		return fmt.Errorf("an empty payload: %w", unix.EINVAL)
	case len(files) > maxRights:
		return fmt.Errorf("at most %d go into one message: %w", maxRights, unix.EINVAL)
	}
	var sent int
	err := withDescriptors(files, func(fds []int) (err error) {
		var control []byte
		if len(fds) > 0 {
			control = rights(fds)
		}
		sent, err = sendMessage(conn, payload, control)
		return err
	})
	if err != nil || sent == len(payload) {
		return err
	}
	_, err = conn.Write(payload[sent:]) // only a stream takes a part
	return err
}

// sendMessage waits until the socket takes the message, as far as its deadline allows.
func sendMessage(conn Conn, payload, control []byte) (sent int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	waitErr := raw.Write(func(fd uintptr) bool {
		sent, err = retry(func() (int, error) {
			return unix.SendmsgN(int(fd), payload, control, nil, unix.MSG_NOSIGNAL)
		})
		return err != unix.EAGAIN
	})
	if waitErr != nil {
		return 0, waitErr
	}
	return sent, os.NewSyscallError("sendmsg", err)
}

// receiveMessage waits for a message. What comes with it is close-on-exec from the beginning.
func receiveMessage(conn Conn, payload, control []byte) (n, controls, flags int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0, 0, err
	}
	waitErr := raw.Read(func(fd uintptr) bool {
		n, err = retry(func() (n int, err error) {
			n, controls, flags, _, err = unix.Recvmsg(int(fd), payload, control, unix.MSG_CMSG_CLOEXEC)
			return n, err
		})
		return err != unix.EAGAIN
	})
	if waitErr != nil {
		return 0, 0, 0, waitErr
	}
	return n, controls, flags, os.NewSyscallError("recvmsg", err)
}

// withDescriptors borrows the descriptors of files for the call. Fd would do, but for what it may do to O_NONBLOCK.
func withDescriptors(files []*os.File, do func(fds []int) error) error {
	return borrow(files, make([]int, 0, len(files)), do)
}

func borrow(files []*os.File, fds []int, do func(fds []int) error) error {
	if len(files) == 0 {
		return do(fds)
	}
	raw, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if raw.Control(func(fd uintptr) { inner = borrow(files[1:], append(fds, int(fd)), do) }) != nil {
		// The one error that there is, which package os has no exported name for at this place.
		return &os.PathError{Op: "use", Path: files[0].Name(), Err: os.ErrClosed}
	}
	return inner
}

// Recv receives one message from a UNIX socket: up to len(payload) bytes, n of them, and exactly want files, which are
// close-on-exec and the caller's. Anything else is an error, and then no file is left open: ErrMessage when the files
// aren't as many as expected, when a datagram or the list of files was cut off, or when there is a control message of
// another kind (from SO_PASSCRED and the like); io.EOF at the end of a stream.
//
// A stream knows no messages: files come with the first byte of the payload that they were sent with, and what didn't
// come at once is read from the connection.
func Recv(conn Conn, payload []byte, want int) (n int, files []*os.File, err error) {
	n, fds, err := receive(conn, payload, want)
	if err != nil {
		closeAll(fds)
		return n, nil, wrapRecv(want, err)
	}
	for i, fd := range fds {
		files = append(files, os.NewFile(uintptr(fd), fmt.Sprintf("received-%d", i)))
	}
	return n, files, nil
}

func wrapRecv(want int, err error) error {
	if err == io.EOF {
		return err
	}
	return fmt.Errorf("ofd: receive %d files: %w", want, err)
}

// receive returns all descriptors that came, also with an error.
func receive(conn Conn, payload []byte, want int) (n int, fds []int, err error) {
	if len(payload) == 0 || want < 0 || want > maxRights {
		return 0, nil, fmt.Errorf("%d files, %d bytes of payload: %w", want, len(payload), unix.EINVAL)
	}
	// There is room for one more than expected: the kernel rounds up anyway, and a number tells more than a cut.
	control := make([]byte, unix.CmsgSpace(4*(want+1)))
	n, controls, flags, err := receiveMessage(conn, payload, control)
	if err != nil {
		return 0, nil, err
	}
	fds, err = parseRights(control[:controls])
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrMessage, err)
	case flags&unix.MSG_CTRUNC != 0:
		err = fmt.Errorf("%w: the list of files was cut off", ErrMessage)
	case flags&unix.MSG_TRUNC != 0:
		err = fmt.Errorf("%w: the payload was cut off", ErrMessage)
	case n == 0 && len(fds) == 0:
		err = io.EOF
	case len(fds) != want:
		err = fmt.Errorf("%w: it brought %d files", ErrMessage, len(fds))
	}
	return n, fds, err
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// A Received is a file that came over a socket.
type Received struct {
	*os.File
	// Shared is nil when the file has a description of its own, and otherwise why it hasn't: a *Refusal. Whoever sent
	// it may then still move its offset and change its flags.
	Shared error
}

// RecvPrivate is Recv, but opens anew what it can of what came (Reopen, with the same writing), so that a sender that
// kept a copy can't reach it. An error that isn't a refusal closes everything.
func RecvPrivate(conn Conn, payload []byte, want int, writing Writing) (n int, files []Received, err error) {
	n, fds, err := receive(conn, payload, want)
	refusals := make([]error, len(fds))
	for i := 0; i < len(fds) && err == nil; i++ {
		refusals[i], err = privatize(&fds[i], writing)
	}
	if err != nil {
		closeAll(fds)
		return n, nil, wrapRecv(want, err)
	}
	for i, fd := range fds {
		files = append(files, Received{os.NewFile(uintptr(fd), fmt.Sprintf("received-%d", i)), refusals[i]})
	}
	return n, files, nil
}

// privatize puts a new description in the place of the shared one, or says why it can't.
func privatize(fd *int, writing Writing) (refusal, err error) {
	fresh, err := Reopen(*fd, writing)
	if errors.As(err, new(*Refusal)) {
		return err, nil
	}
	if err != nil {
		return nil, err
	}
	unix.Close(*fd)
	*fd = fresh
	return nil, nil
}
