package notify

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A caller is the thread that waits for an answer. What is found out about it holds as long as it waits: only then is the
// number of the thread still its own. So waits is asked after every look, before what was seen counts: by holding up a copy of
// its memory a caller could otherwise wait until somebody with more rights has its number.
type caller struct {
	tid   int
	moves moves
	waits func() bool
}

// ownProc reports whether /proc is of this process's PID namespace: with another one's, the number of a thread is somebody
// else's there.
var ownProc = sync.OnceValue(func() bool {
	text, err := os.ReadFile("/proc/self/status")
	fields := statusFields(string(text))
	numbers, nested := fields["NSpid"]
	if !nested { // a kernel without PID namespaces
		numbers = fields["Pid"]
	}
	return err == nil && numbers == strconv.Itoa(os.Getpid())
})

// file is the path of one of the thread's files in /proc, or of none.
func (c caller) file(name string) string {
	if !ownProc() {
		return ""
	}
	return fmt.Sprintf("/proc/%d/%s", c.tid, name)
}

// moves are the copies from and to callers' memory that are under way. One that a caller holds up can't be called back: so there is a
// bound, that leaves workers for those who need no memory. A thread has one at most, while it is its question's turn.
type moves chan struct{}

// maxMoves is half of maxWorkers.
const maxMoves = maxWorkers / 2

// begin makes room for a copy; false refuses it.
func (m moves) begin() bool {
	select {
	case m <- struct{}{}:
		return true
	case <-time.After(100 * time.Millisecond):
		return false
	}
}

func (m moves) end() { <-m }

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
	if same, _ := kcmp(tgid, c.tid, kcmpFiles, 0, 0); !same {
		unix.Close(pidfd)
		return -1, unix.EPERM
	}
	return pidfd, nil
}

// status is /proc/TID/status.
func (c caller) status() (map[string]string, error) {
	text, err := os.ReadFile(c.file("status"))
	if err == nil && !c.waits() {
		err = unix.ESRCH
	}
	if err != nil {
		return nil, err
	}
	return statusFields(string(text)), nil
}

func statusFields(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields
}

