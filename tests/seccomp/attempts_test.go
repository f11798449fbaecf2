package seccomp_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"unsafe"

	"github.com/safeexec/safeexec/seccomp"
	"golang.org/x/sys/unix"
)

const (
	observer = 120 // the same description as what is attempted, as its owner sees it
	beside   = 121 // a second file
	farSide  = 122 // the other end of a pipe or pair, a terminal's master
)

// attempt is one way to do an operation on a descriptor, tried for real.
type attempt struct {
	name string
	op   seccomp.Op
	try  func(fd int) error
}

// garbage is what a 64-bit register may hold above the number.
const garbage = 0xabcd << 32

func call6(number uintptr, args ...uintptr) error {
	_, err := call6For(number, args...)
	return err
}

func call6For(number uintptr, args ...uintptr) (int, error) {
	var a [6]uintptr
	copy(a[:], args)
	result, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno != 0 {
		return -1, errno
	}
	return int(result), nil
}

// newDescriptor closes what a successful attempt has opened.
func newDescriptor(number uintptr, args ...uintptr) error {
	fd, err := call6For(number, args...)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func address[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }

func fcntl(cmd, arg uintptr) func(int) error {
	return func(fd int) error { return call6(unix.SYS_FCNTL, uintptr(fd), cmd, arg) }
}

func ioctl(request uintptr, value int32) func(int) error {
	return func(fd int) error {
		v := value
		return call6(unix.SYS_IOCTL, uintptr(fd), request, address(&v))
	}
}

func lseek(offset int64, whence uintptr) func(int) error {
	return func(fd int) error { return call6(unix.SYS_LSEEK, uintptr(fd), uintptr(offset), whence) }
}

func ofdLock(cmd uintptr) func(int) error {
	return func(fd int) error {
		lock := unix.Flock_t{Type: unix.F_WRLCK}
		return call6(unix.SYS_FCNTL, uintptr(fd), cmd, address(&lock))
	}
}

// vector makes a call that takes an array of buffers.
func vector(number uintptr, fill byte, rest ...uintptr) func(int) error {
	return func(fd int) error {
		buffer := []byte{fill}
		iov := unix.Iovec{Base: &buffer[0], Len: 1}
		return call6(number, append([]uintptr{uintptr(fd), address(&iov), 1}, rest...)...)
	}
}

func buffer(number uintptr, rest ...uintptr) func(int) error {
	return func(fd int) error {
		b := make([]byte, 512)
		args := append([]uintptr{uintptr(fd), address(&b[0]), uintptr(len(b))}, rest...)
		return call6(number, args...)
	}
}

const ownPosition = ^uintptr(0)

const leaseForWriting = "F_SETLEASE for writing"

var attempts = []attempt{
	{"dup", seccomp.Dup, func(fd int) error { return newDescriptor(unix.SYS_DUP, uintptr(fd)) }},
	{"dup with garbage", seccomp.Dup, func(fd int) error { return newDescriptor(unix.SYS_DUP, uintptr(fd)|garbage) }},
	{"dup3", seccomp.Dup, func(fd int) error { return newDescriptor(unix.SYS_DUP3, uintptr(fd), 200, 0) }},
	{"dup3 with garbage", seccomp.Dup, func(fd int) error {
		return newDescriptor(unix.SYS_DUP3, uintptr(fd)|garbage, 200|garbage, 0)
	}},
	{"F_DUPFD", seccomp.Dup, func(fd int) error { return newDescriptor(unix.SYS_FCNTL, uintptr(fd), unix.F_DUPFD, 10) }},
	{"F_DUPFD_CLOEXEC with garbage", seccomp.Dup, func(fd int) error {
		return newDescriptor(unix.SYS_FCNTL, uintptr(fd)|garbage, unix.F_DUPFD_CLOEXEC|garbage, 10)
	}},
	{"pidfd_getfd of itself", seccomp.Dup | seccomp.Steal, pidfdGetfd},
	{"SCM_RIGHTS over a pair", seccomp.Pass, passOverPair},

	{"F_SETFL", seccomp.Flags, fcntl(unix.F_SETFL, unix.O_APPEND)},
	{"F_SETFL with garbage", seccomp.Flags, fcntl(unix.F_SETFL|garbage, unix.O_APPEND)},
	{"FIONBIO", seccomp.Flags, ioctl(0x5421, 0)},
	{"FIONBIO with garbage", seccomp.Flags, ioctl(0x5421|garbage, 0)},
	{"FIOASYNC", seccomp.Flags, ioctl(0x5452, 1)},
	{"mq_setattr", seccomp.Flags, func(fd int) error {
		attributes := [8]int{0}
		return call6(unix.SYS_MQ_GETSETATTR, uintptr(fd), address(&attributes), 0)
	}},

	{"F_SETOWN", seccomp.Owner, func(fd int) error { return fcntl(unix.F_SETOWN, uintptr(os.Getpid()))(fd) }},
	{"F_SETSIG", seccomp.Owner, fcntl(unix.F_SETSIG, uintptr(unix.SIGURG))},
	{"F_SETOWN_EX", seccomp.Owner, func(fd int) error {
		owner := [2]int32{1, int32(os.Getpid())}
		return fcntl(unix.F_SETOWN_EX, address(&owner))(fd)
	}},
	{"FIOSETOWN", seccomp.Owner, func(fd int) error { return ioctl(0x8901, int32(os.Getpid()))(fd) }},
	{"SIOCSPGRP", seccomp.Owner, func(fd int) error { return ioctl(0x8902, int32(os.Getpid()))(fd) }},
	{"F_NOTIFY", seccomp.Owner, fcntl(unix.F_NOTIFY, 2)},

	{"flock", seccomp.Lock, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }},
	{"F_OFD_SETLK", seccomp.Lock, ofdLock(unix.F_OFD_SETLK)},
	{"F_OFD_SETLKW", seccomp.Lock, ofdLock(unix.F_OFD_SETLKW)},
	{leaseForWriting, seccomp.Lock | seccomp.Owner, fcntl(unix.F_SETLEASE, unix.F_WRLCK)},
	{"F_SETLEASE for reading", seccomp.Lock | seccomp.Owner, fcntl(unix.F_SETLEASE, unix.F_RDLCK)},

	{"lseek to the end", seccomp.Seek, lseek(0, unix.SEEK_END)},
	{"lseek to 5", seccomp.Seek, lseek(5, unix.SEEK_SET)},
	{"lseek on", seccomp.Seek, lseek(1, unix.SEEK_CUR)},
	{"lseek far on", seccomp.Seek, lseek(1<<32, unix.SEEK_CUR)},
	{"lseek to data", seccomp.Seek, lseek(1, unix.SEEK_DATA)},
	{"lseek to a hole with garbage", seccomp.Seek, lseek(1, unix.SEEK_HOLE|garbage)},
	{"getdents64", seccomp.Seek, buffer(unix.SYS_GETDENTS64)},

	{"read", seccomp.Offset, func(fd int) error { return buffer(unix.SYS_READ)(fd) }},
	{"write", seccomp.Offset, vectorless(unix.SYS_WRITE)},
	{"readv", seccomp.Offset, vector(unix.SYS_READV, 0)},
	{"writev with garbage", seccomp.Offset, func(fd int) error { return vector(unix.SYS_WRITEV, 'w')(fd | garbage) }},
	{"preadv2 at its position", seccomp.Offset, vector(unix.SYS_PREADV2, 0, ownPosition, 0, 0)},
	{"pwritev2 at its position", seccomp.Offset, vector(unix.SYS_PWRITEV2, 'w', ownPosition, 7, 0)},
	{"sendfile out of it", seccomp.Offset, func(fd int) error {
		return call6(unix.SYS_SENDFILE, beside, uintptr(fd), 0, 1)
	}},
	{"sendfile into it", seccomp.Offset, func(fd int) error {
		offset := int64(0)
		return call6(unix.SYS_SENDFILE, uintptr(fd), beside, address(&offset), 1)
	}},
	{"copy_file_range out of it", seccomp.Offset, func(fd int) error {
		offset := int64(0)
		return call6(unix.SYS_COPY_FILE_RANGE, uintptr(fd), 0, beside, address(&offset), 1, 0)
	}},
	{"copy_file_range into it", seccomp.Offset, func(fd int) error {
		offset := int64(0)
		return call6(unix.SYS_COPY_FILE_RANGE, beside, address(&offset), uintptr(fd), 0, 1, 0)
	}},
	{"splice out of it", seccomp.Offset, func(fd int) error { return spliced(fd, true, false) }},
	{"splice into it", seccomp.Offset, func(fd int) error { return spliced(fd, false, false) }},

	{"fadvise64", seccomp.Mode, func(fd int) error {
		return call6(unix.SYS_FADVISE64, uintptr(fd), 0, 0, unix.FADV_RANDOM)
	}},
	{"readahead", seccomp.Mode, func(fd int) error { return call6(unix.SYS_READAHEAD, uintptr(fd), 0, 4096) }},
	{"splice into the pipe", seccomp.Mode, func(fd int) error { return spliced(fd, false, true) }},
	{"vmsplice", seccomp.Mode, func(fd int) error { return vector(unix.SYS_VMSPLICE, 'v', 0)(fd) }},

	{"fsync", seccomp.Wberr, unix.Fsync},
	{"fdatasync", seccomp.Wberr, unix.Fdatasync},
	{"syncfs", seccomp.Wberr, unix.Syncfs},
	{"sync_file_range", seccomp.Wberr, func(fd int) error { return unix.SyncFileRange(fd, 0, 1, 7) }},
}

