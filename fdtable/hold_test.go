package fdtable

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Helper("hold", holdHelper)
	proctest.Helper("many", manyHelper)
	proctest.Helper("look", lookHelper)
	proctest.Helper("jail", jailHelper)
	proctest.Main(m)
}

// want is what a holder knows of one of its descriptors.
type want struct {
	Number  int
	Kind    Kind
	Access  string
	Flags   []string // status flags without O_LARGEFILE, which depends on the system call that opened
	CloExec bool
	Target  string // exact, where it isn't empty
	Detail  string
	Locks   []string
	Socket  *Socket // exact, but for a netlink socket's Type
}

// A holder opens one descriptor of each kind by system call, so that nothing but these are open.
type holder struct{ wants []want }

func (h *holder) add(number int, err error, w want) int {
	if err != nil {
		panic(fmt.Sprintf("%+v: %v", w, err))
	}
	w.Number = number
	h.wants = append(h.wants, w)
	return number
}

func (h *holder) open(path string, flags int, w want) int {
	fd, err := unix.Open(path, flags, 0o600)
	return h.add(fd, err, w)
}

// call opens by a system call that gives a new descriptor. Its arguments may be pointers: they must not move.
//
//go:uintptrescapes
func (h *holder) call(w want, trap uintptr, args ...uintptr) int {
	var a [6]uintptr
	copy(a[:], args)
	fd, _, errno := unix.Syscall6(trap, a[0], a[1], a[2], a[3], a[4], a[5])
	for trap == unix.SYS_BPF && errno == unix.EAGAIN { // a signal came while the program was looked at, and Go sends some
		fd, _, errno = unix.Syscall6(trap, a[0], a[1], a[2], a[3], a[4], a[5])
	}
	if errno != 0 {
		panic(fmt.Sprintf("%+v: %v", w, errno))
	}
	return h.add(int(fd), nil, w)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// holdAll opens one of each kind that this user may open. The directory is the holder's own.
func holdAll(directory string) []want {
	h := &holder{}
	h.files(directory)
	h.devices()
	h.anonymous()
	h.sockets(directory)
	if os.Geteuid() == 0 {
		h.privileged()
	}
	return h.wants
}

func (h *holder) files(directory string) {
	const create = unix.O_CREAT | unix.O_CLOEXEC
	path := func(name string) string { return directory + "/" + name }
	fd := h.open(path("append"), create|unix.O_WRONLY|unix.O_APPEND,
		want{Kind: KindFile, Access: "write", Flags: []string{"O_APPEND"}, CloExec: true, Target: path("append")})
	_, err := unix.Write(fd, []byte("1234567"))
	must(err)
	fd = h.open(path("all flags"), unix.O_CREAT|unix.O_RDWR|unix.O_NONBLOCK|unix.O_SYNC|unix.O_NOATIME|unix.O_NOFOLLOW,
		want{Kind: KindFile, Access: "read-write", Flags: []string{"O_NONBLOCK", "O_SYNC", "O_NOATIME", "O_NOFOLLOW"}})
	must(unix.Flock(fd, unix.LOCK_EX))
	h.wants[len(h.wants)-1].Locks = []string{fmt.Sprintf("flock write by %d", os.Getpid())}
	fd = h.open(path("posix"), create|unix.O_RDWR|unix.O_DSYNC, want{
		Kind: KindFile, Access: "read-write", Flags: []string{"O_DSYNC"}, CloExec: true,
		Locks: []string{fmt.Sprintf("posix write 5-14 by %d", os.Getpid()), fmt.Sprintf("posix read 100-end by %d", os.Getpid())},
	})
	must(unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 5, Len: 10}))
	must(unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: 100}))
	fd = h.open(path("ofd"), create|unix.O_RDWR,
		want{Kind: KindFile, Access: "read-write", CloExec: true, Locks: []string{"ofd write 100-end"}})
	must(unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 100}))
	h.open(path("ofd"), unix.O_RDONLY|unix.O_CLOEXEC,
		want{Kind: KindFile, Access: "read", CloExec: true}) // another description: no lock
	fd = h.open(path("lease"), create|unix.O_RDONLY,
		want{
			Kind: KindFile, Access: "read", Flags: []string{"O_ASYNC"}, CloExec: true, // a lease makes it asynchronous
			Locks: []string{fmt.Sprintf("lease read by %d", os.Getpid())},
		})
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
	must(err)
	h.open(path("gone\n\x1b[31m"), create|unix.O_WRONLY,
		want{Kind: KindFile, Access: "write", CloExec: true, Target: path("gone\n\x1b[31m (deleted)")})
	must(unix.Unlink(path("gone\n\x1b[31m")))
	h.open(directory, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC,
		want{Kind: KindFile, Access: "read-write", Flags: []string{"O_TMPFILE"}, CloExec: true})
	h.open(directory, unix.O_DIRECTORY|unix.O_CLOEXEC,
		want{Kind: KindDirectory, Access: "read", Flags: []string{"O_DIRECTORY"}, CloExec: true, Target: directory})
	h.open(directory, unix.O_PATH|unix.O_CLOEXEC,
		want{Kind: KindDirectory, Access: "path", Flags: []string{"O_PATH"}, CloExec: true, Target: directory})
	must(unix.Symlink("nowhere", path("link")))
	h.open(path("link"), unix.O_PATH|unix.O_NOFOLLOW,
		want{Kind: KindSymlink, Access: "path", Flags: []string{"O_PATH", "O_NOFOLLOW"}, Target: path("link")})
	must(unix.Mkfifo(path("fifo"), 0o600))
	h.open(path("fifo"), unix.O_RDWR|unix.O_CLOEXEC,
		want{Kind: KindFIFO, Access: "read-write", CloExec: true, Target: path("fifo")})
	var ends [2]int
	must(unix.Pipe2(ends[:], unix.O_NONBLOCK|unix.O_DIRECT))
	h.add(ends[0], nil, want{Kind: KindPipe, Access: "read", Flags: []string{"O_NONBLOCK"}})
	h.add(ends[1], nil, want{Kind: KindPipe, Access: "write", Flags: []string{"O_NONBLOCK", "O_DIRECT"}})
}

