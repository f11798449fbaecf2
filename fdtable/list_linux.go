package fdtable

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Descriptor is one number of a process's table and what it refers to.
type Descriptor struct {
	Number      int
	Kind        Kind
	Flags       Flags   // access mode and status flags
	CloseOnExec bool    // of the descriptor; all else is the description's, and shared with its duplicates
	Offset      int64   // meaningful where Kind.HasOffset says so
	Locks       []Lock  // held through this description
	Target      string  // as the kernel gives it: raw bytes, " (deleted)" appended to what is; see Printable
	Deleted     bool    // what it refers to is in a file system and has no name there, or none any more
	Device      Device  // where what it refers to is
	Inode       uint64  // 0 for the anonymous inodes of other processes before Linux 5.14
	Detail      string  // what the kind adds: "pid 123", "counter 4"; see fdinfo in proc(5)
	Socket      *Socket // of sockets only
}

// A Device is a device's number, as st_dev of stat(2) has it.
type Device uint64

// String gives major and minor number, "8:1".
func (d Device) String() string {
	return strconv.FormatUint(uint64(unix.Major(uint64(d))), 10) + ":" + strconv.FormatUint(uint64(unix.Minor(uint64(d))), 10)
}

// ErrNoProc says that /proc is missing, isn't procfs, or shows other processes than this one's: tables can't be read. It
// satisfies errors.Is(err, errors.ErrUnsupported).
var ErrNoProc error = noProc{}

type noProc struct{}

func (noProc) Error() string        { return "/proc doesn't show this process" }
func (noProc) Is(target error) bool { return target == errors.ErrUnsupported }

// A Reader reads the tables of many processes and remembers what they have in common, such as the sockets of a network
// namespace. It holds a descriptor (close-on-exec) until Close. It shows things as they were when it came by them first: use
// one Reader for one listing. It isn't for concurrent use.
type Reader struct {
	proc       int // O_PATH, of /proc
	self       int // this process's number in /proc
	namespaces map[string]*netns
	devices    map[Kind]Device // where pipes, sockets and anonymous inodes live: one device each
	magics     map[uint64]int64
	noStatx    bool
	link       [unix.PathMax]byte
	info       [4096]byte
	room       []byte // see big
}

// NewReader opens /proc, after making sure that it is procfs.
func NewReader() (*Reader, error) {
	proc, err := openProc()
	if err != nil {
		return nil, err
	}
	r := &Reader{proc: proc, devices: map[Kind]Device{}, magics: map[uint64]int64{}}
	self, err := readlinkAt(proc, "self", r.link[:])
	if err == nil {
		r.self, err = strconv.Atoi(self)
	}
	if err != nil { // a /proc of another PID namespace
		unix.Close(proc)
		return nil, failed("", ErrNoProc, failed("/proc/self", err))
	}
	return r, nil
}

// big is room for a directory or a table, made when it is needed first: a look at a few descriptors does without.
func (r *Reader) big() []byte {
	if r.room == nil {
		r.room = make([]byte, 64<<10)
	}
	return r.room
}

// Close releases the Reader's descriptor.
func (r *Reader) Close() error { return unix.Close(r.proc) }

// List returns the descriptors of a process in ascending order; pid 0 means this one, as seen by the calling thread. The
// descriptors that the listing itself needs aren't listed.
//
// errors.Is tells what went wrong: unix.ESRCH (no such process, also one that hidepid hides), unix.EACCES or unix.EPERM (the
// right of ptrace(2), PTRACE_MODE_READ_FSCREDS, is wanting), ErrNoProc.
func List(pid int) ([]Descriptor, error) {
	r, err := NewReader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.List(pid)
}

// List is the function List, with what the Reader knows already.
func (r *Reader) List(pid int) ([]Descriptor, error) { return walk(r, pid, nil, r.read) }

// Some is List for some of the numbers, in their order; those that aren't open are left out.
func (r *Reader) Some(pid int, numbers []int) ([]Descriptor, error) {
	return walk(r, pid, numbers, r.read)
}

