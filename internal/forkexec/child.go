package forkexec

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
)

// What follows runs between fork and exec, in the parent's memory, while the parent's goroutine (but no other) waits. It is
// not Go as one knows it. The rules, and what each protects from:
//
//   - Every function is nosplit: the runtime believes that this stack is the waiting goroutine's, so growing it, or only
//     asking whether it must grow, would move or damage that one.
//   - Nothing allocates and no pointer is stored: the collector may be running on another thread, and knows nothing of
//     this task; a write barrier would go to the waiting goroutine's processor.
//   - No lock, channel, defer, panic or call into another package but syscall's raw calls, which are nosplit themselves: a lock
//     may be held by a thread that doesn't exist here, and the scheduler would act for the wrong thread.
//   - norace and nocheckptr: what those modes add to a function are calls into their runtime, which is not to be had here.
//   - All signals are blocked until the handlers are the default ones: a Go handler would run for the wrong thread. For
//     Exec the handlers are the process's own, and the mask is restored as the last act before the filters.
//   - The table is shared with the parent until ownTable has succeeded: until then nothing may be opened, closed or
//     duplicated, because that would happen to the parent. (With Leave that is what the parent asked for.)
//   - Everything is prepared: paths end in NUL, numbers are chosen, programs are assembled. What remains are loops.

// A child is what the new task works from: the parent fills it in, and keeps it alive until the task has gone.
type child struct {
	// What the task reports, by memory that both see: no pipe is needed.
	failed bool
	stage  Stage
	number int32
	errno  uintptr

	thread bool // a thread of this process (Exec), not a process (Start)
	args   cloneArgs
	pidfd  int32

	// The filter that asks, whose listener appears in the caller's table, because that is still ours.
	asks     bool
	asking   filter
	listener int32

	// The table.
	byRange   bool // close_range is to be had: the table is shared until its CLOSE_RANGE_UNSHARE
	sameTable bool // and afterwards too (Exec)
	close     []fdtable.Span
	steps     []fdtable.Step
	ctty      int32
	ctyOpen   bool // ctty is only open for StageForeground, and closed after it

	// Session, mappings, credentials.
	mapping   bool
	goAhead   uint32 // futex: 0 wait, 1 go on, 2 give up with mapErrno
	mapErrno  uintptr
	tid       uint32 // cleared by the kernel when the task has left this memory
	setsid    bool
	setpgid   bool
	pgid      int32
	fore      bool
	clearSigs bool // the kernel hasn't reset the handlers: clone3 is wanting
	unshare   uintptr
	idFiles   []idFile
	chroot    *byte
	cred      bool
	setgroups bool
	groups    []uint32
	gid, uid  uint32
	keepCaps  bool
	ambient   []uintptr
	dir       *byte
	deathSig  uintptr
	parent    int32 // who must still be the parent once deathSig is set, or 0
	detach    bool
	setctty   bool
	cttyIndex int32

	// Last acts.
	limit      bool
	raised     [2]uint64 // RLIMIT_NOFILE as the runtime made it
	original   [2]uint64 // and as it was
	ptrace     bool
	mask       uint64
	ignored    uint64
	noNewPrivs bool
	landlock   []int32
	filters    []filter
	path       *byte
	argv       **byte
	envp       **byte
	pidText    []byte // a variable of envp, with room for the task's PID from pidAt on
	pidAt      int

	// Memory to work in, where a local variable would make the frames too large.
	caps     capabilities
	text     [1024]byte
	statfs   unix.Statfs_t
	action   [4]uint64
	scratch  [2]uint64
	null     [10]byte
	status   [26]byte
	none     [5]byte
	rootPath [2]byte
	stack    [stackSize]byte
}

// An idFile is a file of /proc/self that the task fills in by itself, after it has unshared its user namespace.
type idFile struct {
	path, text *byte
	length     uintptr
}

// A filter is struct sock_fprog with the flags for seccomp(2).
type filter struct {
	prog  unix.SockFprog
	flags uintptr
}

type capabilities struct {
	header unix.CapUserHeader
	data   [2]unix.CapUserData
}

// childMain is where the new task begins. It doesn't return: clone has nowhere to go.
//
//go:nosplit
//go:norace
//go:nocheckptr
func childMain(c *child) {
	if c.enter() && c.arrange() && c.become() {
		c.exec()
	}
	for {
		syscall.RawSyscall(syscall.SYS_EXIT, 253, 0, 0) // this thread alone, for Exec
	}
}

