package ofd

import (
	"errors"
	"strconv"
	"strings"
)

// A Lock is a lock on a file. A flock, OFD lock or lease belongs to a description; a POSIX lock belongs to a process.
type Lock struct {
	// Kind is "flock", "ofd", "posix", "lease" or "delegation".
	Kind string
	// Write tells an exclusive lock from a shared one.
	Write bool
	// PID is the process that took the lock, as far as the kernel knows it: -1 for OFD locks.
	PID int
	// Start and End bound the locked bytes; End is -1 where the lock reaches to the end of the file, however it grows.
	Start, End int64
}

// info is what the kernel's fdinfo files tell about a description.
type info struct {
	offset int64
	flags  int
	locks  []Lock
}

var errFormat = errors.New("unknown format")

// parseInfo reads a file of /proc/PID/fdinfo. Lines of a kind that it doesn't know are other kinds' business.
func parseInfo(text string) (in info, err error) {
	var seen int
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimSpace(value)
		switch name {
		case "pos":
			in.offset, err = strconv.ParseInt(value, 10, 64)
			seen++
		case "flags":
			var flags uint64
			flags, err = strconv.ParseUint(value, 8, 32)
			in.flags = int(flags)
			seen++
		case "lock":
			var l lockLine
			l, err = parseLock(value)
			in.locks = append(in.locks, l.Lock)
		}
		if err != nil {
			return info{}, errFormat
		}
	}
	if seen < 2 {
		return info{}, errFormat
	}
	return in, nil
}

// lockLine is a line about a lock, in fdinfo or in /proc/locks.
type lockLine struct {
	Lock
	// waits is set for one who waits for the lock: /proc/locks lists them too.
	waits bool
	inode uint64
}

// lockKind is our name for the kernel's.
func lockKind(word string) string {
	switch word {
	case "OFDLCK":
		return "ofd"
	case "ACCESS": // a mandatory lock's POSIX lock, on old kernels
		return "posix"
	case "DELEG":
		return "delegation"
	}
	return strings.ToLower(word) // flock, posix, lease
}

// parseLock reads such a line:
//
//	1: POSIX  ADVISORY  WRITE 359 00:13:11691 0 EOF
//	1: -> FLOCK  ADVISORY  READ 360 00:13:11692 0 EOF
func parseLock(text string) (l lockLine, err error) {
	words := strings.Fields(text)
	if len(words) > 1 && words[1] == "->" {
		l.waits = true
		words = append(words[:1:1], words[2:]...)
	}
	if len(words) != 8 {
		return lockLine{}, errFormat
	}
	l.Kind, l.Write = lockKind(words[1]), words[3] == "WRITE"
	var errs [4]error
	l.PID, errs[0] = strconv.Atoi(words[4])
	// The device before it is of no use, see listed; "<none>:0" stands for a lock without an inode.
	l.inode, errs[1] = strconv.ParseUint(words[5][strings.LastIndexByte(words[5], ':')+1:], 10, 64)
	l.Start, errs[2] = strconv.ParseInt(words[6], 10, 64)
	l.End = -1
	if words[7] != "EOF" {
		l.End, errs[3] = strconv.ParseInt(words[7], 10, 64)
	}
	if errors.Join(errs[:]...) != nil || l.Start < 0 || l.End < -1 {
		return lockLine{}, errFormat
	}
	return l, nil
}