func (h *holder) devices() {
	for _, name := range []string{"null", "zero", "full", "random", "urandom"} {
		h.open("/dev/"+name, unix.O_RDONLY, want{Kind: KindMemoryDevice, Access: "read", Target: "/dev/" + name})
	}
	master := h.open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC,
		want{Kind: KindPTYMaster, Access: "read-write", CloExec: true})
	number, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	must(err)
	h.wants[len(h.wants)-1].Detail = fmt.Sprint("pts ", number)
	must(unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0))
	h.open(fmt.Sprint("/dev/pts/", number), unix.O_RDWR|unix.O_NOCTTY,
		want{Kind: KindTerminal, Access: "read-write", Target: fmt.Sprint("/dev/pts/", number)})
}

func (h *holder) anonymous() {
	ro := func(kind Kind, detail string) want {
		return want{Kind: kind, Access: "read", CloExec: true, Detail: detail}
	}
	rw := func(kind Kind, detail string) want {
		return want{Kind: kind, Access: "read-write", CloExec: true, Detail: detail}
	}
	h.call(rw(KindEventfd, "counter 26"), unix.SYS_EVENTFD2, 26, unix.EFD_CLOEXEC)
	h.call(rw(KindEpoll, ""), unix.SYS_EPOLL_CREATE1, unix.EPOLL_CLOEXEC)
	h.call(rw(KindTimerfd, "clock boottime"), unix.SYS_TIMERFD_CREATE, unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC)
	mask := uint64(1<<(unix.SIGUSR1-1) | 1<<(unix.SIGCHLD-1))
	h.call(rw(KindSignalfd, "signals 10,17"), unix.SYS_SIGNALFD4, ^uintptr(0), uintptr(unsafe.Pointer(&mask)), 8, unix.SFD_CLOEXEC)
	h.call(ro(KindInotify, ""), unix.SYS_INOTIFY_INIT1, unix.IN_CLOEXEC)
	h.call(rw(KindPidfd, fmt.Sprint("pid ", os.Getpid())), unix.SYS_PIDFD_OPEN, uintptr(os.Getpid()), 0)
	var ring [120]byte
	h.call(rw(KindIOUring, ""), unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&ring)))
	name := [...]byte{'n', '\n', 0}
	h.call(want{Kind: KindMemfd, Access: "read-write", Target: "/memfd:n\n (deleted)"}, unix.SYS_MEMFD_CREATE, uintptr(unsafe.Pointer(&name)), 0)
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno == 0 { // Linux 5.13
		handled := uint64(1)
		h.call(rw("landlock-ruleset", ""), unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&handled)), 8, 0)
	}
	const userModeOnly = 1 // Linux 5.11; before it anybody may see to the kernel's faults as well
	faults := uintptr(unix.O_CLOEXEC | unix.O_NONBLOCK | userModeOnly)
	if fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, faults, 0, 0); errno == 0 {
		must(unix.Close(int(fd)))
	} else if errno == unix.EINVAL {
		faults &^= userModeOnly
	}
	h.call(want{Kind: KindUserfaultfd, Access: "read", CloExec: true, Flags: []string{"O_NONBLOCK"}}, unix.SYS_USERFAULTFD, faults)
	h.open("/proc/self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, want{Kind: KindNamespace, Access: "read", CloExec: true})
	queue := append([]byte(fmt.Sprint("safeexec-", os.Getpid())), 0)
	h.call(want{Kind: KindMessageQueue, Access: "read-write", CloExec: true, Target: "/" + string(queue[:len(queue)-1])},
		unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(&queue[0])), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600, 0)
	_, _, errno := unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(&queue[0])), 0, 0)
	if errno != 0 {
		panic(errno)
	}
	h.wants[len(h.wants)-1].Target += " (deleted)"
	h.seccompListener()
}