// call makes one system call, and takes down what failed.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) call(stage Stage, number int32, trap, a1, a2, a3, a4, a5 uintptr) (result uintptr, ok bool) {
	result, _, errno := syscall.RawSyscall6(trap, a1, a2, a3, a4, a5, 0)
	if errno != 0 {
		c.fail(stage, number, errno)
		return 0, false
	}
	return result, true
}

//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) fail(stage Stage, number int32, errno syscall.Errno) {
	c.failed, c.stage, c.number, c.errno = true, stage, number, uintptr(errno)
}

// enter gives the task its own table with nothing but the sources, and its place among the processes.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) enter() bool {
	if c.asks && !c.listen() || !c.ownTable() || !c.awaitMapping() {
		return false
	}
	if c.keepCaps {
		if _, ok := c.call(StageAmbient, -1, syscall.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); !ok {
			return false
		}
	}
	if c.setsid {
		if _, ok := c.call(StageSession, -1, syscall.SYS_SETSID, 0, 0, 0, 0, 0); !ok {
			return false
		}
	}
	if c.setpgid {
		if _, ok := c.call(StageGroup, -1, syscall.SYS_SETPGID, 0, uintptr(c.pgid), 0, 0, 0); !ok {
			return false
		}
	}
	if c.fore && !c.foreground() {
		return false
	}
	if c.clearSigs {
		c.defaultHandlers()
	}
	return true
}

// listen comes while the table is the caller's too: the kernel opens the listener in it. Nothing that follows here is among
// what the filter asks about: nobody could answer.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) listen() bool {
	if _, ok := c.call(StageNoNewPrivs, -1, syscall.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); !ok {
		return false
	}
	fd, ok := c.call(StageListener, -1, unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, c.asking.flags,
		uintptr(unsafe.Pointer(&c.asking.prog)), 0, 0)
	if !ok {
		return false
	}
	c.listener = int32(fd)
	if !c.byRange {
		_, ok = c.call(StageOwnTable, -1, syscall.SYS_UNSHARE, syscall.CLONE_FILES, 0, 0, 0, 0)
	}
	return ok
}

// ownTable makes the table this task's own, and leaves only the sources in it. The first call does the work: the kernel
// copies nothing above its range. Where close_range is refused the table is a copy from the start, and /proc says how large.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) ownTable() bool {
	if !c.byRange {
		return c.closeByProc()
	}
	flags, stage := uintptr(unix.CLOSE_RANGE_UNSHARE), StageOwnTable
	if c.sameTable {
		flags, stage = 0, StageClose
	}
	for i := len(c.close) - 1; i >= 0; i-- { // the topmost first: it is what needn't be copied
		span := &c.close[i]
		if _, ok := c.call(stage, -1, unix.SYS_CLOSE_RANGE, uintptr(span.First), uintptr(span.Last), flags, 0, 0); !ok {
			return false
		}
		flags, stage = 0, StageClose
	}
	return true
}

// closeByProc closes all but the sources up to the table's size, which the kernel tells in the task's status. The table is
// this task's own, so nobody can open a descriptor behind the loop; RLIMIT_NOFILE has no part in it, because a limit can be
// lowered under what is open.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) closeByProc() bool {
	fd, ok := c.call(StageClose, -1, syscall.SYS_OPENAT, atCwd, uintptr(unsafe.Pointer(&c.status[0])),
		syscall.O_RDONLY|syscall.O_CLOEXEC, 0, 0)
	if !ok {
		return false
	}
	if _, ok := c.call(StageClose, -1, syscall.SYS_FSTATFS, fd, uintptr(unsafe.Pointer(&c.statfs)), 0, 0, 0); !ok {
		return false
	}
	if c.statfs.Type != unix.PROC_SUPER_MAGIC {
		c.fail(StageClose, -1, syscall.ENOSYS)
		return false
	}
	n, ok := c.call(StageClose, -1, syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&c.text[0])), uintptr(len(c.text)), 0, 0)
	if !ok {
		return false
	}
	size := tableSize(&c.text, n)
	if size == 0 {
		c.fail(StageClose, -1, syscall.ENOSYS)
		return false
	}
	for i := range c.close {
		span := &c.close[i]
		for fd := uintptr(span.First); fd <= uintptr(span.Last) && fd < size; fd++ {
			syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0) // EBADF for what isn't open
		}
	}
	return true
}

