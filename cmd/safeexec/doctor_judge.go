package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
)

// A patient is a process as the doctor sees it.
type patient struct {
	process  fdtable.Process
	family   family
	held     []held // by number
	forked   bool   // it is a fork of its parent, without an exec: it has all that the parent has
	unseen   int    // processes that aren't ours to see
	meant    []fdtable.Item
	findings []finding
}

// A held is one of its descriptors.
type held struct {
	descriptor   fdtable.Descriptor
	others       []holder // descriptors of other processes that refer to the same description
	outside      bool     // a directory that isn't below the process's root
	unknown      error    // why it isn't known who else refers to the description
	unknownPlace error    // why it isn't known where a directory is
}

// A finding is one thing that a process shouldn't hold. Its kind is a word for programs.
type finding struct {
	held   held
	kind   string
	text   string
	option string // what would have prevented it; empty where no option does
	how    string // that option in words
}

// A family is who is related to a process, by number: its ancestors with the nearest first, what descends from it, and its
// session.
type family struct {
	names       map[int]string
	ancestors   []int
	descendants []int
	session     []int
}

// familyOf finds the relatives of a process.
func familyOf(processes []fdtable.Process, pid int) family {
	f := family{names: map[int]string{}}
	byPID := map[int]fdtable.Process{}
	for _, p := range processes {
		byPID[p.PID] = p
		f.names[p.PID] = p.Name
	}
	self := byPID[pid]
	for at := self.Parent; at > 0 && at != pid && !slices.Contains(f.ancestors, at); at = byPID[at].Parent {
		f.ancestors = append(f.ancestors, at)
	}
	for _, p := range fdtable.Tree(processes, pid) {
		if p.PID != pid {
			f.descendants = append(f.descendants, p.PID)
		}
	}
	for _, p := range processes {
		if p.Session == self.Session && self.Session > 0 && p.PID != pid {
			f.session = append(f.session, p.PID)
		}
	}
	return f
}

// sharesClosing reports whether the process has a description under a number of its parent's that both have close-on-exec: an
// exec would have closed it.
func (p *patient) sharesClosing() bool {
	return slices.ContainsFunc(p.held, func(h held) bool {
		return h.descriptor.CloseOnExec && slices.ContainsFunc(h.others, func(o holder) bool {
			return o.process.PID == p.process.Parent && o.identity.Number == h.descriptor.Number && o.descriptor.CloseOnExec
		})
	})
}

// judge is what is found, by number.
func (p *patient) judge() []finding {
	var all []finding
	for _, h := range p.held {
		own := len(all)
		for _, look := range []func(held) *finding{p.escape, p.lock, p.power, p.inherited, p.stranger, p.deleted, p.nonBlocking} {
			if f := look(h); f != nil {
				f.held = h
				all = append(all, *f)
			}
		}
		got := slices.ContainsFunc(all[own:], func(f finding) bool { return f.option == "--keep" })
		if f := p.passedOn(h); f != nil && !got { // what it shouldn't have its children shouldn't either
			f.held = h
			all = append(all, *f)
		}
	}
	return all
}

// leave is the remedy against everything that a process got without being meant to.
func leave(h held) (option, how string) {
	n := h.descriptor.Number
	if n > 2 {
		return "--keep", fmt.Sprintf("start it as safeexec [--keep LIST] -- COMMAND, without %d in the LIST", n)
	}
	return "--close", fmt.Sprintf("start it as safeexec --close %d -- COMMAND", n)
}

func (p *patient) escape(h held) *finding {
	if !h.outside {
		return nil
	}
	f := &finding{kind: "escape", text: "a directory outside of its root, or of another mount namespace: it can walk up from there (openat, fchdir)"}
	f.option, f.how = leave(h)
	return f
}

// lock: what counts is a lock that somebody else has taken, or that somebody else keeps alive as well.
func (p *patient) lock(h held) *finding {
	if p.isMeant(h) {
		return nil
	}
	var texts []string
	for _, lock := range h.descriptor.Locks {
		ancestor, _ := p.sharedWithAncestor(h)
		switch {
		case lock.OnDescription() && !p.ownLock(lock, h):
			texts = append(texts, "keeps alive "+p.lockText(lock)+": it isn't free before this is closed here")
		case !lock.OnDescription() && ancestor > 0 && !p.forked:
			texts = append(texts, "holds "+lock.String()+" on a file that was handed down: closing any descriptor of it drops that")
		}
	}
	if len(texts) == 0 {
		return nil
	}
	f := &finding{kind: "lock", text: strings.Join(texts, "; ")}
	f.option, f.how = leave(h)
	return f
}