func vectorless(number uintptr) func(int) error {
	return func(fd int) error {
		b := []byte{'w'}
		return call6(number, uintptr(fd), address(&b[0]), 1)
	}
}

func pidfdGetfd(fd int) error {
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return err
	}
	defer unix.Close(self)
	return newDescriptor(unix.SYS_PIDFD_GETFD, uintptr(self), uintptr(fd), 0)
}

// passOverPair sends the descriptor to itself; it has succeeded when there is a new number for it.
func passOverPair(fd int) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := unix.Sendmsg(pair[0], []byte{1}, unix.UnixRights(fd), nil, 0); err != nil {
		return err
	}
	control := make([]byte, 64)
	_, n, _, _, err := unix.Recvmsg(pair[1], make([]byte, 1), control, unix.MSG_DONTWAIT)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return unix.EBADMSG
	}
	got, err := unix.ParseUnixRights(&messages[0])
	if err == nil {
		unix.Close(got[0])
	}
	return err
}

// spliced moves a byte between the descriptor and a pipe, or, when it is the writing end of one, from a file into it.
func spliced(fd int, out, isPipe bool) error {
	if isPipe {
		offset := int64(0)
		return call6(unix.SYS_SPLICE, beside, address(&offset), uintptr(fd), 0, 1, 0)
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	if out {
		return call6(unix.SYS_SPLICE, uintptr(fd), 0, uintptr(ends[1]), 0, 1, 0)
	}
	if _, err := unix.Write(ends[1], []byte{'s'}); err != nil {
		return err
	}
	return call6(unix.SYS_SPLICE, uintptr(ends[0]), 0, uintptr(fd), 0, 1, 0)
}

// object opens something of a kind, and what goes beside it. It doesn't block: some attempts read from what is empty.
func object(kind seccomp.Kind) (fd, side int, err error) {
	side, err = file("beside")
	if err != nil {
		return -1, -1, err
	}
	switch kind {
	case seccomp.Regular:
		fd, err = file("regular")
	case seccomp.Directory:
		fd, err = unix.Open(".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	case seccomp.Pipe:
		var ends [2]int
		err = unix.Pipe2(ends[:], unix.O_NONBLOCK|unix.O_CLOEXEC)
		fd = park(ends[0], ends[1])
	case seccomp.Socket:
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	case seccomp.UnixSocket:
		var ends [2]int
		ends, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		fd = park(ends[1], ends[0])
	case seccomp.Terminal:
		fd, err = terminal()
	case seccomp.Device:
		fd, err = unix.Open("/dev/zero", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	case seccomp.Queue:
		fd, err = queue()
	case seccomp.Event:
		fd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	}
	return fd, side, err
}

// park keeps the other end open, but away from the numbers that the next one gets.
func park(far, near int) int {
	if err := unix.Dup3(far, farSide, unix.O_CLOEXEC); err != nil {
		return -1
	}
	unix.Close(far)
	return near
}

// file makes a regular file in memory: on a disk the attempts would wait for it.
func file(name string) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err == nil {
		_, err = unix.Pwrite(fd, []byte("0123456789"), 0)
	}
	return fd, err
}

// reopened is another description of a file, of which the first is closed.
func reopened(fd int) (int, error) {
	defer unix.Close(fd)
	return unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDWR|unix.O_CLOEXEC, 0)
}

func terminal() (int, error) {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return -1, err
	}
	fd, err := call6For(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC)
	return park(master, fd), err
}