// An Identity is what can't differ between two descriptors of one description, whenever they are looked at: what differs in
// it isn't shared.
type Identity struct {
	Number int
	Device Device
	Inode  uint64
	Name   string // of anonymous inodes, which are all one inode: "anon_inode:[eventfd]"; else empty
}

// Identity is that of a descriptor that has been listed. Everything else may have changed since, the name of a file too, and
// with it what the kind was guessed from.
func (d Descriptor) Identity() Identity {
	i := Identity{Number: d.Number, Device: d.Device, Inode: d.Inode}
	if strings.HasPrefix(d.Target, "anon_inode:") {
		i.Name, i.Inode = d.Target, 0
	}
	return i
}

// Identities is List for those who look for what is shared among many: it reads a third as much.
func (r *Reader) Identities(pid int) ([]Identity, error) { return walk(r, pid, nil, r.identify) }

// walk calls read for the numbers, or for all that are open where there are none, and leaves out those that have been closed
// in the meantime.
func walk[T any](r *Reader, pid int, numbers []int, read func(t *table, n int) (T, error)) (all []T, err error) {
	if pid != 0 && pid != r.self {
		return walkOnce(r, pid, numbers, read)
	}
	onThread(func() { all, err = walkOnce(r, pid, slices.Clone(numbers), read) })
	return all, err
}

func walkOnce[T any](r *Reader, pid int, numbers []int, read func(t *table, n int) (T, error)) ([]T, error) {
	t, err := r.openTable(pid)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if numbers == nil {
		if numbers, err = t.numbers(r.big()); err != nil {
			return nil, t.failed(err)
		}
	}
	if t.own {
		numbers = slices.DeleteFunc(numbers, func(n int) bool {
			return n == r.proc || n == t.process || n == t.links || n == t.infos
		})
	}
	all := make([]T, 0, len(numbers))
	for _, n := range numbers {
		one, err := read(t, n)
		switch {
		case err == nil:
			all = append(all, one)
		case err != unix.ENOENT: // closed in the meantime
			return nil, t.failed(err)
		}
	}
	if len(all) < len(numbers) && !t.alive(r.link[:]) {
		return nil, t.failed(unix.ESRCH)
	}
	return all, nil
}

// identify finds where a descriptor's file is, and no more.
func (r *Reader) identify(t *table, n int) (Identity, error) {
	var number [20]byte
	name := string(strconv.AppendInt(number[:0], int64(n), 10))
	size, err := unix.Readlinkat(t.links, name, r.link[:])
	if err != nil && err != unix.ENAMETOOLONG {
		return Identity{}, err
	}
	d := Descriptor{Number: n}
	if err == nil && r.link[0] != '/' { // a path's text isn't needed
		d.Target = string(r.link[:size])
	}
	kind, inode, known := kindOfTarget(d.Target)
	if known {
		d.Inode = inode
		d.Device, err = r.deviceOf(kind, t.links, name)
		return d.Identity(), err
	}
	st, err := r.stat(t.links, name)
	d.Device, d.Inode = Device(st.device), st.inode
	return d.Identity(), err
}

// A table is an open /proc/PID: pinned, so that its number can't come to mean another process.
type table struct {
	pid     int
	own     bool
	process int // O_PATH, the process's directory
	links   int // its fd
	infos   int // its fdinfo
	netns   *netns
}

func (r *Reader) openTable(pid int) (*table, error) {
	name := strconv.Itoa(pid)
	t := &table{pid: pid, own: pid == 0 || pid == r.self, process: -1, links: -1, infos: -1}
	if t.own {
		t.pid, name = r.self, "thread-self"
	}
	if pid < 0 {
		return nil, t.failed(unix.EINVAL)
	}
	var err error
	for _, directory := range []struct {
		fd    *int
		at    int
		name  string
		flags int
	}{{&t.process, r.proc, name, unix.O_PATH}, {&t.links, -1, "fd", 0}, {&t.infos, -1, "fdinfo", 0}} {
		at := directory.at
		if at < 0 {
			at = t.process
		}
		if *directory.fd, err = openProcDirectory(at, directory.name, directory.flags); err != nil {
			t.close()
			return nil, t.failed(err)
		}
	}
	return t, nil
}

