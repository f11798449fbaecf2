package ofd

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// kcmpFile is KCMP_FILE of linux/kcmp.h, which package unix doesn't have.
const kcmpFile = 0

// Same reports whether two descriptors of this process refer to one description. It asks by F_DUPFD_QUERY (Linux 6.10),
// and where that isn't to be had by kcmp(2). An error (EBADF, or EPERM and ENOSYS where neither may be asked) never
// means "not the same".
func Same(a, b int) (bool, error) {
	same, err := sameByQuery(a, b)
	if err == nil || errors.Is(err, unix.EBADF) && !(isOpen(a) && isOpen(b)) {
		return same, wrapSame(a, b, err)
	}
	// Where fcntl doesn't know a command, it says EINVAL, and of an O_PATH descriptor EBADF.
	same, err = sameByKcmp(a, b)
	return same, wrapSame(a, b, err)
}

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

func wrapSame(a, b int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("ofd: compare descriptors %d and %d: %w", a, b, err)
}

func sameByQuery(a, b int) (bool, error) {
	same, err := unix.FcntlInt(uintptr(a), unix.F_DUPFD_QUERY, b)
	if err != nil || same == 1 {
		return err == nil, err
	}
	// The first kernels with this call say "no" for a second descriptor that isn't open.
	_, err = unix.FcntlInt(uintptr(b), unix.F_GETFD, 0)
	return false, err
}

func sameByKcmp(a, b int) (bool, error) {
	pid := os.Getpid()
	order, err := kcmp(Ref{PID: pid, FD: a}, Ref{PID: pid, FD: b})
	return err == nil && order == 0, err
}

// SameIn reports whether the descriptors of two processes refer to one description. It needs kcmp(2) (Linux 3.5 with
// CONFIG_CHECKPOINT_RESTORE, any configuration from 5.12 on that has KCMP) and the right to trace both processes
// (ptrace(2), "PTRACE_MODE_READ_REALCREDS"). An error (EPERM, ESRCH, EBADF, ENOSYS) never means "not the same".
func SameIn(a, b Ref) (bool, error) {
	order, err := kcmp(a, b)
	if err != nil {
		return false, fmt.Errorf("ofd: compare descriptor %d of process %d with %d of %d: %w", a.FD, a.PID, b.FD, b.PID, err)
	}
	return order == 0, nil
}

// Group finds which references refer to one description: equal ids mean the same, different ids mean not the same.
// Where errs[i] isn't nil, ids[i] is -1 and nothing is known about the reference: EPERM without the right to ask, ESRCH
// or EBADF when the process or the descriptor is gone, ENOSYS without kcmp(2). A reference whose Key no other has isn't
// asked about at all. It takes O(n log n) calls for n references with equal keys.
func Group(refs []Ref) (ids []int, errs []error) {
	g := newGrouping(refs, kcmp)
	return g.run(), g.errs
}

// kcmp orders two descriptions: 0 the same, else -1 or 1 in an order that holds as long as the kernel runs.
func kcmp(a, b Ref) (int, error) {
	answer, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a.PID), uintptr(b.PID), kcmpFile, uintptr(a.FD), uintptr(b.FD), 0)
	switch {
	case errno != 0:
		return 0, errno
	case answer == 0:
		return 0, nil
	case answer == 1:
		return -1, nil
	case answer == 2:
		return 1, nil
	}
	// "Not equal, and the order can't be had": kcmp(2) reserves this answer.
	return 0, unix.EOPNOTSUPP
}