func queue() (int, error) {
	name, err := unix.BytePtrFromString(fmt.Sprintf("safeexec-%d", os.Getpid()))
	if err != nil {
		return -1, err
	}
	fd, err := call6For(unix.SYS_MQ_OPEN, address(name), unix.O_RDWR|unix.O_CREAT|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600, 0)
	if err == nil {
		err = call6(unix.SYS_MQ_UNLINK, address(name))
	}
	return fd, err
}

// state is what a description's owner can see of it.
func state(fd int) string {
	flags, err1 := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	owner, err2 := unix.FcntlInt(uintptr(fd), unix.F_GETOWN, 0)
	signal, err3 := unix.FcntlInt(uintptr(fd), unix.F_GETSIG, 0)
	offset, _ := unix.Seek(fd, 0, unix.SEEK_CUR)
	lease, _ := unix.FcntlInt(uintptr(fd), unix.F_GETLEASE, 0)
	return fmt.Sprint(flags, owner, signal, offset, lease, err1, err2, err3)
}

// outcome is what an attempt came to.
type outcome struct {
	Errno   int
	Changed bool // the owner sees another state than before
}

// doAttempts tries everything on each kind, on a fresh object at the guarded number and then on one at a number of its own.
func doAttempts(o order) any {
	result := map[string]map[string][2]outcome{}
	for _, kind := range o.Kinds {
		ofKind := map[string][2]outcome{}
		for _, a := range attempts {
			if a.op == seccomp.Wberr && kind != seccomp.Regular {
				continue // waiting for the disk once will do
			}
			var pair [2]outcome
			for i, number := range []int{guarded, other} {
				got, err := tryOn(a, kind, number)
				if err != nil {
					return fmt.Sprintf("%s on %v: %v", a.name, kind, err)
				}
				pair[i] = got
			}
			ofKind[a.name] = pair
		}
		result[kind.String()] = ofKind
	}
	return result
}