// tableSize finds the number behind "FDSize:" in the first n bytes of a status file, or 0. It is among the first lines.
//
//go:nosplit
//go:norace
//go:nocheckptr
func tableSize(text *[1024]byte, n uintptr) uintptr {
	const key = "\nFDSize:"
	matched, size := 0, uintptr(0)
	for i := range text {
		if uintptr(i) >= n {
			return 0
		}
		b := text[i]
		switch {
		case matched == len(key) && b >= '0' && b <= '9':
			size = size*10 + uintptr(b-'0')
		case matched == len(key) && b == '\n':
			return size
		case matched == len(key): // white space before the number
		case b == key[matched]:
			matched++
		case b == key[0]:
			matched = 1
		default:
			matched = 0
		}
	}
	return 0
}

// awaitMapping waits until the parent has written the mappings of the new user namespace. Should the parent die meanwhile,
// the task dies with it: it would wait for ever.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) awaitMapping() bool {
	if !c.mapping {
		return true
	}
	if _, ok := c.call(StageMapping, -1, syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); !ok {
		return false
	}
	for c.goAhead == 0 {
		syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&c.goAhead)), futexWaitPrivate, 0, 0, 0, 0)
	}
	if c.goAhead != 1 {
		c.fail(StageMapping, -1, syscall.Errno(c.mapErrno))
		return false
	}
	_, ok := c.call(StageMapping, -1, syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, 0, 0, 0, 0)
	return ok
}

// foreground comes before the handlers are reset: the kernel would send SIGTTOU to a task that doesn't block it.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) foreground() bool {
	if c.pgid == 0 {
		pid, _, _ := syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0)
		c.pgid = int32(pid)
	}
	_, ok := c.call(StageForeground, c.ctty, syscall.SYS_IOCTL, uintptr(c.ctty), syscall.TIOCSPGRP,
		uintptr(unsafe.Pointer(&c.pgid)), 0, 0)
	if ok && c.ctyOpen {
		_, ok = c.call(StageForeground, c.ctty, syscall.SYS_CLOSE, uintptr(c.ctty), 0, 0, 0, 0)
	}
	return ok
}

// defaultHandlers does what clone3's CLONE_CLEAR_SIGHAND does: what is ignored stays so, the rest gets its default. The two
// signals that no handler can be set for, and numbers beyond the kernel's, answer EINVAL.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) defaultHandlers() {
	at := uintptr(unsafe.Pointer(&c.action[0]))
	for sig := uintptr(1); sig <= 64; sig++ {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, sig, 0, at, 8, 0, 0)
		if errno != 0 || c.action[0] <= 1 {
			continue // SIG_DFL or SIG_IGN
		}
		c.action[0], c.action[1], c.action[2], c.action[3] = 0, 0, 0, 0
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, sig, at, 0, 8, 0, 0)
	}
}

// arrange brings the sources to their numbers, step by step as fdtable.Arrange planned it.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) arrange() bool {
	for i := range c.steps {
		step := &c.steps[i]
		from, to := uintptr(step.From), uintptr(step.To)
		ok := true
		switch step.Op {
		case fdtable.Dup:
			_, ok = c.call(StagePlace, step.To, syscall.SYS_DUP3, from, to, 0, 0, 0)
		case fdtable.Stash:
			_, ok = c.call(StagePlace, step.From, syscall.SYS_DUP3, from, to, syscall.O_CLOEXEC, 0, 0)
		case fdtable.Clear:
			_, ok = c.call(StagePlace, step.To, syscall.SYS_FCNTL, to, syscall.F_SETFD, 0, 0, 0)
		case fdtable.Close:
			_, ok = c.call(StageClose, step.From, syscall.SYS_CLOSE, from, 0, 0, 0, 0)
		case fdtable.Open:
			ok = c.openNull(step.To)
		}
		if !ok {
			return false
		}
	}
	return true
}

// openNull opens /dev/null for reading as descriptor 0, and for writing as any other.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) openNull(to int32) bool {
	flags := uintptr(syscall.O_WRONLY | syscall.O_CLOEXEC)
	if to == 0 {
		flags = syscall.O_RDONLY | syscall.O_CLOEXEC
	}
	fd, ok := c.call(StageNull, to, syscall.SYS_OPENAT, atCwd, uintptr(unsafe.Pointer(&c.null[0])), flags, 0, 0)
	if !ok {
		return false
	}
	if fd == uintptr(to) {
		_, ok = c.call(StageNull, to, syscall.SYS_FCNTL, fd, syscall.F_SETFD, 0, 0, 0)
		return ok
	}
	if _, ok = c.call(StageNull, to, syscall.SYS_DUP3, fd, uintptr(to), 0, 0, 0); !ok {
		return false
	}
	_, ok = c.call(StageNull, to, syscall.SYS_CLOSE, fd, 0, 0, 0, 0)
	return ok
}