// ownLock reports whether the process, or a child of it on its behalf (flock(1) in a script), has taken a lock. One that is gone
// has left its number, where that is lower than the process's own it was there before.
func (p *patient) ownLock(lock fdtable.Lock, h held) bool {
	switch pid := p.process.PID; {
	case lock.PID < 0: // nobody's
		return len(h.others) == 0
	case lock.PID == 0:
		return false
	case p.family.names[lock.PID] == "":
		return lock.PID > pid
	default:
		return lock.PID == pid || slices.Contains(p.family.descendants, lock.PID)
	}
}

// lockText names a lock and who has taken it.
func (p *patient) lockText(lock fdtable.Lock) string {
	switch {
	case lock.PID == 0:
		return lock.String() + " of a process that is gone or out of sight"
	case lock.PID > 0 && p.family.names[lock.PID] == "":
		return lock.String() + ", which is gone"
	case lock.PID > 0:
		return lock.String() + " (" + p.nameOf(lock.PID) + ")"
	}
	return lock.String()
}

// powerOf says what a kind of descriptor is good for, beyond reading and writing; empty where it is for nothing more.
func powerOf(kind fdtable.Kind) string {
	switch kind {
	case fdtable.KindBlockDevice:
		return "reads or writes a device below its file system"
	case fdtable.KindCharDevice:
		return "drives a device"
	case fdtable.KindPTYMaster:
		return "is the master of a terminal: what is written to it is typed there"
	case fdtable.KindNamespace:
		return "is a door into a namespace (setns)"
	case fdtable.KindPidfd:
		return "reaches a process, its descriptors included (pidfd_getfd)"
	case fdtable.KindIOUring:
		return "does system calls behind any filter's back"
	case fdtable.KindSeccompListener:
		return "decides about another process's system calls"
	case fdtable.KindUserfaultfd:
		return "holds up another process's memory"
	case fdtable.KindFanotify:
		return "watches, or decides about, what others open"
	case fdtable.KindBinder:
		return "passes descriptors by an ioctl"
	case fdtable.KindDMABuf:
		return "gives the same description again by an ioctl"
	case fdtable.KindBPFMap:
		return "changes what the kernel's programs see"
	case fdtable.KindBPFProgram:
		return "is a program in the kernel"
	case fdtable.KindBPFLink:
		return "holds a program in the kernel in its place"
	case fdtable.KindPerfEvent:
		return "counts or samples what others do"
	case fdtable.KindKVM:
		return "drives a virtual machine"
	}
	return ""
}

// power: a process has such things for itself, close-on-exec. Those that it got, or would pass on, are the ones to look at.
func (p *patient) power(h held) *finding {
	ancestor, _ := p.sharedWithAncestor(h)
	got, passesOn := ancestor > 0 && !p.forked, !h.descriptor.CloseOnExec
	text := powerOf(h.descriptor.Kind)
	if text == "" || p.isMeant(h) || !got && !passesOn {
		return nil
	}
	f := &finding{kind: "power", text: "it " + text}
	f.option, f.how = leave(h)
	return f
}

func (p *patient) inherited(h held) *finding {
	ancestor, number := p.sharedWithAncestor(h)
	if ancestor == 0 || p.forked || h.descriptor.Number <= 2 || p.isMeant(h) {
		return nil
	}
	f := &finding{kind: "inherited", text: fmt.Sprintf("%s has the same description, as %d", p.person(ancestor), number)}
	f.option, f.how = leave(h)
	return f
}

// stranger: of 0 to 2 only those that aren't the tree's own anyway count.
func (p *patient) stranger(h held) *finding {
	ancestor, _ := p.sharedWithAncestor(h)
	strangers := p.strangers(h)
	if len(strangers) == 0 || ancestor > 0 && h.descriptor.Number <= 2 || p.isMeant(h) {
		return nil
	}
	f := &finding{kind: "shared", text: "shared with " + p.people(strangers) + ", neither of its tree nor of its session: offset, flags and locks are common"}
	f.option, f.how = private(h)
	return f
}