// tryOn places an object by dup3 of descriptors that aren't guarded, which the filter permits.
func tryOn(a attempt, kind seccomp.Kind, number int) (outcome, error) {
	fd, side, err := object(kind)
	if err == nil && kind == seccomp.Regular && a.name == leaseForWriting {
		// The inode must count the holder as its only writer. It doesn't count what memfd_create returns, which is what lets
		// that have a lease for reading.
		fd, err = reopened(fd)
	}
	if err != nil {
		return outcome{}, err
	}
	for from, to := range map[int]int{fd: observer, side: beside} {
		if err := unix.Dup3(from, to, unix.O_CLOEXEC); err != nil {
			return outcome{}, err
		}
		unix.Close(from)
	}
	if err := unix.Dup3(observer, number, unix.O_CLOEXEC); err != nil {
		return outcome{}, err
	}
	defer unix.Close(observer)
	defer unix.Close(beside)
	defer unix.Close(number)
	before := state(observer)
	errno := errnoOf(a.try(number))
	return outcome{errno, state(observer) != before}, nil
}

var realKinds = []seccomp.Kind{
	seccomp.Regular, seccomp.Directory, seccomp.Pipe, seccomp.Socket, seccomp.UnixSocket, seccomp.Terminal, seccomp.Device,
	seccomp.Queue, seccomp.Event,
}

// outcomes has a helper try everything on each of the kinds.
func outcomes(t *testing.T, p *policy, kinds ...seccomp.Kind) map[string]map[string][2]outcome {
	t.Helper()
	var report map[string]map[string][2]outcome
	run(t, order{Job: "attempts", Kinds: kinds, Policy: p}, &report)
	return report
}