// become changes namespaces, root, credentials, directory and terminal, in the order in which the later ones still may.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) become() bool {
	if c.unshare != 0 && !c.unshareNamespaces() {
		return false
	}
	if c.chroot != nil {
		if _, ok := c.call(StageChroot, -1, syscall.SYS_CHROOT, uintptr(unsafe.Pointer(c.chroot)), 0, 0, 0, 0); !ok {
			return false
		}
	}
	if c.cred && !c.credentials() {
		return false
	}
	if len(c.ambient) > 0 && !c.raiseAmbient() {
		return false
	}
	if c.dir != nil {
		if _, ok := c.call(StageDir, -1, syscall.SYS_CHDIR, uintptr(unsafe.Pointer(c.dir)), 0, 0, 0, 0); !ok {
			return false
		}
	}
	if c.deathSig != 0 && !c.askForDeathSignal() { // after the credentials, whose change takes it back
		return false
	}
	if c.detach {
		if _, ok := c.call(StageDetachTTY, -1, syscall.SYS_IOCTL, 0, syscall.TIOCNOTTY, 0, 0, 0); !ok {
			return false
		}
	}
	if c.setctty {
		_, ok := c.call(StageTTY, c.cttyIndex, syscall.SYS_IOCTL, uintptr(c.cttyIndex), syscall.TIOCSCTTY, 1, 0, 0)
		return ok
	}
	return true
}

//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) unshareNamespaces() bool {
	if _, ok := c.call(StageUnshare, -1, syscall.SYS_UNSHARE, c.unshare, 0, 0, 0, 0); !ok {
		return false
	}
	for i := range c.idFiles {
		file := &c.idFiles[i]
		fd, ok := c.call(StageMapping, -1, syscall.SYS_OPENAT, atCwd, uintptr(unsafe.Pointer(file.path)),
			syscall.O_WRONLY|syscall.O_CLOEXEC, 0, 0)
		if !ok {
			return false
		}
		if _, ok = c.call(StageMapping, -1, syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(file.text)), file.length, 0, 0); !ok {
			return false
		}
		if _, ok = c.call(StageMapping, -1, syscall.SYS_CLOSE, fd, 0, 0, 0, 0); !ok {
			return false
		}
	}
	if c.unshare&syscall.CLONE_NEWNS != 0 {
		// What is mounted shared, as systemd mounts /, would still send its mounts to the old namespace.
		_, ok := c.call(StagePrivate, -1, syscall.SYS_MOUNT, uintptr(unsafe.Pointer(&c.none[0])),
			uintptr(unsafe.Pointer(&c.rootPath[0])), 0, syscall.MS_REC|syscall.MS_PRIVATE, 0)
		return ok
	}
	return true
}

//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) credentials() bool {
	if c.setgroups {
		var first uintptr
		for i := range c.groups {
			first = uintptr(unsafe.Pointer(&c.groups[i]))
			break
		}
		if _, ok := c.call(StageGroups, -1, syscall.SYS_SETGROUPS, uintptr(len(c.groups)), first, 0, 0, 0); !ok {
			return false
		}
	}
	// The raw calls change this task alone, which is what is wanted.
	if _, ok := c.call(StageGid, int32(c.gid), syscall.SYS_SETGID, uintptr(c.gid), 0, 0, 0, 0); !ok {
		return false
	}
	_, ok := c.call(StageUid, int32(c.uid), syscall.SYS_SETUID, uintptr(c.uid), 0, 0, 0, 0)
	return ok
}

