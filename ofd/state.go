package ofd

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// State is what a description holds, and what everybody who refers to it shares.
type State struct {
	// Access is O_RDONLY, O_WRONLY, O_RDWR, or 3 (neither reading nor writing, only ioctl).
	Access int
	// Flags are the status flags as F_GETFL reports them, without the access mode.
	Flags int
	// Offset is where the next read or write begins, or -1 where the object has no offset.
	Offset int64
	// Owner receives the signals.
	Owner Owner
	// Signal is sent to the owner when I/O becomes possible; 0 stands for SIGIO.
	Signal syscall.Signal
	// Locks are those that the description holds, and the POSIX locks that the process took through it.
	Locks []Lock
}

// An Owner receives the signals of a description (fcntl(2), F_SETOWN_EX).
type Owner struct {
	// Type is F_OWNER_TID (0), F_OWNER_PID (1) or F_OWNER_PGRP (2).
	Type int
	// ID is 0 when nobody receives signals.
	ID int
}

func (o Owner) String() string {
	if o.ID == 0 {
		return "nobody"
	}
	kind := map[int]string{ownerThread: "thread", ownerProcess: "process", ownerGroup: "process group"}[o.Type]
	return fmt.Sprintf("%s %d", kind, o.ID)
}

// The types of F_SETOWN_EX, from asm-generic/fcntl.h.
const (
	ownerThread  = 0
	ownerProcess = 1
	ownerGroup   = 2
)

// settable are the flags that F_SETFL changes, with their names; the others are there for good.
var settable = []struct {
	flag int
	name string
}{
	{unix.O_APPEND, "O_APPEND"},
	{unix.O_NONBLOCK, "O_NONBLOCK"},
	{unix.O_ASYNC, "O_ASYNC"},
	{unix.O_DIRECT, "O_DIRECT"},
	{unix.O_NOATIME, "O_NOATIME"},
}

const settableMask = unix.O_APPEND | unix.O_NONBLOCK | unix.O_ASYNC | unix.O_DIRECT | unix.O_NOATIME

// Diff says in words what became of a state s, one change per string: "O_NONBLOCK set", "offset moved from 0 to 512".
func (s State) Diff(after State) []string {
	var changes []string
	say := func(format string, args ...any) { changes = append(changes, fmt.Sprintf(format, args...)) }
	if s.Access != after.Access {
		say("access changed from %s to %s", accessName(s.Access), accessName(after.Access))
	}
	for _, f := range settable {
		if was, is := s.Flags&f.flag, after.Flags&f.flag; was != is {
			say("%s %s", f.name, word(is != 0, "set", "cleared"))
		}
	}
	if s.Offset != after.Offset {
		say("offset moved from %d to %d", s.Offset, after.Offset)
	}
	if s.Owner != after.Owner {
		say("owner changed from %v to %v", s.Owner, after.Owner)
	}
	if s.Signal != after.Signal {
		say("signal changed from %s to %s", signalName(s.Signal), signalName(after.Signal))
	}
	for _, l := range missing(s.Locks, after.Locks) {
		say("%v dropped", l)
	}
	for _, l := range missing(after.Locks, s.Locks) {
		say("%v taken", l)
	}
	return changes
}

// Held reports whether a lock or a lease belongs to the description itself, so that it lives as long as any descriptor
// of it, in whatever process.
func (s State) Held() bool {
	return slices.ContainsFunc(s.Locks, func(l Lock) bool { return l.Kind != "posix" })
}

func (l Lock) String() string {
	name := map[string]string{"ofd": "OFD lock", "posix": "POSIX lock", "flock": "flock"}[l.Kind]
	if name == "" {
		name = l.Kind
	}
	text := word(l.Write, "exclusive ", "shared ") + name
	switch {
	case l.Start == 0 && l.End == -1:
		return text
	case l.End == -1:
		return fmt.Sprintf("%s from byte %d on", text, l.Start)
	}
	return fmt.Sprintf("%s on bytes %d to %d", text, l.Start, l.End)
}

// missing returns the locks of a that b doesn't have.
func missing(a, b []Lock) []Lock {
	b = slices.Clone(b)
	var out []Lock
	for _, l := range a {
		if at := slices.Index(b, l); at >= 0 {
			b = slices.Delete(b, at, at+1)
		} else {
			out = append(out, l)
		}
	}
	return out
}

func accessName(access int) string {
	names := [...]string{unix.O_RDONLY: "reading", unix.O_WRONLY: "writing", unix.O_RDWR: "reading and writing", 3: "none"}
	return names[access&unix.O_ACCMODE]
}

func signalName(signal syscall.Signal) string {
	if signal == 0 {
		return "the default"
	}
	if name := unix.SignalName(signal); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(signal))
}

func word(choice bool, yes, no string) string {
	if choice {
		return yes
	}
	return no
}

// hasLock looks in the text of /proc/locks for a lock that is held, of the given kind and process, on an inode. A pid
// of 0 stands for any.
func hasLock(text string, inode uint64, kind string, pid int) bool {
	for line := range strings.Lines(text) {
		l, err := parseLock(line)
		if err == nil && !l.waits && l.inode == inode && l.Kind == kind && (pid == 0 || l.PID == pid) {
			return true
		}
	}
	return false
}
