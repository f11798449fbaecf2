package forkexec

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/startlimit"
)

// A Filter is a seccomp program and the flags for seccomp(2).
type Filter struct {
	Program []unix.SockFilter
	Flags   uint32
}

// An Attr says what to start, and how.
type Attr struct {
	Path  string
	Argv  []string
	Env   []string
	Dir   string               // where it is to work; empty: where the caller works
	Moves []fdtable.Move       // what the table is to hold; no two to one number
	Sys   *syscall.SysProcAttr // for Start; Exec heeds Pdeathsig alone

	// Leave, when not nil, has Exec use the table of this process as it is, instead of one of the task's own: what is
	// neither a source nor in Leave is closed in it. POSIX locks, which belong to the table, survive then, and
	// /proc/self/fd is the program's table already while its path is looked up. No move may go to a number in Leave.
	Leave []int

	Parent     int // with Pdeathsig: who must still be the parent; 0 is the caller for Start, and nobody for Exec
	NoNewPrivs bool
	Landlock   []int // ruleset descriptors, whose domains are entered in this order
	Filters    []Filter
	Asking     *Filter // for Start: a filter that asks this process, by the listener in *Listener (seccomp_unotify(2))
	Listener   *int
	OwnPID     string  // a variable of Env whose value becomes the task's PID, as the task sees it; for Start
	Mask       *uint64 // the program's blocked signals, bit N-1 for signal N; nil: those of the calling thread
	Ignored    uint64  // signals to ignore besides those that are; with Exec they stay so when it fails
}

// plan does all that allocates or may be refused before the kernel has a say.
func plan(a *Attr, thread bool) (*child, error) {
	c := &child{
		thread:    thread,
		byRange:   supports().closeRange,
		sameTable: thread && a.Leave != nil,
		ctty:      -1,
		tid:       1,
		listener:  -1,
		null:      [10]byte([]byte("/dev/null\x00")),
		status:    [26]byte([]byte("/proc/thread-self/status\x00\x00")),
		none:      [5]byte([]byte("none\x00")),

		rootPath:   [2]byte([]byte("/\x00")),
		ignored:    a.Ignored,
		noNewPrivs: a.NoNewPrivs || len(a.Filters) > 0 || len(a.Landlock) > 0,
	}
	if err := c.planStrings(a); err != nil {
		return nil, err
	}
	sys := a.Sys
	if sys == nil {
		sys = &syscall.SysProcAttr{}
	}
	if err := c.planSys(a, sys); err != nil {
		return nil, err
	}
	c.planTable(a, sys)
	if err := c.planFilters(a); err != nil {
		return nil, err
	}
	if soft, hard, ok := startlimit.NoFile(); ok && hard > 0 && soft < hard-1 {
		c.limit, c.original, c.raised = true, [2]uint64{soft, hard}, [2]uint64{hard - 1, hard}
	}
	return c, nil
}

func (c *child) planFilters(a *Attr) error {
	if a.Asking != nil {
		f, ok := newFilter(a.Asking)
		if !ok {
			return &Error{StageListener, -1, syscall.EINVAL}
		}
		f.flags |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
		c.asks, c.asking, c.noNewPrivs = true, f, true
	}
	for i := range a.Filters {
		f, ok := newFilter(&a.Filters[i])
		if !ok {
			return &Error{StageFilter, -1, syscall.EINVAL}
		}
		c.filters = append(c.filters, f)
	}
	return nil
}

func newFilter(f *Filter) (filter, bool) {
	if len(f.Program) == 0 || len(f.Program) > unix.BPF_MAXINSNS {
		return filter{}, false
	}
	return filter{
		prog:  unix.SockFprog{Len: uint16(len(f.Program)), Filter: &f.Program[0]},
		flags: uintptr(f.Flags),
	}, true
}

func (c *child) planStrings(a *Attr) (err error) {
	if c.path, err = syscall.BytePtrFromString(a.Path); err != nil {
		return err
	}
	argv := a.Argv
	if len(argv) == 0 {
		argv = []string{""} // as package syscall: a program may rely on argv[0]
	}
	if c.argv, err = stringVector(argv); err != nil {
		return err
	}
	if c.envp, err = c.environment(a); err != nil {
		return err
	}
	if a.Dir != "" {
		c.dir, err = syscall.BytePtrFromString(a.Dir)
	}
	return err
}

// environment puts, in the place of the variable that is to hold the task's PID, memory for the task to write it to.
func (c *child) environment(a *Attr) (**byte, error) {
	pointers, err := syscall.SlicePtrFromStrings(a.Env)
	if err != nil || a.OwnPID == "" {
		return unsafe.SliceData(pointers), err
	}
	for i, v := range a.Env {
		if name := a.OwnPID + "="; strings.HasPrefix(v, name) {
			c.pidText = append([]byte(name), make([]byte, 11)...)
			c.pidAt, pointers[i] = len(name), &c.pidText[0]
			break
		}
	}
	return unsafe.SliceData(pointers), nil
}

func stringVector(list []string) (**byte, error) {
	pointers, err := syscall.SlicePtrFromStrings(list)
	if err != nil {
		return nil, err
	}
	return &pointers[0], nil
}

