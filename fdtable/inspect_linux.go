package fdtable

import (
	"cmp"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Inspect describes one open descriptor of this process, as seen by the calling thread. It asks the kernel directly where it
// can: the kind, and what a socket is, can't be made up by others.
//
// A number that isn't open gives unix.EBADF. Where /proc is of no use the descriptor is given as far as it can be, without
// target, locks and detail and with KindUnknown for anonymous inodes, together with an error that is ErrNoProc.
func Inspect(fd int) (Descriptor, error) {
	descriptors, errs := InspectEach([]int{fd})
	return descriptors[0], errs[0]
}

// InspectEach is Inspect for several descriptors: what it says of each stands at the same place in both lists.
func InspectEach(fds []int) (descriptors []Descriptor, errs []error) {
	descriptors, errs = make([]Descriptor, len(fds)), make([]error, len(fds))
	onThread(func() {
		for i, fd := range fds {
			descriptors[i], errs[i] = Descriptor{Number: fd}, mustBeOpen(fd) // before the look opens something under a free number
		}
		r, t, noProc := openOwn()
		if noProc == nil {
			defer r.Close()
			defer t.close()
		}
		for i, fd := range fds {
			if errs[i] == nil {
				descriptors[i], errs[i] = r.inspect(t, fd, noProc)
			}
		}
	})
	return descriptors, errs
}

func mustBeOpen(fd int) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		return failed("descriptor "+strconv.Itoa(fd)+" is not open", err)
	}
	return nil
}

// openOwn opens the calling thread's table.
func openOwn() (*Reader, *table, error) {
	r, err := NewReader()
	if err != nil {
		return nil, nil, err
	}
	t, err := r.openTable(0)
	if err != nil {
		r.Close()
		return nil, nil, err
	}
	return r, t, nil
}

func (r *Reader) inspect(t *table, fd int, noProc error) (Descriptor, error) {
	if noProc != nil {
		return bare(fd, noProc)
	}
	d, err := r.read(t, fd)
	if err != nil {
		return Descriptor{Number: fd}, failed("descriptor "+strconv.Itoa(fd), err)
	}
	return d, nil
}

// onThread calls look, which goes by the calling thread's table, and makes sure that it was one thread's all along: Go moves
// a goroutine to another thread when it likes, and a thread may have a table of its own, or end. (Whose thread has a table of its own
// has locked itself to it.) To lock the goroutine to its thread beforehand would cost more than the look, because the first lock of a
// program starts a thread.
func onThread(look func()) {
	before := unix.Gettid()
	look()
	if unix.Gettid() == before {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	look()
}

// bare describes a descriptor of this process without the help of /proc.
func bare(fd int, because error) (Descriptor, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	var st unix.Stat_t
	var fs unix.Statfs_t
	cloexec, err2 := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err = cmp.Or(err, err2, unix.Fstat(fd, &st), unix.Fstatfs(fd, &fs)); err != nil {
		return Descriptor{Number: fd}, failed("descriptor "+strconv.Itoa(fd), err)
	}
	s := statusOf(&st)
	d := Descriptor{
		Number: fd, Kind: kindOfMode(s.mode), Flags: Flags(flags), CloseOnExec: cloexec&unix.FD_CLOEXEC != 0,
		Device: Device(s.device), Inode: s.inode,
	}
	const magicPipe, magicSocket, magicNamespace, magicPidfd = 0x50495045, 0x534f434b, 0x6e736673, 0x50494446
	switch magic := int64(fs.Type); {
	case magic == magicPipe:
		d.Kind = KindPipe
	case magic == magicSocket && d.Flags&unix.O_PATH == 0:
		d.Kind, d.Socket = KindSocket, ownSocket(fd)
	case magic == magicNamespace:
		d.Kind = KindNamespace
	case magic == magicPidfd:
		d.Kind = KindPidfd
	case magic == magicDMABuf || magic == magicSecretMemory || magic == magicMessageQueue:
		d.Kind = kindOfInternal(d.Kind, "", magic)
	case d.Kind == KindCharDevice:
		d.Kind = kindOfDevice(unix.Major(s.rdev), unix.Minor(s.rdev))
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); d.Kind == KindCharDevice && err == nil {
			d.Kind = KindTerminal
		}
	case d.Kind == KindAnon:
		d.Kind = KindUnknown
	}
	if d.Kind.HasOffset() && d.Flags&unix.O_PATH == 0 {
		if d.Offset, err = unix.Seek(fd, 0, unix.SEEK_CUR); err != nil {
			d.Offset = 0
		}
	}
	return d, because
}
