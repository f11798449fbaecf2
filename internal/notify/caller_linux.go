package notify

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A caller is the thread that waits for an answer. What is found out about it holds as long as it waits: only then is the
// number of the thread still its own.
type caller struct {
	tid   int
	moves *moves
}

// moves are the copies from and to callers' memory that are under way. One that a caller holds up can't be called back, not even when
// the caller has been interrupted and asks again: so there is one for each thread, and a bound for all, that leaves workers
// for those who need no memory.
type moves struct {
	room chan struct{}
	mu   sync.Mutex
	of   map[int]bool // by thread
}

// maxMoves is half of maxWorkers.
const maxMoves = maxWorkers / 2

func newMoves() *moves { return &moves{room: make(chan struct{}, maxMoves), of: map[int]bool{}} }

// begin makes room for a copy; false refuses it.
func (m *moves) begin(tid int) bool {
	m.mu.Lock()
	busy := m.of[tid]
	m.of[tid] = true
	m.mu.Unlock()
	if busy {
		return false
	}
	select {
	case m.room <- struct{}{}:
		return true
	case <-time.After(100 * time.Millisecond):
		m.free(tid)
		return false
	}
}

func (m *moves) end(tid int) {
	<-m.room
	m.free(tid)
}

func (m *moves) free(tid int) {
	m.mu.Lock()
	delete(m.of, tid)
	m.mu.Unlock()
}

// copyOf takes a descriptor out of the thread's own table, which needn't be its process's.
func (c caller) copyOf(fd int) (int, unix.Errno) {
	const threadItself = unix.O_EXCL // PIDFD_THREAD, Linux 6.9
	pidfd, err := unix.PidfdOpen(c.tid, threadItself)
	if err == unix.EINVAL {
		pidfd, err = c.leader()
	}
	if err != nil {
		return -1, unix.EPERM
	}
	defer unix.Close(pidfd)
	copied, err := unix.PidfdGetfd(pidfd, fd, 0)
	switch err {
	case nil:
		return copied, 0
	case unix.EBADF:
		return -1, unix.EBADF
	}
	return -1, unix.EPERM // not dumpable, no descriptors left: what can't be looked at is refused
}

// leader is for older kernels: the process's first thread, if that has the same table.
func (c caller) leader() (int, error) {
	const kcmpFiles = 2 // KCMP_FILES
	status, err := c.status()
	if err != nil {
		return -1, err
	}
	tgid, err := strconv.Atoi(status["Tgid"])
	if err != nil {
		return -1, err
	}
	pidfd, err := unix.PidfdOpen(tgid, 0)
	if err != nil || tgid == c.tid {
		return pidfd, err
	}
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(tgid), uintptr(c.tid), kcmpFiles, 0, 0, 0)
	if errno != 0 || order != 0 {
		unix.Close(pidfd)
		return -1, unix.EPERM
	}
	return pidfd, nil
}

// status is /proc/TID/status.
func (c caller) status() (map[string]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.tid))
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields, nil
}

// program is the name that the thread goes by.
func (c caller) program() string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", c.tid))
	if err != nil {
		return "?"
	}
	return strings.TrimSuffix(string(name), "\n")
}

// process is the thread's process.
func (c caller) process() (int, error) {
	status, err := c.status()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(status["Tgid"])
}

// read copies the caller's memory. That may take as long as the caller likes: a page of it may be of a file system or a
// userfaultfd that the caller serves.
func (c caller) read(from uint64, to []byte) unix.Errno {
	return c.move(unix.SYS_PROCESS_VM_READV, from, to)
}

func (c caller) write(to uint64, from []byte) unix.Errno {
	return c.move(unix.SYS_PROCESS_VM_WRITEV, to, from)
}