// planTable decides what the task keeps at first, and the steps from there. A Landlock ruleset rides along as one more
// descriptor, at a number that nothing else uses, until its domain is entered.
func (c *child) planTable(a *Attr, sys *syscall.SysProcAttr) {
	moves := c.rideAlong(a)
	sources := make([]int, 0, len(moves)+1+len(a.Leave))
	for _, m := range moves {
		if m.From != fdtable.Null {
			sources = append(sources, m.From)
		}
	}
	if sys.Foreground {
		c.ctyOpen = !slices.Contains(sources, sys.Ctty)
		sources = append(sources, sys.Ctty)
	}
	c.close = fdtable.Gaps(append(sources, a.Leave...))
	c.steps = fdtable.Arrange(moves, a.Leave...)
}

// rideAlong adds the Landlock rulesets to the moves.
func (c *child) rideAlong(a *Attr) []fdtable.Move {
	if len(a.Landlock) == 0 {
		return a.Moves
	}
	moves := slices.Clone(a.Moves)
	taken := map[int]bool{}
	for _, m := range moves {
		taken[m.From], taken[m.To] = true, true
	}
	for _, n := range append(slices.Clone(a.Leave), a.Landlock...) {
		taken[n] = true
	}
	for _, fd := range a.Landlock {
		n := 0
		for taken[n] {
			n++
		}
		taken[n] = true
		moves = append(moves, fdtable.Move{From: fd, To: n})
		c.landlock = append(c.landlock, int32(n))
	}
	return moves
}

func (c *child) planSys(a *Attr, sys *syscall.SysProcAttr) (err error) {
	if sys.Setctty && sys.Foreground {
		return errors.New("both Setctty and Foreground set in SysProcAttr")
	}
	if sys.Setctty && !slices.ContainsFunc(a.Moves, func(m fdtable.Move) bool { return m.To == sys.Ctty }) {
		//lint:ignore ST1005 programs know the words from package syscall
		return errors.New("Setctty set but Ctty not valid in child")
	}
	if sys.Chroot != "" {
		if c.chroot, err = syscall.BytePtrFromString(sys.Chroot); err != nil {
			return err
		}
	}
	c.setsid, c.setpgid, c.pgid = sys.Setsid, sys.Setpgid || sys.Foreground, int32(sys.Pgid)
	c.fore, c.ctty = sys.Foreground, int32(sys.Ctty)
	c.setctty, c.cttyIndex, c.detach = sys.Setctty, int32(sys.Ctty), sys.Noctty
	c.unshare = sys.Unshareflags
	c.ptrace = sys.Ptrace
	c.ambient, c.keepCaps = sys.AmbientCaps, len(sys.AmbientCaps) > 0
	c.caps.header.Version = unix.LINUX_CAPABILITY_VERSION_3
	c.planDeathSignal(a, sys)
	if cred := sys.Credential; cred != nil {
		c.cred, c.uid, c.gid, c.groups = true, cred.Uid, cred.Gid, cred.Groups
		denied := sys.GidMappings != nil && !sys.GidMappingsEnableSetgroups && len(cred.Groups) == 0
		c.setgroups = !cred.NoSetGroups && !denied
	}
	c.planMappings(sys)
	return nil
}

func (c *child) planDeathSignal(a *Attr, sys *syscall.SysProcAttr) {
	c.deathSig, c.parent = uintptr(sys.Pdeathsig), int32(a.Parent)
	switch {
	case c.thread:
	case sys.Cloneflags&syscall.CLONE_NEWPID != 0:
		c.parent = 0 // a parent outside the namespace has no number in it
	case a.Parent == 0:
		c.parent = int32(syscall.Getpid())
	}
}

// planMappings: the task writes its mappings itself when it unshares its user namespace, the parent when it is cloned into one.
func (c *child) planMappings(sys *syscall.SysProcAttr) {
	if sys.UidMappings == nil && sys.GidMappings == nil {
		return
	}
	if sys.Unshareflags&syscall.CLONE_NEWUSER == 0 {
		c.mapping = true
		return
	}
	for _, f := range mappingFiles(sys) {
		path, text := append([]byte("/proc/thread-self/"+f.name), 0), []byte(f.text)
		c.idFiles = append(c.idFiles, idFile{&path[0], unsafe.SliceData(text), uintptr(len(text))})
	}
}

type mappingFile struct{ name, text string }

// mappingFiles are the files below /proc/PID that make the mappings, in the order that the kernel wants: without privilege
// setgroups has to be denied before groups may be mapped.
func mappingFiles(sys *syscall.SysProcAttr) []mappingFile {
	var files []mappingFile
	if sys.GidMappings != nil {
		groups := "deny"
		if sys.GidMappingsEnableSetgroups {
			groups = "allow"
		}
		files = append(files, mappingFile{"setgroups", groups}, mappingFile{"gid_map", mappingText(sys.GidMappings)})
	}
	if sys.UidMappings != nil {
		files = append(files, mappingFile{"uid_map", mappingText(sys.UidMappings)})
	}
	return files
}

func mappingText(ids []syscall.SysProcIDMap) string {
	var text []byte
	for _, id := range ids {
		for i, n := range []int{id.ContainerID, id.HostID, id.Size} {
			text = strconv.AppendInt(text, int64(n), 10)
			text = append(text, " \n"[i/2])
		}
	}
	return string(text)
}