// raiseAmbient: a capability can only be ambient when it is permitted and inheritable.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) raiseAmbient() bool {
	header, data := uintptr(unsafe.Pointer(&c.caps.header)), uintptr(unsafe.Pointer(&c.caps.data[0]))
	if _, ok := c.call(StageAmbient, -1, syscall.SYS_CAPGET, header, data, 0, 0, 0); !ok {
		return false
	}
	for _, n := range c.ambient {
		word, bit := (n>>5)&1, uint32(1)<<(n&31)
		c.caps.data[word].Permitted |= bit
		c.caps.data[word].Inheritable |= bit
	}
	if _, ok := c.call(StageAmbient, -1, syscall.SYS_CAPSET, header, data, 0, 0, 0); !ok {
		return false
	}
	for _, n := range c.ambient {
		if _, ok := c.call(StageAmbient, int32(n), syscall.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, n, 0, 0); !ok {
			return false
		}
	}
	return true
}

// askForDeathSignal also looks whether the parent died before: then nobody would send the signal.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) askForDeathSignal() bool {
	if _, ok := c.call(StageDeathSig, -1, syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, c.deathSig, 0, 0, 0); !ok {
		return false
	}
	parent, _, _ := syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0)
	if c.parent == 0 || int32(parent) == c.parent {
		return true
	}
	pid, _, _ := syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0)
	_, ok := c.call(StageDeathSig, -1, syscall.SYS_KILL, pid, c.deathSig, 0, 0, 0)
	return ok
}

// exec does what must come last: the limit, because placing descriptors may have needed the higher one; tracing, because the
// tracer wants to see the program and not this; the filters, because they might refuse anything of the above.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) exec() bool {
	if c.limit && !c.restoreLimit() {
		return false
	}
	if c.ptrace {
		if _, ok := c.call(StageTrace, -1, syscall.SYS_PTRACE, syscall.PTRACE_TRACEME, 0, 0, 0, 0); !ok {
			return false
		}
	}
	if c.ignored != 0 && !c.ignoreSignals() {
		return false
	}
	if _, ok := c.call(StageSignals, -1, syscall.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&c.mask)), 0, 8, 0); !ok {
		return false
	}
	if c.noNewPrivs {
		if _, ok := c.call(StageNoNewPrivs, -1, syscall.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); !ok {
			return false
		}
	}
	for _, fd := range c.landlock {
		if _, ok := c.call(StageLandlock, -1, unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(fd), 0, 0, 0, 0); !ok {
			return false
		}
		if _, ok := c.call(StageLandlock, -1, syscall.SYS_CLOSE, uintptr(fd), 0, 0, 0, 0); !ok {
			return false
		}
	}
	for i := range c.filters {
		f := &c.filters[i]
		if _, ok := c.call(StageFilter, -1, unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, f.flags,
			uintptr(unsafe.Pointer(&f.prog)), 0, 0); !ok {
			return false
		}
	}
	if c.pidAt > 0 {
		c.writePID()
	}
	_, ok := c.call(StageExec, -1, syscall.SYS_EXECVE, uintptr(unsafe.Pointer(c.path)), uintptr(unsafe.Pointer(c.argv)),
		uintptr(unsafe.Pointer(c.envp)), 0, 0)
	return ok
}

// writePID writes the task's number in decimal. The bytes behind it are zero already.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) writePID() {
	pid, _, _ := syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0)
	unit := uintptr(1)
	for pid/unit >= 10 {
		unit *= 10
	}
	for i := range c.pidText {
		if i >= c.pidAt && unit > 0 {
			c.pidText[i] = byte('0' + pid/unit%10)
			unit /= 10
		}
	}
}

// ignoreSignals puts back what the runtime's handlers have replaced. SIGKILL and SIGSTOP can't be among them.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) ignoreSignals() bool {
	const ignore = 1 // SIG_IGN
	c.action[0], c.action[1], c.action[2], c.action[3] = ignore, 0, 0, 0
	for sig := uintptr(1); sig <= 64; sig++ {
		if c.ignored&(1<<(sig-1)) == 0 {
			continue
		}
		if _, ok := c.call(StageSignals, int32(sig), syscall.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&c.action[0])), 0, 8, 0); !ok {
			return false
		}
	}
	return true
}

// restoreLimit undoes what package syscall did to RLIMIT_NOFILE, unless somebody has set another limit since.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) restoreLimit() bool {
	now := uintptr(unsafe.Pointer(&c.scratch[0]))
	if _, ok := c.call(StageLimit, -1, syscall.SYS_PRLIMIT64, 0, syscall.RLIMIT_NOFILE, 0, now, 0); !ok {
		return false
	}
	if c.scratch != c.raised {
		return true
	}
	_, ok := c.call(StageLimit, -1, syscall.SYS_PRLIMIT64, 0, syscall.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&c.original[0])), 0, 0)
	return ok
}
