package ofd

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OwnerIn returns who receives the signals of a description, and which, through another process's descriptor. Like StateIn it
// borrows a duplicate for the call (pidfd_getfd(2), Linux 5.6, with the right to trace the process), but it asks for nothing
// that waits for whoever uses the description: asking for the offset waits for a read that is under way.
//
// Borrowing isn't quite nothing. Closing the duplicate may wait for a file server, drops POSIX locks of this process on the
// file, and a socket takes this process's network class, where cgroups have those (net_cls, net_prio).
func OwnerIn(ref Ref) (Owner, syscall.Signal, error) {
	owner, signal, err := ownerIn(ref)
	if err != nil {
		return Owner{}, 0, fmt.Errorf("ofd: owner of descriptor %d of process %d: %w", ref.FD, ref.PID, err)
	}
	return owner, signal, nil
}

func ownerIn(ref Ref) (Owner, syscall.Signal, error) {
	pidfd, err := unix.PidfdOpen(ref.PID, 0)
	if err != nil {
		return Owner{}, 0, err
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, ref.FD, 0)
	if err != nil {
		return Owner{}, 0, err
	}
	defer unix.Close(fd)
	return ownerOf(fd)
}

// ownerOf asks a description that isn't O_PATH.
func ownerOf(fd int) (o Owner, signal syscall.Signal, err error) {
	var owner struct{ kind, id int32 }
	if err := fcntlPointer(fd, unix.F_GETOWN_EX, unsafe.Pointer(&owner)); err != nil {
		return o, 0, err
	}
	if owner.id != 0 {
		o = Owner{Type: int(owner.kind), ID: int(owner.id)}
	}
	number, err := unix.FcntlInt(uintptr(fd), unix.F_GETSIG, 0)
	return o, syscall.Signal(number), err
}
