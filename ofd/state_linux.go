package ofd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// StateOf looks at the description behind a descriptor of this process, and changes nothing. The locks come from
// /proc/self/fdinfo: where that can't be read, the rest of the state is returned together with the error.
func StateOf(fd int) (State, error) {
	s, err := stateOf(fd, "/proc/thread-self")
	if err != nil {
		return s, fmt.Errorf("ofd: state of descriptor %d: %w", fd, err)
	}
	return s, nil
}

// StateIn looks at a description through another process's descriptor: it borrows a duplicate for the call
// (pidfd_getfd(2), Linux 5.6, with the right to trace the process). The POSIX locks are those of
// that process; closing the duplicate drops those that this process holds on the file, should there be any.
func StateIn(ref Ref) (State, error) {
	s, err := stateIn(ref)
	if err != nil {
		return s, fmt.Errorf("ofd: state of descriptor %d of process %d: %w", ref.FD, ref.PID, err)
	}
	return s, nil
}

func stateIn(ref Ref) (State, error) {
	pidfd, err := unix.PidfdOpen(ref.PID, 0)
	if err != nil {
		return State{}, err
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, ref.FD, 0)
	if err != nil {
		return State{}, err
	}
	defer unix.Close(fd)
	s, err := describe(fd)
	if err != nil {
		return s, err
	}
	in, err := readInfo(fmt.Sprintf("/proc/%d", ref.PID), ref.FD)
	s.Locks = in.locks
	return s, err
}

func stateOf(fd int, proc string) (State, error) {
	s, err := describe(fd)
	if err != nil {
		return s, err
	}
	in, err := readInfo(proc, fd)
	s.Locks = in.locks
	return s, err
}

// describe asks for all but the locks.
func describe(fd int) (s State, err error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return State{}, err
	}
	s.Access, s.Flags, s.Offset = flags&unix.O_ACCMODE, flags&^unix.O_ACCMODE, -1
	if flags&unix.O_PATH != 0 {
		return s, nil // it has nothing else, and answers EBADF
	}
	if s.Offset, err = offsetOf(fd); err != nil {
		return State{}, err
	}
	s.Owner, s.Signal, err = ownerOf(fd)
	return s, err
}

// offsetOf asks for the offset; -1 where the object has none. Only pipes, sockets and the like say ESPIPE; some
// devices and anonymous inodes answer EINVAL instead.
func offsetOf(fd int) (int64, error) {
	offset, err := unix.Seek(fd, 0, io.SeekCurrent)
	if errors.Is(err, unix.ESPIPE) || errors.Is(err, unix.EINVAL) {
		return -1, nil
	}
	return offset, err
}

func readInfo(proc string, fd int) (info, error) {
	text, err := os.ReadFile(fmt.Sprintf("%s/fdinfo/%d", proc, fd))
	if err != nil {
		return info{}, err
	}
	return parseInfo(string(text))
}

// Restore puts the status flags of the description behind fd back to what they are in s: O_APPEND, O_NONBLOCK, O_ASYNC,
// O_DIRECT and O_NOATIME (fcntl(2), F_SETFL). Nothing else is touched, and nothing at all when they are so already.
func (s State) Restore(fd int) error {
	if err := setFlags(fd, s.Flags); err != nil {
		return fmt.Errorf("ofd: restore the flags of descriptor %d: %w", fd, err)
	}
	return nil
}

func setFlags(fd, flags int) error {
	now, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	want := now&^settableMask | flags&settableMask
	if now == want {
		return nil
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, want)
	return err
}

// HoldsPOSIX reports whether this process holds a POSIX lock (fcntl(2), F_SETLK) on the file behind fd, taken through
// whatever descriptor: closing fd, or any other descriptor of that file, would drop it. It is false for a descriptor
// opened with O_PATH, whose closing drops nothing.
func HoldsPOSIX(fd int) (bool, error) {
	held, err := holdsPOSIX(fd)
	if err != nil {
		return false, fmt.Errorf("ofd: POSIX locks on the file of descriptor %d: %w", fd, err)
	}
	return held, nil
}

func holdsPOSIX(fd int) (bool, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_PATH != 0 {
		return false, err
	}
	// An OFD lock of ours would conflict with any POSIX lock, this process's own included (Linux 3.15). The answer
	// names one that is in the way; mostly there is none, and that is the end of it.
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	err = unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lock)
	if err == nil && lock.Type == unix.F_UNLCK {
		return false, nil
	}
	if err == nil && int(lock.Pid) == os.Getpid() {
		return true, nil
	}
	// Somebody else's lock may stand before ours: the list has them all.
	return listed(fd, "posix", os.Getpid())
}

// holdsLease reports whether anybody holds a lease on the file behind fd: opening the file would break it.
func holdsLease(fd int) (bool, error) {
	lease, err := unix.FcntlInt(uintptr(fd), unix.F_GETLEASE, 0)
	if err != nil || lease != unix.F_UNLCK {
		return err == nil, err
	}
	return listed(fd, "lease", 0)
}

// listed looks into /proc/locks for a lock on the file of a descriptor. It compares inode numbers only: the list names
// the device of the file system, which some (btrfs, overlayfs) don't report as the file's own. A stranger's file of the
// same number is then taken for ours, which errs on the safe side.
func listed(fd int, kind string, pid int) (bool, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return false, err
	}
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		return false, err
	}
	return hasLock(string(text), stat.Ino, kind, pid), nil
}

func fcntlPointer(fd, command int, pointer unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_FCNTL, uintptr(fd), uintptr(command), uintptr(pointer))
	if errno != 0 {
		return errno
	}
	return nil
}
