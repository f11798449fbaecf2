package spawn

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/seccomp"
)

// A Guard keeps operations off the caller's descriptions. What the command can't tell from the shared description it gets as
// a private one: pipes, FIFOs, terminals, memory devices, and regular files opened for appending only, unless a lock is
// held on them or they can't be opened again. On what stays shared the operations are refused, by a filter that goes by
// the descriptor's number; it binds the command and all that it starts. The zero value is a good guard.
//
// On descriptors 0 to 2 that stay shared the guard is advisory: it stops a careless program, not a hostile one, because dup
// is permitted there; shells couldn't redirect anything otherwise.
type Guard struct {
	// Operations are kept off: flags, owner, lock, seek, offset (on 3 and up), mode. Zero stands for seccomp.DefaultGuard,
	// without seek on an advisory descriptor, since programs seek on a redirected input. What that takes besides, against dup, passing and
	// stealing, is always in.
	Operations seccomp.Op
	// Deny are operations that are refused on every descriptor.
	Deny seccomp.Op
	// KeepShared leaves everything shared: operations are only refused.
	KeepShared bool
	// Stdio says what becomes of those of 0, 1 and 2 that stay shared. One whose description is also guarded under a higher
	// number is always StdioStrict.
	Stdio Stdio
	// AllowSteal leaves out the Landlock domain (Linux 5.13) without which the command may drive another process of the
	// same user by /proc/PID/mem. The guard is then advisory against that.
	AllowSteal bool
	// Passing is how descriptors are kept from being sent out of the tree.
	Passing seccomp.Passing
	// Action is what happens when the command tries an operation that was named.
	Action seccomp.Action
	// ABI says what becomes of 32-bit programs.
	ABI seccomp.ABI
	// ByDescription makes this process the command's supervisor (seccomp_unotify(2), pidfd_getfd(2): Linux 5.6; kcmp(2)): what
	// stays shared is guarded by its description, under whatever number the command has it, so that dup needn't be
	// refused. The default operations are flags, owner and lock; offset and mode can't be guarded so. It isn't for Exec. This process must live as
	// long as anything that the command starts: without it, guarded calls fail with ENOSYS. Where Yama lets only ancestors look into
	// processes (kernel.yama.ptrace_scope is 1, and CAP_SYS_PTRACE is missing), it has to be their reaper too (prctl(2),
	// PR_SET_CHILD_SUBREAPER): else guarded calls of orphans fail with EPERM. Where nobody may, the start fails.
	ByDescription bool
	// Learn, with ByDescription, refuses nothing and makes nothing private: Observe is told what would have been.
	Learn bool
	// Observe, with ByDescription, is told of each attempt on a guarded description, from several goroutines.
	Observe func(Attempt)
	// Explain, when not nil, is called before the start with what each descriptor gets, and why.
	Explain func(number int, gets string)
}

// An Attempt is a call that would have changed a guarded description.
type Attempt struct {
	PID        int        // the process
	Program    string     // the name that it goes by
	Call       string     // as in C: "fcntl(1, F_SETFL, 2049)"
	Number     int        // the command's first number for the description
	Operations seccomp.Op // what the call does
	Result     string     // "refused with EPERM", "pretended", "killed", "permitted", "carried out"
}

// Stdio says how standard descriptors that stay shared are guarded.
type Stdio uint8

const (
	// StdioAdvisory pretends changes of flags, refuses owner and lock, and permits dup.
	StdioAdvisory Stdio = iota
	// StdioStrict guards them as any other number: redirections in shells fail.
	StdioStrict
	// StdioOff leaves them unguarded.
	StdioOff
)

// facts are what is known of a description that is to be passed.
type facts struct {
	kind   fdtable.Kind
	flags  fdtable.Flags
	locked bool // a lock or lease belongs to it
	socket *fdtable.Socket
}

// unguardable are the kinds that no rule can hold: they act, or hand out descriptors, behind any filter.
func (f facts) unguardable() bool {
	switch f.kind {
	case fdtable.KindIOUring, fdtable.KindSeccompListener, fdtable.KindBinder, fdtable.KindDMABuf, fdtable.KindUnknown:
		return true
	}
	return false
}

