package notify

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/ofd"
	"github.com/safeexec/safeexec/seccomp"
)

// A Description is one that must not be changed.
type Description struct {
	FD         int        // a descriptor of this process that refers to it
	Number     int        // the command's number for it
	Operations seccomp.Op // what isn't permitted
	Advisory   bool       // changes of its flags are reported as done, unless an action was named
}

// A watched description is known by a copy, or by its place in an epoll set: that needs no descriptor, so the
// other side of a pipe or connection sees its end in time.
type watched struct {
	Number     int
	Operations seccomp.Op
	Advisory   bool
	Copy       int // -1 in the set
	Target     int // the number that it was put into the set by
}

// A watch recognises guarded descriptions.
type watch struct {
	Epoll int // -1 without a set
	List  []watched
}

// newWatch keeps what can be polled in an epoll set, and copies of the rest. Descriptions that several numbers refer to are one.
func newWatch(list []Description) (w *watch, err error) {
	w = &watch{Epoll: -1}
	var inSet []int // copies: each needs a number of its own until all are in
	defer func() {
		for _, fd := range inSet {
			unix.Close(fd)
		}
		if err != nil {
			w.close()
		}
	}()
	for _, d := range list {
		copied, err := unix.FcntlInt(uintptr(d.FD), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return w, about(d, err)
		}
		found, err := w.find(copied)
		switch {
		case err != nil:
			unix.Close(copied)
			return w, about(d, err)
		case found != nil:
			unix.Close(copied)
			found.Operations |= d.Operations
			found.Advisory = found.Advisory && d.Advisory
			continue
		}
		added := watched{Number: d.Number, Operations: d.Operations, Advisory: d.Advisory, Copy: copied, Target: -1}
		if ok, err := w.enter(copied); err != nil {
			unix.Close(copied)
			return w, about(d, err)
		} else if ok {
			added.Copy, added.Target = -1, copied
			inSet = append(inSet, copied)
		}
		w.List = append(w.List, added)
	}
	return w, nil
}

func about(d Description, err error) error { return fmt.Errorf("descriptor %d: %w", d.Number, err) }

// enter puts a description into the set, for no event. Files, directories and most devices can't be polled.
func (w *watch) enter(fd int) (bool, error) {
	if w.Epoll < 0 {
		set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return false, fmt.Errorf("epoll_create1: %w", err)
		}
		w.Epoll = set
	}
	event := unix.EpollEvent{Events: unix.EPOLLET, Fd: int32(fd)}
	err := unix.EpollCtl(w.Epoll, unix.EPOLL_CTL_ADD, fd, &event)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EBADF) { // EBADF: O_PATH
		return false, nil
	}
	return err == nil, err
}

// find returns the watched description that fd, a descriptor of this process, refers to, or nil. An error leaves it open, and
// must be taken for a yes.
func (w *watch) find(fd int) (*watched, error) {
	for i := range w.List {
		d := &w.List[i]
		same, err := false, error(nil)
		if d.Copy >= 0 {
			same, err = ofd.Same(d.Copy, fd)
		} else {
			same, err = w.inSet(d.Target, fd)
		}
		switch {
		case err != nil:
			return nil, err
		case same:
			return d, nil
		}
	}
	return nil, nil
}

// inSet compares a description with one in the set. It may be gone: then the kernel has taken it out.
func (w *watch) inSet(target, fd int) (bool, error) {
	const kcmpEpollTarget = 7 // KCMP_EPOLL_TFD, Linux 4.13
	slot := struct{ epoll, target, offset uint32 }{uint32(w.Epoll), uint32(target), 0}
	pid := os.Getpid()
	same, errno := kcmp(pid, pid, kcmpEpollTarget, uintptr(fd), uintptr(unsafe.Pointer(&slot)))
	if errno != 0 && errno != unix.ENOENT {
		return false, fmt.Errorf("kcmp: %w", errno)
	}
	return same, nil
}

// kcmp reports whether two processes or threads have the same of something (kcmp(2)).
//
//go:uintptrescapes
func kcmp(pid1, pid2 int, what, index1, index2 uintptr) (same bool, errno unix.Errno) {
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(pid1), uintptr(pid2), what, index1, index2, 0)
	return errno == 0 && order == 0, errno
}

// descriptors are those that the watch needs.
func (w *watch) descriptors() (fds []int) {
	if w.Epoll >= 0 {
		fds = append(fds, w.Epoll)
	}
	for _, d := range w.List {
		if d.Copy >= 0 {
			fds = append(fds, d.Copy)
		}
	}
	return fds
}

func (w *watch) close() {
	for _, fd := range w.descriptors() {
		unix.Close(fd)
	}
	w.Epoll, w.List = -1, nil
}
