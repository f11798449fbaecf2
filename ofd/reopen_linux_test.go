package ofd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func pipe(t testing.TB, flags int) (r, w int) {
	t.Helper()
	var p [2]int
	must(t, unix.Pipe2(p[:], flags|unix.O_CLOEXEC))
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p[0], p[1]
}

// fifo returns the path of a FIFO and a descriptor that keeps both its sides open.
func fifo(t testing.TB) (path string, both int) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	must(t, unix.Mkfifo(path, 0o600))
	return path, open(t, path, unix.O_RDWR)
}

// pty returns both sides of a new pseudo-terminal.
func pty(t testing.TB) (master, slave int) {
	t.Helper()
	master = open(t, "/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY)
	must(t, unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	must(t, err)
	return master, open(t, fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY)
}

func memfd(t testing.TB, content string) int {
	t.Helper()
	fd, err := unix.MemfdCreate("ofd", unix.MFD_CLOEXEC)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	_, err = unix.Write(fd, []byte(content))
	must(t, err)
	return fd
}

func unlinked(t testing.TB) int {
	t.Helper()
	path := fileWith(t, "content")
	fd := open(t, path, unix.O_RDONLY)
	must(t, os.Remove(path))
	return fd
}

// TestReopen opens again all that can be, and compares every flag, the offset and the identity.
func TestReopen(t *testing.T) {
	file := fileWith(t, "0123456789")
	fifoPath, _ := fifo(t)
	earlyPath := filepath.Join(t.TempDir(), "early")
	must(t, unix.Mkfifo(earlyPath, 0o600))
	early := open(t, earlyPath, unix.O_RDONLY|unix.O_NONBLOCK)
	pipeR, pipeW := pipe(t, 0)
	directR, directW := pipe(t, unix.O_DIRECT|unix.O_NONBLOCK)
	_, slave := pty(t)
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink("nowhere", link))
	cases := []struct {
		name    string
		fd      int
		writing Writing
		added   int
	}{
		{"file, reading", open(t, file, unix.O_RDONLY), Refuse, 0},
		{"file, appending", open(t, file, unix.O_WRONLY|unix.O_APPEND), Refuse, 0},
		{"file, reading and appending", open(t, file, unix.O_RDWR|unix.O_APPEND|unix.O_NONBLOCK), Refuse, 0},
		{"file, made to append", open(t, file, unix.O_WRONLY), Append, unix.O_APPEND},
		{"file, offset of its own", open(t, file, unix.O_RDWR), Offset, 0},
		{"file, appending, whatever was chosen", open(t, file, unix.O_WRONLY|unix.O_APPEND), Offset, 0},
		{"file, O_SYNC", open(t, file, unix.O_RDONLY|unix.O_SYNC), Refuse, 0},
		{"file, O_DSYNC", open(t, file, unix.O_RDONLY|unix.O_DSYNC), Refuse, 0},
		{"file, O_NOATIME", open(t, file, unix.O_RDONLY|unix.O_NOATIME), Refuse, 0},
		{"file, created and truncated", open(t, filepath.Join(t.TempDir(), "new"), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_TRUNC), Offset, 0},
		{"file without a name", open(t, t.TempDir(), unix.O_TMPFILE|unix.O_RDWR), Offset, 0},
		{"unlinked file", unlinked(t), Refuse, 0},
		{"memfd", memfd(t, "content"), Offset, 0},
		{"directory", open(t, t.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY), Refuse, 0},
		{"pipe, read end", pipeR, Refuse, 0},
		{"pipe, write end", pipeW, Append, 0},
		{"packet pipe, read end", directR, Refuse, 0},
		{"packet pipe, write end", directW, Refuse, 0},
		{"FIFO, reading", open(t, fifoPath, unix.O_RDONLY|unix.O_NONBLOCK), Refuse, 0},
		{"FIFO, reading, before any writer", early, Refuse, 0},
		{"FIFO, writing", open(t, fifoPath, unix.O_WRONLY|unix.O_NONBLOCK), Refuse, 0},
		{"terminal", slave, Refuse, 0},
		{"/dev/null", open(t, "/dev/null", unix.O_RDWR), Refuse, 0},
		{"/dev/zero", open(t, "/dev/zero", unix.O_RDONLY|unix.O_NONBLOCK), Refuse, 0},
		{"O_PATH file", open(t, file, unix.O_PATH), Refuse, 0},
		{"O_PATH directory", open(t, t.TempDir(), unix.O_PATH|unix.O_DIRECTORY), Refuse, 0},
		{"O_PATH symbolic link", open(t, link, unix.O_PATH|unix.O_NOFOLLOW), Refuse, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			unix.Seek(c.fd, 4, io.SeekStart) // where there is an offset
			before, err := StateOf(c.fd)
			must(t, err)
			fresh, err := Reopen(c.fd, c.writing)
			must(t, err)
			defer unix.Close(fresh)
			after, err := StateOf(c.fd)
			must(t, err)
			if changes := before.Diff(after); changes != nil {
				t.Errorf("the original changed: %v", changes)
			}
			want := before
			want.Flags = want.Flags&^(unix.O_NONBLOCK|unix.O_NOFOLLOW) | c.added
			got, err := StateOf(fresh)
			must(t, err)
			// What only open(2) itself looks at: the kernel's O_LARGEFILE (package unix has 0 for it, and on amd64 and arm64 it
			// follows O_DIRECT), O_DIRECTORY, O_TMPFILE.
			const ofOpen = unix.O_DIRECT<<1 | unix.O_DIRECTORY | unix.O_TMPFILE
			if got.Flags&^ofOpen != want.Flags&^ofOpen || got.Access != want.Access || got.Offset != want.Offset {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			if same, err := Same(c.fd, fresh); same || err != nil {
				t.Errorf("the same description: %v, %v", same, err)
			}
			if flags, err := unix.FcntlInt(uintptr(fresh), unix.F_GETFD, 0); err != nil || flags != unix.FD_CLOEXEC {
				t.Errorf("close-on-exec: %#x, %v", flags, err)
			}
			var a, b unix.Stat_t
			must(t, unix.Fstat(c.fd, &a))
			must(t, unix.Fstat(fresh, &b))
			if a.Dev != b.Dev || a.Ino != b.Ino {
				t.Errorf("another file: %v, %v", a, b)
			}
		})
	}
}

func anonymous(t testing.TB, make func() (int, error)) int {
	t.Helper()
	fd, err := make()
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// TestReopenRefuses names every refusal, and sees that nothing is left open and nothing changed.
func TestReopenRefuses(t *testing.T) {
	file := fileWith(t, "0123456789")
	sockets, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(sockets[0])
	defer unix.Close(sockets[1])
	master, _ := pty(t)

	readerless, both := fifo(t)
	writer := open(t, readerless, unix.O_WRONLY|unix.O_NONBLOCK)
	writerless, both2 := fifo(t)
	reader := open(t, writerless, unix.O_RDONLY|unix.O_NONBLOCK)
	full, both3 := fifo(t)
	lateReader := open(t, full, unix.O_RDONLY|unix.O_NONBLOCK)
	_, err = unix.Write(both3, []byte("left behind"))
	must(t, err)
	for _, side := range []*int{&both, &both2, &both3} {
		must(t, unix.Dup3(open(t, "/dev/null", unix.O_RDONLY), *side, unix.O_CLOEXEC)) // closes that side
	}
	hungMaster, hungSlave := pty(t)
	must(t, unix.Dup3(open(t, "/dev/null", unix.O_RDONLY), hungMaster, unix.O_CLOEXEC))

	lockedPath := fileWith(t, "content")
	locked := open(t, lockedPath, unix.O_RDONLY)
	locker := open(t, lockedPath, unix.O_RDWR)
	must(t, unix.FcntlFlock(uintptr(locker), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: 5, Len: 1}))

	leasedPath := fileWith(t, "content")
	leased := open(t, leasedPath, unix.O_RDONLY)
	_, err = unix.FcntlInt(uintptr(leased), unix.F_SETLEASE, unix.F_RDLCK)
	must(t, err)

	cases := []struct {
		name   string
		fd     int
		reason error
		errno  error
	}{
		{"socket", sockets[0], ErrNoFile, unix.ENXIO},
		{"eventfd", anonymous(t, func() (int, error) { return unix.Eventfd(0, unix.EFD_CLOEXEC) }), ErrNoFile, unix.ENXIO},
		{"epoll", anonymous(t, func() (int, error) { return unix.EpollCreate1(unix.EPOLL_CLOEXEC) }), ErrNoFile, unix.ENXIO},
		{"timerfd", anonymous(t, func() (int, error) { return unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC) }), ErrNoFile, unix.ENXIO},
		{"inotify", anonymous(t, func() (int, error) { return unix.InotifyInit1(unix.IN_CLOEXEC) }), ErrNoFile, unix.ENXIO},
		{"writable file", open(t, file, unix.O_WRONLY), ErrWritable, nil},
		{"readable and writable file", open(t, file, unix.O_RDWR), ErrWritable, nil},
		{"pseudo-terminal's master", master, ErrOtherObject, nil},
		{"terminal that hung up", hungSlave, ErrHangup, unix.EIO},
		{"FIFO, writing without a reader", writer, ErrHangup, unix.ENXIO},
		{"FIFO, reading without a writer", reader, ErrHangup, nil},
		{"FIFO, reading what a writer left behind", lateReader, ErrHangup, nil},
		{"file with a POSIX lock of this process", locked, ErrPOSIXLock, nil},
		{"the descriptor that took the POSIX lock", open(t, lockedPath, unix.O_RDONLY), ErrPOSIXLock, nil},
		{"file with a lease", leased, ErrLease, nil},
		{"file with a lease on another description", open(t, leasedPath, unix.O_RDONLY), ErrLease, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before, err := StateOf(c.fd)
			must(t, err)
			count := openDescriptors(t)
			fresh, err := Reopen(c.fd, Refuse)
			var refusal *Refusal
			if fresh != -1 || !errors.As(err, &refusal) || !errors.Is(err, c.reason) || refusal.FD != c.fd {
				t.Fatalf("got %d, %v; want %v", fresh, err, c.reason)
			}
			if c.errno != nil && !errors.Is(err, c.errno) {
				t.Errorf("%v is not %v", err, c.errno)
			}
			if refusal.Instead == "" || !strings.Contains(err.Error(), refusal.Instead) {
				t.Errorf("%q doesn't say what to do instead", err)
			}
			after, err := StateOf(c.fd)
			must(t, err)
			if changes := before.Diff(after); changes != nil {
				t.Errorf("the original changed: %v", changes)
			}
			if now := openDescriptors(t); now != count {
				t.Errorf("%d descriptors are open, %d before", now, count)
			}
		})
	}
	if held, err := HoldsPOSIX(locked); !held || err != nil {
		t.Errorf("the POSIX lock is gone: %v, %v", held, err)
	}
}