func (c caller) move(trap uintptr, there uint64, here []byte) unix.Errno {
	if len(here) == 0 {
		return 0
	}
	if !c.moves.begin(c.tid) {
		return unix.EPERM
	}
	defer c.moves.end(c.tid)
	local := unix.Iovec{Base: &here[0], Len: uint64(len(here))}
	remote := unix.RemoteIovec{Base: uintptr(there), Len: len(here)}
	n, _, errno := unix.Syscall6(trap, uintptr(c.tid), uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
	runtime.KeepAlive(here)
	switch {
	case errno != 0 && errno != unix.EFAULT:
		return unix.EPERM
	case errno != 0 || int(n) != len(here):
		return unix.EFAULT
	}
	return 0
}

// translate finds the process, thread or group (a negative number) that the caller means by a number of its own PID namespace.
func (c caller) translate(id int32) (int32, unix.Errno) {
	if id == 0 || c.sharesNamespace("pid") {
		return id, 0
	}
	group := id < 0
	if group {
		id = -id
	}
	namespace, err := unix.Open(fmt.Sprintf("/proc/%d/ns/pid", c.tid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, unix.EPERM
	}
	defer unix.Close(namespace)
	// Linux 6.11. Before, there is no telling.
	ours, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(namespace), unix.NS_GET_PID_FROM_PIDNS, uintptr(id))
	switch {
	case errno == unix.ESRCH:
		return 0, errno
	case errno != 0:
		return 0, unix.EPERM
	case group:
		return -int32(ours), 0
	}
	return int32(ours), 0
}

func (c caller) sharesNamespace(kind string) bool {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", c.tid, kind))
	if err != nil {
		return false
	}
	ours, err := os.Readlink("/proc/thread-self/ns/" + kind)
	return err == nil && ours == theirs
}

// credentials are what the kernel would have gone by, had the caller done it itself.
type credentials struct {
	user, effective int
	capabilities    uint64
	foreign         bool // what it may is of another user namespace, and counts for nothing here
	odd             bool // the user for files is another one
}

func (c caller) credentials() (credentials, error) {
	status, err := c.status()
	if err != nil {
		return credentials{}, err
	}
	var users [4]int // real, effective, saved, for files
	for i, word := range strings.Fields(status["Uid"]) {
		if i < len(users) {
			if users[i], err = strconv.Atoi(word); err != nil {
				return credentials{}, err
			}
		}
	}
	capabilities, err := strconv.ParseUint(status["CapEff"], 16, 64)
	if err != nil {
		return credentials{}, err
	}
	found := credentials{
		user: users[0], effective: users[1], capabilities: capabilities, foreign: !c.sharesNamespace("user"), odd: users[3] != users[1],
	}
	if found.foreign {
		found.capabilities = 0
	}
	return found, nil
}

// as does something with the caller's user and no more capabilities than it has. It is refused where this process can't become like
// the caller.
func (c caller) as(do func() unix.Errno) unix.Errno {
	want, err := c.credentials()
	if err != nil || want.odd {
		return unix.EPERM
	}
	runtime.LockOSThread()
	back, errno := want.wear()
	if errno == 0 {
		errno = do()
	}
	if !back() {
		// This thread isn't what it was. It ends with the goroutine, because it stays locked to it.
		runtime.Goexit()
	}
	runtime.UnlockOSThread()
	return errno
}

// wear changes the calling thread, and returns what undoes that.
func (want credentials) wear() (back func() bool, errno unix.Errno) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var now, lowered [2]unix.CapUserData
	if err := unix.Capget(&header, &now[0]); err != nil {
		return func() bool { return true }, unix.EPERM
	}
	user, effective := unix.Getuid(), unix.Geteuid()
	changeUser := want.user != user || want.effective != effective
	lowered = now
	lowered[0].Effective &= uint32(want.capabilities)
	lowered[1].Effective &= uint32(want.capabilities >> 32)
	if !changeUser && lowered == now {
		return func() bool { return true }, 0
	}
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	back = func() bool {
		ok := !changeUser || setUsers(user, effective) == 0
		ok = ok && unix.Capset(&header, &now[0]) == nil
		if dumpable == 1 {
			unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
		}
		return ok
	}
	if changeUser && setUsers(want.user, want.effective) != 0 {
		return back, unix.EPERM
	}
	// Changing the user has changed the capabilities too: never up to more than this.
	if unix.Capset(&header, &lowered[0]) != nil {
		return back, unix.EPERM
	}
	return back, 0
}

// setUsers changes the calling thread alone, which package unix's Setresuid doesn't. The saved user stays: it is the way back.
func setUsers(user, effective int) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(user), uintptr(effective), ^uintptr(0))
	return errno
}
