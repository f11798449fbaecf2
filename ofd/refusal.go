package ofd

import (
	"errors"
	"fmt"
)

// Why a description can't be had anew. Reopen returns them within a *Refusal.
var (
	// ErrNoFile: there is no file behind it that could be opened (sockets, eventfds, epoll sets, ...).
	ErrNoFile = errors.New("it has no file to open again")
	// ErrWritable: a writable file that isn't opened for appending, and the caller didn't choose.
	ErrWritable = errors.New("two descriptions with two offsets would overwrite each other's data")
	// ErrPOSIXLock: this process holds a POSIX lock on the file, which closing the new descriptor would drop.
	ErrPOSIXLock = errors.New("this process holds a POSIX lock on the file, and closing the new descriptor would drop it")
	// ErrLease: a lease is held on the file, which opening it would break.
	ErrLease = errors.New("opening the file would break the lease that is held on it")
	// ErrHangup: a FIFO whose other side is gone, or a terminal that hung up.
	ErrHangup = errors.New("its other side is gone")
	// ErrOtherObject: opening it gives another object: a pseudo-terminal's master, another session's terminal.
	ErrOtherObject = errors.New("opening it again gives another object")
	// ErrDevice: opening a device may do something to it.
	ErrDevice = errors.New("opening this device again may do something to it")
	// ErrDenied: the kernel refused to open the file; errors.Is finds the errno too.
	ErrDenied = errors.New("the file can't be opened again")
)

// A Refusal says why Reopen gave no new description. The one that there is hasn't been touched, and may still be
// passed on as it is. Errors of another type (EBADF, EMFILE, ENOMEM, ...) tell nothing about the description.
type Refusal struct {
	FD int
	// Reason is one of the errors above.
	Reason error
	// Instead says what can be done.
	Instead string
	// Err is the kernel's error, or nil.
	Err error
}

func (r *Refusal) Error() string {
	text := fmt.Sprintf("ofd: reopen descriptor %d: %v", r.FD, r.Reason)
	if r.Err != nil {
		text += fmt.Sprintf(" (%v)", r.Err)
	}
	if r.Instead != "" {
		text += ": " + r.Instead
	}
	return text
}

// Unwrap makes the reason and the errno visible to errors.Is.
func (r *Refusal) Unwrap() []error {
	if r.Err == nil {
		return []error{r.Reason}
	}
	return []error{r.Reason, r.Err}
}