// TestAttemptsOnGuarded: with everything guarded no attempt succeeds on the guarded number or changes what its owner sees,
// and on another number everything goes as it does without a filter.
func TestAttemptsOnGuarded(t *testing.T) {
	needLandlock(t, 1)
	live := map[string]bool{}
	allWithout := outcomes(t, nil, realKinds...)
	for _, kind := range realKinds {
		without := allWithout[kind.String()]
		with := outcomes(t, &policy{
			Guarding: true, Guard: seccomp.DefaultGuard | seccomp.Offset | seccomp.Mode, Kind: kind,
		}, kind)[kind.String()]
		for _, a := range attempts {
			free, got := without[a.name], with[a.name]
			_, tried := without[a.name]
			live[a.name] = live[a.name] || tried && free[0].Errno == 0
			if a.op == seccomp.Wberr {
				expectSame(t, kind, a, free, got)
				continue
			}
			if got[0].Changed || free[0].Errno == 0 && got[0].Errno != int(unix.EPERM) && !pointless(a, kind, free) {
				t.Errorf("%s on a guarded %v: errno %d, changed %v (without a filter: %v)",
					a.name, kind, got[0].Errno, got[0].Changed, free[0])
			}
			if a.op&(seccomp.Pass|seccomp.Steal) == 0 && got[1].Errno != free[1].Errno {
				t.Errorf("%s on an own %v: %v, without a filter %v", a.name, kind, got[1], free[1])
			}
		}
	}
	for _, a := range attempts {
		if !live[a.name] {
			t.Errorf("%s succeeds on nothing: the attempt is no attempt", a.name)
		}
	}
}

func expectSame(t *testing.T, kind seccomp.Kind, a attempt, free, got [2]outcome) {
	t.Helper()
	if got != free {
		t.Errorf("%s on %v: %v, without a filter %v", a.name, kind, got, free)
	}
}

// pointless reports whether an attempt that succeeds changes nothing that is the description's: what has no offset has none to
// guard, and only a pipe's mode is changed by splicing.
func pointless(a attempt, kind seccomp.Kind, free [2]outcome) bool {
	noOffset := slices.Contains([]seccomp.Kind{
		seccomp.Pipe, seccomp.Socket, seccomp.UnixSocket, seccomp.Terminal, seccomp.Event,
	}, kind)
	switch {
	case a.op == seccomp.Offset || a.op == seccomp.Seek:
		return noOffset && !free[0].Changed
	case a.op == seccomp.Mode && (a.name == "fadvise64" || a.name == "readahead"):
		return kind == seccomp.Pipe || kind == seccomp.Socket || kind == seccomp.UnixSocket
	case a.op == seccomp.Mode:
		return kind != seccomp.Pipe
	}
	return false
}

// TestAttemptsOnDenied: what is denied is refused on every descriptor, the rest goes as without a filter.
func TestAttemptsOnDenied(t *testing.T) {
	kinds := []seccomp.Kind{seccomp.Regular, seccomp.Directory, seccomp.Pipe, seccomp.Queue}
	allWithout := outcomes(t, nil, kinds...)
	for _, op := range denyable {
		if op == seccomp.Dup || op == seccomp.Steal && seccomp.LandlockABI() == 0 {
			continue // dup is what places the objects here: TestDeniedDup
		}
		allWith := outcomes(t, &policy{Deny: op}, kinds...)
		for _, kind := range kinds {
			without, with := allWithout[kind.String()], allWith[kind.String()]
			for _, a := range attempts {
				free, tried := without[a.name]
				got := with[a.name]
				denied := a.op&op != 0 || op == seccomp.Owner && (a.name == "FIOASYNC" || a.op == seccomp.Flags && isSetfl(a)) ||
					op == seccomp.Mode && a.op == seccomp.Offset && isSplice(a)
				switch {
				case !tried:
				case !denied && got != free:
					t.Errorf("%s on %v under deny %v: %v, without a filter %v", a.name, kind, op, got, free)
				case denied && (got[0].Errno != int(unix.EPERM) || got[1].Errno != int(unix.EPERM) || got[0].Changed || got[1].Changed):
					t.Errorf("%s on %v under deny %v: %v, want EPERM and no change", a.name, kind, op, got)
				}
			}
		}
	}
}