// private is the remedy against sharing what has to be there.
func private(h held) (option, how string) {
	n := strconv.Itoa(h.descriptor.Number)
	switch h.descriptor.Kind {
	case fdtable.KindFile:
		return "--private", "start it as safeexec --private " + n + "@append (or @offset) -- COMMAND"
	case fdtable.KindPipe, fdtable.KindFIFO, fdtable.KindTerminal, fdtable.KindMemoryDevice, fdtable.KindDirectory, fdtable.KindMemfd:
		return "--private", "start it as safeexec --private " + n + " -- COMMAND"
	}
	return "--guard", "start it as safeexec --guard --keep " + n + " -- COMMAND: it can't be opened again, but flags, owner and locks are out of reach"
}

func (p *patient) deleted(h held) *finding {
	d := h.descriptor
	if !d.Deleted {
		return nil
	}
	f := &finding{kind: "deleted", text: "it takes up room, and nobody finds it by a name"}
	if ancestor, _ := p.sharedWithAncestor(h); ancestor > 0 {
		f.option, f.how = leave(h)
	}
	return f
}

// nonBlocking: whoever shares it sees EAGAIN.
func (p *patient) nonBlocking(h held) *finding {
	d := h.descriptor
	switch d.Kind {
	case fdtable.KindPipe, fdtable.KindFIFO, fdtable.KindTerminal:
	case fdtable.KindSocket:
		if d.Number > 2 {
			return nil
		}
	default:
		return nil
	}
	others := p.notOurs(h)
	if d.Flags&unix.O_NONBLOCK == 0 || len(others) == 0 || p.forked && d.Number > 2 {
		return nil
	}
	return &finding{
		kind: "non-blocking", text: "O_NONBLOCK is set for " + p.people(others) + " too: reads and writes there fail with EAGAIN",
		option: "--guard", how: "start whoever sets it as safeexec --guard -- COMMAND",
	}
}

func (p *patient) passedOn(h held) *finding {
	d := h.descriptor
	if d.Number <= 2 || d.CloseOnExec || p.isMeant(h) {
		return nil
	}
	f := &finding{kind: "passed-on", text: "not close-on-exec: its next child gets it as well"}
	f.option, f.how = "--keep", fmt.Sprintf("start its children as safeexec -- COMMAND, and if %d was inherited, itself too", d.Number)
	return f
}

func (p *patient) isMeant(h held) bool {
	return slices.ContainsFunc(p.meant, func(item fdtable.Item) bool {
		return h.descriptor.Number >= item.First && h.descriptor.Number <= item.Last
	})
}

// sharedWithAncestor returns the nearest ancestor that has the same description, and its number there; 0 for none.
func (p *patient) sharedWithAncestor(h held) (pid, number int) {
	for _, ancestor := range p.family.ancestors {
		for _, o := range h.others {
			if o.process.PID == ancestor {
				return ancestor, o.identity.Number
			}
		}
	}
	return 0, 0
}

// strangers are the processes that have the same description and are neither related nor of the session.
func (p *patient) strangers(h held) (pids []int) {
	f := p.family
	for _, pid := range p.notOurs(h) {
		if !slices.Contains(f.ancestors, pid) && !slices.Contains(f.session, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// notOurs are the processes that have the same description and don't descend from the process, each once.
func (p *patient) notOurs(h held) (pids []int) {
	for _, o := range h.others {
		if pid := o.process.PID; !slices.Contains(p.family.descendants, pid) && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// nameOf is a process's name as it may be printed.
func (p *patient) nameOf(pid int) string {
	return cmp.Or(fdtable.Printable(p.family.names[pid]), "unknown")
}

// person is "sh (12)".
func (p *patient) person(pid int) string { return fmt.Sprintf("%s (%d)", p.nameOf(pid), pid) }

// people names a few, and counts the rest.
func (p *patient) people(pids []int) string {
	const named = 3
	var texts []string
	for _, pid := range pids[:min(named, len(pids))] {
		texts = append(texts, p.person(pid))
	}
	if rest := len(pids) - named; rest > 0 {
		return strings.Join(texts, ", ") + " and " + count(rest, "more", "more")
	}
	return strings.Join(texts, ", ")
}