// seccompListener loads a filter that permits everything, on this thread.
func (h *holder) seccompListener() {
	must(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	permit := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	program := unix.SockFprog{Len: 1, Filter: &permit}
	h.call(want{Kind: KindSeccompListener, Access: "read-write", CloExec: true}, unix.SYS_SECCOMP,
		unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
}

func (h *holder) socket(family, typ, protocol int, s Socket) int {
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, protocol)
	return h.add(fd, err, want{Kind: KindSocket, Access: "read-write", CloExec: true, Socket: &s})
}

func port(fd int) int {
	address, err := unix.Getsockname(fd)
	must(err)
	return address.(*unix.SockaddrInet4).Port
}

func (h *holder) sockets(directory string) {
	loopback := [4]byte{127, 0, 0, 1}
	listener := h.socket(unix.AF_INET, unix.SOCK_STREAM, 0, Socket{"inet", "stream", "tcp", "listening", "", ""})
	s := h.wants[len(h.wants)-1].Socket
	must(unix.Bind(listener, &unix.SockaddrInet4{Addr: loopback}))
	must(unix.Listen(listener, 1))
	s.Local = fmt.Sprint("127.0.0.1:", port(listener))
	client := h.socket(unix.AF_INET, unix.SOCK_STREAM, 0, Socket{"inet", "stream", "tcp", "established", "", s.Local})
	must(unix.Connect(client, &unix.SockaddrInet4{Addr: loopback, Port: port(listener)}))
	h.wants[len(h.wants)-1].Socket.Local = fmt.Sprint("127.0.0.1:", port(client))
	h.socket(unix.AF_INET, unix.SOCK_STREAM, 0, Socket{"inet", "stream", "tcp", "unconnected", "", ""})
	datagram := h.socket(unix.AF_INET, unix.SOCK_DGRAM, 0, Socket{"inet", "dgram", "udp", "unconnected", "", ""})
	must(unix.Bind(datagram, &unix.SockaddrInet4{}))
	h.wants[len(h.wants)-1].Socket.Local = fmt.Sprint("0.0.0.0:", port(datagram))
	six := h.socket(unix.AF_INET6, unix.SOCK_DGRAM, 0, Socket{"inet6", "dgram", "udp", "connected", "", "[::1]:9"})
	must(unix.Connect(six, &unix.SockaddrInet6{Addr: [16]byte{15: 1}, Port: 9}))
	address, err := unix.Getsockname(six)
	must(err)
	h.wants[len(h.wants)-1].Socket.Local = fmt.Sprintf("[::1]:%d", address.(*unix.SockaddrInet6).Port)

	named := h.socket(unix.AF_UNIX, unix.SOCK_STREAM, 0, Socket{FamilyUNIX, "stream", "", "listening", directory + "/a socket", ""})
	must(unix.Bind(named, &unix.SockaddrUnix{Name: directory + "/a socket"}))
	must(unix.Listen(named, 1))
	h.open(directory+"/a socket", unix.O_PATH|unix.O_CLOEXEC,
		want{Kind: KindSocketFile, Access: "path", Flags: []string{"O_PATH"}, CloExec: true, Target: directory + "/a socket"})
	name := fmt.Sprint("@safeexec-", os.Getpid())
	abstract := h.socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0, Socket{FamilyUNIX, "dgram", "", "unconnected", name, ""})
	must(unix.Bind(abstract, &unix.SockaddrUnix{Name: name}))
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK, 0)
	for _, fd := range pair {
		h.add(fd, err, want{
			Kind: KindSocket, Access: "read-write", Flags: []string{"O_NONBLOCK"},
			Socket: &Socket{FamilyUNIX, "seqpacket", "", "connected", "", ""},
		})
	}
	route := h.socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE, Socket{"netlink", "raw", "route", "", "", ""})
	must(unix.Bind(route, &unix.SockaddrNetlink{Pid: uint32(os.Getpid())}))
	h.wants[len(h.wants)-1].Socket.Local = fmt.Sprint("port ", os.Getpid())
}