func isSetfl(a attempt) bool  { return len(a.name) >= 7 && a.name[:7] == "F_SETFL" }
func isSplice(a attempt) bool { return len(a.name) >= 6 && a.name[:6] == "splice" }

// TestPretended: a pretended operation reports success and changes nothing.
func TestPretended(t *testing.T) {
	regular := seccomp.Regular.String()
	without := outcomes(t, nil, seccomp.Regular)[regular]
	for _, op := range []seccomp.Op{seccomp.Flags, seccomp.Owner, seccomp.Lock} {
		with := outcomes(t, &policy{Deny: op, Action: seccomp.Pretend}, seccomp.Regular)[regular]
		for _, a := range attempts {
			if a.op&op != 0 && (with[a.name] != [2]outcome{}) {
				t.Errorf("%s, pretended: %v (without a filter %v)", a.name, with[a.name], without[a.name])
			}
		}
	}
}

// doDups tries to duplicate a descriptor of its own in every way.
func doDups(order) any {
	result := map[string]int{}
	for _, a := range attempts {
		if a.op&seccomp.Dup != 0 {
			result[a.name] = errnoOf(a.try(0))
		}
	}
	return result
}

func TestDeniedDup(t *testing.T) {
	var free, got map[string]int
	run(t, order{Job: "dups"}, &free)
	run(t, order{Job: "dups", Policy: &policy{Deny: seccomp.Dup}}, &got)
	if len(free) < 7 || len(got) != len(free) {
		t.Fatalf("without a filter %v, with one %v", free, got)
	}
	for name := range free {
		if free[name] != 0 || got[name] != int(unix.EPERM) {
			t.Errorf("%s: errno %d without a filter and %d with dup denied", name, free[name], got[name])
		}
	}
}

// doAnywhere tries what begins at no number.
func doAnywhere(order) any {
	var parameters [120]byte
	_, ring := call6For(unix.SYS_IO_URING_SETUP, 1, address(&parameters))
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	program := unix.SockFprog{Len: 1, Filter: &allow}
	install := func(flags uintptr) int {
		_, err := call6For(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, address(&program))
		return errnoOf(err)
	}
	return map[string]int{
		"io_uring_setup":           errnoOf(ring),
		"listener":                 install(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER),
		"filter":                   install(0),
		"NOTIF_ADDFD":              errnoOf(ioctl(0x40182103, 0)(0)),
		"NOTIF_ADDFD, other size":  errnoOf(ioctl(0x2103, 0)(0)),
		"BINDER_WRITE_READ":        errnoOf(ioctl(0xc0306201, 0)(0)),
		"TIOCSTI":                  errnoOf(ioctl(unix.TIOCSTI, 'x')(0)),
		"TIOCSTI with garbage":     errnoOf(ioctl(unix.TIOCSTI|garbage, 'x')(0)),
		"TIOCLINUX":                errnoOf(ioctl(unix.TIOCLINUX, 6)(0)),
		"FIONREAD, which is other": errnoOf(ioctl(0x541b, 0)(0)),
	}
}

func TestGuardsCloseWhatHasNoNumber(t *testing.T) {
	needLandlock(t, 1)
	var free, got map[string]int
	run(t, order{Job: "anywhere"}, &free)
	run(t, order{Job: "anywhere", Policy: &policy{Guarding: true}}, &got)
	want := map[string]int{"io_uring_setup": int(unix.ENOSYS), "filter": 0, "FIONREAD, which is other": free["FIONREAD, which is other"]}
	for name, errno := range got {
		expected, special := want[name]
		if !special {
			expected = int(unix.EPERM)
		}
		if errno != expected {
			t.Errorf("%s: errno %d, want %d (without a filter %d)", name, errno, expected, free[name])
		}
		if !special && free[name] == int(unix.EPERM) {
			t.Errorf("%s: EPERM without a filter too, so this proves nothing", name)
		}
	}
}