// whyShared says why the command would notice a private description, or what it would lose; empty when a private one will do.
func (f facts) whyShared() string {
	if f.locked {
		return "a lock is held on it"
	}
	switch f.kind {
	case fdtable.KindPipe, fdtable.KindFIFO, fdtable.KindTerminal, fdtable.KindMemoryDevice:
		return ""
	case fdtable.KindFile:
		if f.flags&unix.O_ACCMODE == unix.O_WRONLY && f.flags&unix.O_APPEND != 0 {
			return ""
		}
		return "its offset is shared"
	case fdtable.KindSocket:
		return "a socket can't be opened again"
	}
	return article(f.kind) + " is left as it is"
}

// ruleKind is the kind by which package seccomp leaves out rules that would be pointless.
func (f facts) ruleKind() seccomp.Kind {
	switch f.kind {
	case fdtable.KindFile, fdtable.KindMemfd, fdtable.KindSecretMemory:
		return seccomp.Regular
	case fdtable.KindDirectory:
		return seccomp.Directory
	case fdtable.KindPipe, fdtable.KindFIFO:
		return seccomp.Pipe
	case fdtable.KindTerminal, fdtable.KindPTYMaster:
		return seccomp.Terminal
	case fdtable.KindMemoryDevice, fdtable.KindCharDevice, fdtable.KindBlockDevice:
		return seccomp.Device
	case fdtable.KindMessageQueue:
		return seccomp.Queue
	case fdtable.KindEventfd, fdtable.KindTimerfd, fdtable.KindSignalfd, fdtable.KindEpoll, fdtable.KindInotify, fdtable.KindPidfd:
		return seccomp.Event
	case fdtable.KindSocket:
		switch {
		case f.socket == nil:
			return seccomp.UnixSocket // the strictest, for want of knowledge
		case f.socket.Family != fdtable.FamilyUNIX:
			return seccomp.Socket
		case f.socket.State == fdtable.StateListening:
			return seccomp.UnixListener
		}
		return seccomp.UnixSocket
	}
	return seccomp.Unknown
}

// rule is what a descriptor that stays shared gets from the filter, and the same in words. Strict is for a standard one
// whose description is guarded under a higher number too.
func (g *Guard) rule(number int, f facts, strict bool) (d seccomp.Descriptor, gets string) {
	ops, by := g.Operations, "by number"
	if ops == 0 {
		ops = seccomp.DefaultGuard
		if g.ByDescription && !g.Learn {
			ops &^= seccomp.Seek
		}
	}
	if g.ByDescription {
		by = "by description"
	}
	if ops&seccomp.Offset != 0 && (number > 2 || strict) {
		ops |= seccomp.Seek // which is one way to move it
	}
	d = seccomp.Descriptor{Number: number, Kind: f.ruleKind()}
	switch {
	case number > 2 || strict || g.Stdio == StdioStrict:
		if number <= 2 {
			ops &^= seccomp.Offset
		}
		d.Guard = ops
		return d, fmt.Sprintf("shared, refused %s: %v", by, ops)
	case g.Stdio == StdioOff:
		return d, "shared, unguarded"
	}
	if g.Operations == 0 && !g.Learn {
		ops &^= seccomp.Seek
	}
	d.Guard, d.Advisory = ops&^seccomp.Offset, true
	return d, fmt.Sprintf("shared, advisory: %v", d.Guard)
}

// Policy is what the guard would compile if a command held the numbers, each shared and of a kind that nobody knows: for export, where
// there is no table to look at.
func (g *Guard) Policy(numbers []int) seccomp.Policy {
	var shared []seccomp.Descriptor
	for _, n := range numbers {
		d, _ := g.rule(n, facts{}, false)
		shared = append(shared, d)
	}
	return g.policy(shared, false)
}

// policy is the whole of what the filter is to refuse.
func (g *Guard) policy(shared []seccomp.Descriptor, privileged bool) seccomp.Policy {
	p := seccomp.Policy{
		Deny:          g.Deny,
		Guard:         true,
		ByDescription: g.ByDescription,
		Passing:       g.Passing,
		Privileged:    privileged,
		Landlock:      seccomp.LandlockABI(),
		NoLandlock:    g.AllowSteal,
		Action:        g.Action,
		ABI:           g.ABI,
	}
	if g.Learn {
		p.Passing = seccomp.PassAllow
	}
	return p.Keep(shared...)
}