// TestReopenErrors tells what isn't a refusal: nothing may fall back to sharing because of it.
func TestReopenErrors(t *testing.T) {
	var refusal *Refusal
	if _, err := Reopen(1<<20, Refuse); !errors.Is(err, unix.EBADF) || errors.As(err, &refusal) {
		t.Errorf("closed descriptor: %v", err)
	}
	fd := open(t, "/dev/null", unix.O_RDONLY)
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	low := limit
	low.Cur = uint64(fd)
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &low))
	_, err := Reopen(fd, Refuse)
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	if !errors.Is(err, unix.EMFILE) || errors.As(err, &refusal) {
		t.Errorf("no number left: %v", err)
	}
}

// TestReopenNeverWidens opens a file that the opener may not open any more.
func TestReopenNeverWidens(t *testing.T) {
	proctest.NeedRoot(t)
	path := fileWith(t, "secret")
	must(t, os.Chmod(path, 0o400))
	fd := open(t, path, unix.O_RDONLY)
	asNobody(t, func() {
		_, err := Reopen(fd, Refuse)
		if !errors.Is(err, ErrDenied) || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("got %v, want a refusal with EACCES", err)
		}
	})
	readEnd, _ := pipe(t, 0)
	fresh, err := Reopen(readEnd, Refuse)
	must(t, err)
	defer unix.Close(fresh)
	if _, err := unix.Write(fresh, []byte("x")); !errors.Is(err, unix.EBADF) {
		t.Errorf("the read end's new description writes: %v", err)
	}
}