func (t *table) close() {
	for _, fd := range []int{t.process, t.links, t.infos} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// failed names the process. A process that is gone shows as ENOENT or ESRCH, depending on how far the kernel got.
func (t *table) failed(err error) error {
	process := "process " + strconv.Itoa(t.pid)
	switch {
	case err == unix.ENOENT || err == unix.ESRCH:
		return failed(process, unix.ESRCH)
	case err == unix.EACCES || err == unix.EPERM:
		return failed(process+": its descriptors are not ours to see", err)
	}
	return failed(process, err)
}

// alive reports whether the process is still there.
func (t *table) alive(buf []byte) bool {
	_, err := readAt(t.process, "stat", buf[:0])
	return err == nil
}

// numbers reads which descriptors are open.
func (t *table) numbers(buf []byte) ([]int, error) {
	var numbers []int
	for {
		n, err := ignoreEINTR(func() (int, error) { return unix.Getdents(t.links, buf) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			slices.Sort(numbers)
			return numbers, nil
		}
		numbers = appendNumbers(numbers, buf[:n])
	}
}

// appendNumbers adds the names in a buffer of getdents64(2) that are numbers, which "." and ".." are not.
func appendNumbers(numbers []int, buf []byte) []int {
	for name := range entries(buf) {
		if n, err := strconv.ParseInt(string(name), 10, 32); err == nil && n >= 0 {
			numbers = append(numbers, int(n))
		}
	}
	return numbers
}

// read describes one descriptor. ENOENT means that it isn't open any more.
func (r *Reader) read(t *table, n int) (Descriptor, error) {
	name := strconv.Itoa(n)
	target, err := readlinkAt(t.links, name, r.link[:])
	if err != nil && err != unix.ENAMETOOLONG { // a path of more than a page has no text
		return Descriptor{}, err
	}
	data, err := r.readInfo(t.infos, name)
	if err != nil {
		return Descriptor{}, err
	}
	info, ok := parseFdinfo(data)
	if !ok {
		return Descriptor{}, failed("fdinfo/"+strconv.Itoa(n)+" can't be understood", unix.EPROTO)
	}
	d := Descriptor{
		Number: n, Target: target, Offset: info.offset, Locks: info.locks, Inode: info.inode,
		Flags: info.flags &^ unix.O_CLOEXEC, CloseOnExec: info.flags&unix.O_CLOEXEC != 0,
	}
	kind, inode, known := kindOfTarget(target)
	d.Kind, d.Inode = kind, cmp.Or(inode, info.inode)
	if !known {
		err = r.lookAt(&d, t, name)
	} else {
		d.Device, err = r.deviceOf(kind, t.links, name)
	}
	if err != nil {
		return Descriptor{}, err
	}
	d.Detail = detail(d.Kind, info.rest)
	switch {
	case d.Kind != KindSocket:
	case d.Flags&unix.O_PATH != 0: // nothing can be asked through it, or done
		d.Kind = KindSocketFile
	case t.own:
		d.Socket = ownSocket(n)
	default:
		d.Socket = r.foreignSocket(t, name, d.Inode)
	}
	return d, nil
}

// readInfo reads an fdinfo file as far as it matters: an epoll set with thousands of members has as many lines, which come
// last. Locks come before them, and may be many too.
func (r *Reader) readInfo(at int, name string) ([]byte, error) {
	fd, err := openAt(at, name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	n, err := ignoreEINTR(func() (int, error) { return unix.Read(fd, r.info[:]) })
	if err != nil {
		return nil, err
	}
	if info, _ := parseFdinfo(r.info[:n]); n < len(r.info) || len(info.rest) > 0 && !mayBeLock(info.rest) {
		return r.info[:n], nil
	}
	return readRest(fd, slices.Clone(r.info[:n]))
}

// mayBeLock reports whether the text is the beginning of a lock's line.
func mayBeLock(rest []byte) bool {
	const key = "lock:"
	n := min(len(rest), len(key))
	return string(rest[:n]) == key[:n]
}

// lookAt finds the kind of what is reached by a path, or looks like it.
func (r *Reader) lookAt(d *Descriptor, t *table, name string) error {
	st, err := r.stat(t.links, name)
	if err != nil {
		return err
	}
	d.Device, d.Inode = Device(st.device), st.inode
	d.Kind = kindOfMode(st.mode)
	defer func() { d.Deleted = st.links == 0 && d.Kind.isNamed() }()
	switch d.Kind {
	case KindCharDevice:
		d.Kind = r.kindOfDevice(st.rdev)
	case KindFile, KindAnon:
		if t.own && d.Kind == KindFile && d.Flags&unix.O_PATH == 0 && isQueue(d.Number) {
			d.Kind = KindMessageQueue
		} else if unix.Major(st.device) == 0 && looksInternal(d.Target, st.size) {
			magic, err := r.magic(st.device, t.links, name)
			if err != nil {
				return err
			}
			d.Kind = kindOfInternal(d.Kind, d.Target, magic)
		}
	}
	return nil
}

// kindOfDevice looks further than the fixed numbers: which drivers have registered which.
func (r *Reader) kindOfDevice(rdev uint64) Kind {
	major, minor := unix.Major(rdev), unix.Minor(rdev)
	if kind := kindOfDevice(major, minor); kind != KindCharDevice {
		return kind
	}
	const misc = 10
	names, number := "devices", major
	if major == misc {
		names, number = "misc", minor
	}
	if data, err := readAt(r.proc, names, r.big()[:0]); err == nil && isBinder(parseDeviceNames(data, number)) {
		return KindBinder
	}
	if data, err := readAt(r.proc, "tty/drivers", r.big()[:0]); err == nil {
		return parseTTYDrivers(data, major, minor)
	}
	return KindCharDevice
}

// deviceOf returns the device of pipes, of sockets, of anonymous inodes: the first of a kind is looked at, the rest live
// there too.
func (r *Reader) deviceOf(kind Kind, at int, name string) (Device, error) {
	if device, ok := r.devices[kind]; ok {
		return device, nil
	}
	st, err := r.stat(at, name)
	if err == nil {
		r.devices[kind] = Device(st.device)
	}
	return Device(st.device), err
}

// magic returns the type of the file system on a device.
func (r *Reader) magic(device uint64, at int, name string) (int64, error) {
	if magic, ok := r.magics[device]; ok {
		return magic, nil
	}
	var fs unix.Statfs_t
	err := unix.Statfs("/proc/self/fd/"+strconv.Itoa(at)+"/"+name, &fs)
	if err == nil {
		r.magics[device] = int64(fs.Type)
	}
	return int64(fs.Type), err
}

// status is what we want of stat(2).
type status struct {
	mode                uint32
	device, rdev, inode uint64
	size                int64
	links               uint64
}

// stat looks at what a link of /proc refers to. It takes what the machine knows already: a file server that doesn't answer
// must not hold up a listing.
func (r *Reader) stat(at int, name string) (status, error) {
	var x unix.Statx_t
	if !r.noStatx {
		err := unix.Statx(at, name, unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS, &x)
		if err == nil {
			return status{
				mode: uint32(x.Mode), inode: x.Ino, size: int64(x.Size), links: uint64(x.Nlink),
				device: unix.Mkdev(x.Dev_major, x.Dev_minor), rdev: unix.Mkdev(x.Rdev_major, x.Rdev_minor),
			}, nil
		}
		if err != unix.ENOSYS && err != unix.EPERM { // before 4.11, or in an old container's sandbox
			return status{}, err
		}
		r.noStatx = true
	}
	var st unix.Stat_t
	err := unix.Fstatat(at, name, &st, 0)
	return statusOf(&st), err
}

func statusOf(st *unix.Stat_t) status {
	return status{
		mode: st.Mode, inode: st.Ino, size: st.Size, links: uint64(st.Nlink), device: uint64(st.Dev), rdev: uint64(st.Rdev),
	}
}