// someNumber stands for "id" and any number.
func someNumber(kind Kind) string {
	if kind == KindBPFMap || kind == KindBPFProgram {
		return "id #"
	}
	return ""
}

// Variables of the package, because the kernel gets their addresses as numbers.
var (
	bpfReturn  = [...]uint64{0xb7, 0x95} // r0 = 0; exit
	bpfLicense = [...]byte{'G', 'P', 'L', 0}
)

func (h *holder) privileged() {
	rw := func(kind Kind) want {
		return want{Kind: kind, Access: "read-write", CloExec: true, Detail: someNumber(kind)}
	}
	h.call(rw(KindFanotify), unix.SYS_FANOTIFY_INIT, unix.FAN_CLOEXEC, unix.O_RDWR)
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}
	h.call(rw(KindPerfEvent), unix.SYS_PERF_EVENT_OPEN, uintptr(unsafe.Pointer(&attr)), 0, ^uintptr(0), ^uintptr(0), unix.PERF_FLAG_FD_CLOEXEC)
	type mapAttr struct{ typ, keySize, valueSize, entries, flags uint32 }
	h.call(rw(KindBPFMap), unix.SYS_BPF, unix.BPF_MAP_CREATE,
		uintptr(unsafe.Pointer(&mapAttr{unix.BPF_MAP_TYPE_ARRAY, 4, 4, 4, 0})), 20)
	type programAttr struct {
		typ, count            uint32
		instructions, license uintptr
	}
	program := programAttr{unix.BPF_PROG_TYPE_SOCKET_FILTER, 2, uintptr(unsafe.Pointer(&bpfReturn)), uintptr(unsafe.Pointer(&bpfLicense))}
	h.call(rw(KindBPFProgram), unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&program)), unsafe.Sizeof(program))
	h.socket(unix.AF_PACKET, unix.SOCK_RAW, 0, Socket{"packet", "raw", "", "", "", ""})
	h.socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, Socket{"inet", "raw", "icmp", "unconnected", "", ""})
	filesystem := [...]byte{'t', 'm', 'p', 'f', 's', 0}
	h.call(rw("fs-context"), unix.SYS_FSOPEN, uintptr(unsafe.Pointer(&filesystem)), unix.FSOPEN_CLOEXEC)
}

// holdHelper opens everything, says what and waits for the end of its standard input. With "self" it also says what it sees of
// itself, with "noproc" what it sees without procfs.
func holdHelper(args []string) int {
	runtime.LockOSThread()
	wants := holdAll(args[0])
	report := selfReport{Wants: wants}
	for fd := range 4096 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			report.Open = append(report.Open, fd)
		}
	}
	if len(args) > 1 {
		report.look(args[1] == "noproc")
	}
	return tell(report)
}

// tell writes a line for the test and waits for the end of standard input.
func tell(report any) int {
	out, err := json.Marshal(report)
	must(err)
	_, err = unix.Write(1, append(out, '\n'))
	must(err)
	var b [1]byte
	for {
		if _, err := unix.Read(0, b[:]); err != unix.EINTR {
			return 0
		}
	}
}

// A selfReport is what a holder tells.
type selfReport struct {
	Wants     []want
	Open      []int // as fcntl tells, number by number
	Listed    []Descriptor
	Inspected []Descriptor
	NoProc    int // how many of Inspected came with ErrNoProc
}

func (r *selfReport) look(noProc bool) {
	if noProc {
		must(unix.Unshare(unix.CLONE_NEWNS))
		must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		must(unix.Mount("tmpfs", "/proc", "tmpfs", 0, ""))
	} else {
		listed, err := List(0)
		must(err)
		r.Listed = listed
	}
	for _, fd := range r.Open {
		d, err := Inspect(fd)
		if err != nil {
			r.NoProc++
		}
		r.Inspected = append(r.Inspected, d)
	}
}
