package fdtable

import (
	"math"
	"strconv"
	"strings"
)

// A Lock is a lock or a lease that a process holds through a descriptor, as fdinfo shows it.
type Lock struct {
	Type  string // "flock", "ofd", "posix", "lease", "delegation"
	Mode  string // "read", "write", or what a lease that is being broken goes to: "none"
	State string // of leases: "active", "breaking", "breaker"; of others "advisory"
	PID   int    // who took it; -1 for OFD locks, which no process owns; 0 when that process is gone or out of sight
	Start int64  // the first byte
	End   int64  // the last byte; math.MaxInt64 for the end of the file, wherever it will be
}

// OnDescription reports whether the lock belongs to the description: whoever holds a duplicate keeps it alive. The others
// (POSIX locks) belong to the process.
func (l Lock) OnDescription() bool { return l.Type != "posix" }

// String says it in words: "flock write", "posix read 0-99 by 123".
func (l Lock) String() string {
	text := l.Type + " " + l.Mode
	if l.Start != 0 || l.End != math.MaxInt64 {
		end := "end"
		if l.End != math.MaxInt64 {
			end = strconv.FormatInt(l.End, 10)
		}
		text += " " + strconv.FormatInt(l.Start, 10) + "-" + end
	}
	if l.State == "breaking" || l.State == "breaker" {
		text += " " + l.State
	}
	if l.PID > 0 {
		text += " by " + strconv.Itoa(l.PID)
	}
	return text
}

// parseLock reads the text after "lock:" of a line in fdinfo, which is a line of /proc/locks:
//
//	1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF
func parseLock(line string) (Lock, bool) {
	fields := strings.Fields(line)
	if len(fields) != 8 || !strings.HasSuffix(fields[0], ":") {
		return Lock{}, false // a request that waits ("->") isn't held, and has one field more
	}
	lock := Lock{Type: lockType(fields[1]), Mode: lockMode(fields[3]), State: strings.ToLower(fields[2])}
	pid, err1 := strconv.Atoi(fields[4])
	start, err2 := strconv.ParseInt(fields[6], 10, 64)
	end, err3 := parseLockEnd(fields[7])
	if lock.Type == "" || lock.Mode == "" || err1 != nil || err2 != nil || err3 != nil {
		return Lock{}, false
	}
	lock.PID, lock.Start, lock.End = pid, start, end
	return lock, true
}

func parseLockEnd(field string) (int64, error) {
	if field == "EOF" {
		return math.MaxInt64, nil
	}
	return strconv.ParseInt(field, 10, 64)
}

func lockType(field string) string {
	switch field {
	case "FLOCK":
		return "flock"
	case "OFDLCK":
		return "ofd"
	case "POSIX", "ACCESS": // ACCESS marks a POSIX lock that only asks
		return "posix"
	case "LEASE":
		return "lease"
	case "DELEG":
		return "delegation"
	}
	return ""
}

func lockMode(field string) string {
	switch field {
	case "READ":
		return "read"
	case "WRITE", "RW":
		return "write"
	case "UNLCK", "NONE":
		return "none"
	}
	return ""
}