// TestReopenDevices sees that a writable block device counts as a writable file.
func TestReopenDevices(t *testing.T) {
	proctest.NeedRoot(t)
	if _, err := Reopen(open(t, "/dev/kmsg", unix.O_RDONLY), Refuse); !errors.Is(err, ErrDevice) {
		t.Errorf("/dev/kmsg: %v", err)
	}
	loop := blockDevice(t)
	if _, err := Reopen(loop, Refuse); !errors.Is(err, ErrWritable) {
		t.Errorf("block device: %v", err)
	}
	must(t, seekTo(loop, 512))
	fresh, err := Reopen(loop, Offset)
	must(t, err)
	defer unix.Close(fresh)
	if at, err := offsetOf(fresh); at != 512 || err != nil {
		t.Errorf("block device: offset %d, %v", at, err)
	}
}

// blockDevice binds a loop device to a file of 1 MiB.
func blockDevice(t *testing.T) int {
	t.Helper()
	path := fileWith(t, strings.Repeat("0123456789abcdef", 1<<16))
	control, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		proctest.Skip(t, "loop devices (CONFIG_BLK_DEV_LOOP)")
	}
	defer unix.Close(control)
	n, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
	must(t, err)
	node := fmt.Sprintf("/dev/loop%d", n)
	if _, err := os.Stat(node); errors.Is(err, fs.ErrNotExist) {
		must(t, unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(7, uint32(n)))))
	}
	fd := open(t, node, unix.O_RDWR)
	must(t, unix.IoctlSetInt(fd, unix.LOOP_SET_FD, open(t, path, unix.O_RDWR)))
	t.Cleanup(func() { unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0) })
	return fd
}