// program is the name that the thread goes by.
func (c caller) program() string {
	name, err := os.ReadFile(c.file("comm"))
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

// kill ends the caller's process.
func (c caller) kill() {
	pid, err := c.process()
	if err != nil {
		return
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(pidfd)
	if c.waits() { // so the number was its
		unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	}
}

// read copies the caller's memory. That may take as long as the caller likes: a page of it may be of a file system or a
// userfaultfd that the caller serves.
func (c caller) read(from uint64, to []byte) unix.Errno {
	return c.move(func() (int, error) {
		local := []unix.Iovec{{Base: &to[0], Len: uint64(len(to))}}
		n, err := unix.ProcessVMReadv(c.tid, local, []unix.RemoteIovec{{Base: uintptr(from), Len: len(to)}}, 0)
		if err == nil && !c.waits() {
			err = unix.EPERM // it may have been another's
		}
		return n, err
	}, len(to))
}

// write copies to the caller's memory. Once the file is open it belongs to that memory, whoever gets the thread's number.
func (c caller) write(to uint64, from []byte) unix.Errno {
	return c.move(func() (int, error) {
		memory, err := unix.Open(c.file("mem"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return 0, err
		}
		defer unix.Close(memory)
		if !c.waits() {
			return 0, unix.EPERM
		}
		n, err := unix.Pwrite(memory, from, int64(to))
		if err == unix.EIO || err == unix.EINVAL { // no such address
			err = unix.EFAULT
		}
		return n, err
	}, len(from))
}

func (c caller) move(do func() (int, error), length int) unix.Errno {
	if length == 0 {
		return 0
	}
	if !c.moves.begin() {
		return unix.EPERM
	}
	defer c.moves.end()
	n, err := do()
	switch {
	case err != nil && err != unix.EFAULT:
		return unix.EPERM
	case err != nil || n != length:
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
	namespace, err := unix.Open(c.file("ns/pid"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, unix.EPERM
	}
	defer unix.Close(namespace)
	if !c.waits() {
		return 0, unix.EPERM
	}
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
	theirs, err := os.Readlink(c.file("ns/" + kind))
	if err != nil || !c.waits() {
		return false
	}
	ours, err := os.Readlink("/proc/thread-self/ns/" + kind)
	return err == nil && ours == theirs
}

// credentials are what the kernel would have gone by, had the caller done it itself.
type credentials struct {
	users        [4]int // real, effective, saved, for files
	capabilities uint64 // those that count here: none of another user namespace
}

func (c caller) credentials() (found credentials, err error) {
	status, err := c.status()
	if err != nil {
		return found, err
	}
	words := strings.Fields(status["Uid"])
	if len(words) != len(found.users) {
		return found, unix.EINVAL
	}
	for i, word := range words {
		if found.users[i], err = strconv.Atoi(word); err != nil {
			return found, err
		}
	}
	if found.capabilities, err = strconv.ParseUint(status["CapEff"], 16, 64); err != nil {
		return found, err
	}
	if !c.sharesNamespace("user") {
		found.capabilities = 0
	}
	return found, nil
}

// as does something with the caller's effective user and no more capabilities than it has. It is refused where this process
// can't become like the caller.
func (c caller) as(do func() unix.Errno) unix.Errno {
	want, err := c.credentials()
	if err != nil || want.users[3] != want.users[1] {
		return unix.EPERM
	}
	change, err := want.change()
	switch {
	case err != nil:
		return unix.EPERM
	case change == nil:
		return do()
	}
	done := make(chan unix.Errno, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if change.make() != nil {
			done <- unix.EPERM
			return
		}
		done <- do()
	}()
	return <-done
}

// A change is what makes a thread like the caller.
type change struct {
	user, effective int // or -1
	capabilities    [2]unix.CapUserData
}

// change returns nil when there is nothing to change.
//
// The real user becomes one that the caller isn't: whoever is a thread's real or saved user may send it signals, also SIGKILL,
// which ends all threads (kill(2)). What this process sets an owner with is then good for signals to the effective user's processes.
func (want *credentials) change() (*change, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var now [2]unix.CapUserData
	if err := unix.Capget(&header, &now[0]); err != nil {
		return nil, err
	}
	to := &change{user: -1, effective: -1, capabilities: now}
	to.capabilities[0].Effective &= uint32(want.capabilities)
	to.capabilities[1].Effective &= uint32(want.capabilities >> 32)
	if want.users[0] == unix.Getuid() && want.users[1] == unix.Geteuid() {
		if to.capabilities == now {
			return nil, nil
		}
		return to, nil
	}
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return nil, err
	}
	to.user, to.effective = highestUser(string(text)), want.users[1]
	if slices.Contains(want.users[:], to.user) {
		return nil, unix.EPERM
	}
	return to, nil
}

// highestUser is the last user that a mapping has. Hardly anybody is that.
func highestUser(mapping string) int {
	highest := 0
	for line := range strings.Lines(mapping) {
		var first, outside, count int
		if n, _ := fmt.Sscan(line, &first, &outside, &count); n == 3 {
			highest = max(highest, first+count-1)
		}
	}
	return highest
}

// changing is held while the process may have become undumpable, for which any change of a thread's credentials is enough.
var changing sync.Mutex

// make changes the calling thread alone, which package unix's Setresuid doesn't. Its saved user stays.
func (to *change) make() error {
	changing.Lock()
	defer changing.Unlock()
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err == nil && dumpable == 1 {
		defer unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	}
	if to.effective >= 0 {
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(to.user), uintptr(to.effective), ^uintptr(0))
		if errno != 0 {
			return errno
		}
	}
	// Changing the user has changed the capabilities too: never up to more than this.
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	return unix.Capset(&header, &to.capabilities[0])
}