func seekTo(fd int, offset int64) error {
	_, err := unix.Seek(fd, offset, io.SeekStart)
	return err
}

// TestReopenOtherTerminal opens /dev/tty in a session whose terminal is another one than the descriptor's.
func TestReopenOtherTerminal(t *testing.T) {
	_, first := pty(t)
	_, second := pty(t)
	// The descriptor is /dev/tty of a process in a session on the first terminal; this process has no terminal, or another.
	cmd := proctest.Command(t, "terminal")
	cmd.ExtraFiles = []*os.File{asFile(t, first), asFile(t, second)}
	cmd.SysProcAttr = newSession()
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "ok\n" {
		t.Fatalf("%v: %s", err, out)
	}
}

// onTerminal leads a session with the terminal 3, opens /dev/tty, changes over to the terminal 4, and opens the first
// one's /dev/tty again.
func onTerminal([]string) int {
	signal.Ignore(unix.SIGHUP) // giving up the terminal sends it
	err := func() error {
		if err := unix.IoctlSetInt(3, unix.TIOCSCTTY, 0); err != nil {
			return err
		}
		tty, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		fresh, err := Reopen(tty, Refuse)
		if err != nil {
			return fmt.Errorf("in its own session: %w", err)
		}
		unix.Close(fresh)
		if err := unix.IoctlSetInt(3, unix.TIOCNOTTY, 0); err != nil {
			return err
		}
		if _, err = Reopen(tty, Refuse); !errors.Is(err, ErrHangup) && !errors.Is(err, ErrOtherObject) {
			return fmt.Errorf("without a terminal: %w", err)
		}
		if err := unix.IoctlSetInt(4, unix.TIOCSCTTY, 0); err != nil {
			return err
		}
		if _, err = Reopen(tty, Refuse); !errors.Is(err, ErrHangup) && !errors.Is(err, ErrOtherObject) {
			return fmt.Errorf("with another terminal: %w", err)
		}
		return nil
	}()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ok")
	return 0
}

// TestDiffers sees that the flags tell two descriptions apart where nobody may ask the kernel.
func TestDiffers(t *testing.T) {
	file := fileWith(t, "content")
	for _, flags := range []int{0, unix.O_NONBLOCK, unix.O_APPEND} {
		o, err := look(open(t, file, unix.O_RDONLY|flags))
		must(t, err)
		fd, err := o.open(o.openFlags())
		must(t, err)
		fresh, err := look(fd)
		must(t, err)
		if !marked(&o, &fresh) {
			t.Errorf("%#x opened as %#x: no proof", o.flags, fresh.flags)
		}
		if marked(&o, &o) {
			t.Errorf("%#x: a proof against itself", o.flags)
		}
		unix.Close(fd)
	}
}

func TestHoldsPOSIX(t *testing.T) {
	path := fileWith(t, "0123456789")
	fd := open(t, path, unix.O_RDWR)
	holds := func(want bool, when string) {
		t.Helper()
		if got, err := HoldsPOSIX(fd); got != want || err != nil {
			t.Errorf("%s: %v, %v", when, got, err)
		}
	}
	holds(false, "no lock at all")
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	number(t, file)
	child := startOther(t, file)
	child.does(t, "posix")
	holds(false, "another process's lock")
	ours := open(t, path, unix.O_RDONLY)
	must(t, unix.FcntlFlock(uintptr(ours), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK}))
	holds(true, "behind another process's lock")
	child.end()
	holds(true, "alone")
	must(t, unix.FcntlFlock(uintptr(ours), unix.F_SETLK, &unix.Flock_t{Type: unix.F_UNLCK}))
	holds(false, "unlocked")
	must(t, unix.FcntlFlock(uintptr(ours), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK}))
	holds(false, "an OFD lock")
	if _, err := HoldsPOSIX(1 << 20); !errors.Is(err, unix.EBADF) {
		t.Errorf("closed descriptor: %v", err)
	}
	if got, err := HoldsPOSIX(open(t, path, unix.O_PATH)); got || err != nil {
		t.Errorf("O_PATH: %v, %v", got, err)
	}
	r, _ := pipe(t, 0)
	if got, err := HoldsPOSIX(r); got || err != nil {
		t.Errorf("pipe: %v, %v", got, err)
	}
	sockets, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	if got, err := HoldsPOSIX(sockets[0]); got || err != nil {
		t.Errorf("socket: %v, %v", got, err)
	}
	unix.Close(sockets[0])
	unix.Close(sockets[1])
}

func TestState(t *testing.T) {
	path := fileWith(t, "0123456789")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	must(t, err)
	fd := number(t, file)
	must(t, seekTo(fd, 7))
	before, err := StateOf(fd)
	must(t, err)
	if before.Access != unix.O_RDWR || before.Flags&settableMask != unix.O_APPEND || before.Offset != 7 || before.Locks != nil ||
		before.Owner != (Owner{}) || before.Signal != 0 || before.Held() {
		t.Fatalf("%+v", before)
	}
	child := startOther(t, file)
	must(t, unix.Flock(fd, unix.LOCK_EX))
	must(t, unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: 2, Len: 3}))
	must(t, unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 8}))
	owner := struct{ kind, id int32 }{ownerProcess, int32(os.Getpid())}
	must(t, fcntlPointer(fd, unix.F_SETOWN_EX, unsafe.Pointer(&owner)))
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETSIG, int(unix.SIGUSR1))
	must(t, err)
	child.does(t, "nonblock")
	child.does(t, "read")
	after, err := StateOf(fd)
	must(t, err)
	want := []string{
		"O_NONBLOCK set", "offset moved from 7 to 10",
		fmt.Sprintf("owner changed from nobody to process %d", os.Getpid()),
		"signal changed from the default to SIGUSR1",
		"exclusive POSIX lock from byte 8 on taken", "shared OFD lock on bytes 2 to 4 taken", "exclusive flock taken",
	}
	if got := before.Diff(after); !sameWords(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !after.Held() {
		t.Error("no lock is held")
	}
	must(t, before.Restore(fd))
	restored, err := StateOf(fd)
	must(t, err)
	if got := after.Diff(restored); !sameWords(got, []string{"O_NONBLOCK cleared"}) {
		t.Errorf("restored: %q", got)
	}
	must(t, before.Restore(fd)) // nothing to do
	theirs, err := StateIn(child.ref())
	must(t, err)
	if got := restored.Diff(theirs); !sameWords(got, []string{"exclusive POSIX lock from byte 8 on dropped"}) {
		t.Errorf("seen through the other process: %q", got)
	}
}

func sameWords(a, b []string) bool {
	count := map[string]int{}
	for _, w := range a {
		count[w]++
	}
	for _, w := range b {
		count[w]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

func TestStateOfLease(t *testing.T) {
	fd := open(t, fileWith(t, "content"), unix.O_RDONLY)
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
	must(t, err)
	s, err := StateOf(fd)
	must(t, err)
	if len(s.Locks) != 1 || s.Locks[0].Kind != "lease" || s.Locks[0].Write || !s.Held() {
		t.Errorf("%+v", s.Locks)
	}
}

func TestStateWithoutProc(t *testing.T) {
	fd := open(t, fileWith(t, "content"), unix.O_RDONLY)
	must(t, seekTo(fd, 3))
	s, err := stateOf(fd, t.TempDir())
	if !errors.Is(err, fs.ErrNotExist) || s.Offset != 3 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestReopenSecretMemory opens what looks like a regular file and has nothing to open.
func TestReopenSecretMemory(t *testing.T) {
	fd, _, errno := unix.Syscall(unix.SYS_MEMFD_SECRET, unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		proctest.Skip(t, "memfd_secret(2) (Linux 5.14, secretmem.enable)")
	}
	defer unix.Close(int(fd))
	if _, err := Reopen(int(fd), Offset); !errors.Is(err, ErrNoFile) || !errors.Is(err, unix.ENXIO) {
		t.Errorf("got %v", err)
	}
}
