package fdtable

import (
	"bytes"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Flags are the access mode and the status flags of a description, with the bits of open(2).
type Flags uint32

// Kernel bits that the C library's headers hide on 64-bit machines (asm/fcntl.h): largeFile follows O_DIRECT on amd64 and arm64.
const (
	largeFile = unix.O_DIRECT << 1
	tmpFile   = 0o20000000
)

// Access is the access mode: "read", "write", "read-write", "path" (O_PATH: neither, only the place), or "none" (the mode 3
// of open(2), good for ioctl alone).
func (f Flags) Access() string {
	switch {
	case f&unix.O_PATH != 0:
		return "path"
	case f&unix.O_ACCMODE == unix.O_RDONLY:
		return "read"
	case f&unix.O_ACCMODE == unix.O_WRONLY:
		return "write"
	case f&unix.O_ACCMODE == unix.O_RDWR:
		return "read-write"
	}
	return "none"
}

// Names lists the flags beside the access mode and close-on-exec by their names in open(2); a bit without a name is given in
// hexadecimal.
func (f Flags) Names() []string {
	var names []string
	left := f &^ (unix.O_ACCMODE | unix.O_CLOEXEC)
	take := func(bits Flags, name string) {
		if left&bits == bits {
			names = append(names, name)
			left &^= bits
		}
	}
	take(unix.O_APPEND, "O_APPEND")
	take(unix.O_NONBLOCK, "O_NONBLOCK")
	take(unix.O_SYNC, "O_SYNC") // includes O_DSYNC, so it goes first
	take(unix.O_DSYNC, "O_DSYNC")
	take(unix.O_ASYNC, "O_ASYNC")
	take(unix.O_DIRECT, "O_DIRECT")
	take(unix.O_NOATIME, "O_NOATIME")
	take(unix.O_PATH, "O_PATH")
	take(tmpFile|unix.O_DIRECTORY, "O_TMPFILE") // includes O_DIRECTORY
	take(unix.O_DIRECTORY, "O_DIRECTORY")
	take(unix.O_NOFOLLOW, "O_NOFOLLOW")
	take(largeFile, "O_LARGEFILE")
	if left != 0 {
		names = append(names, "0x"+strconv.FormatUint(uint64(left), 16))
	}
	return names
}

// fdinfo is what the lines common to all of /proc/PID/fdinfo/N say.
type fdinfo struct {
	offset int64
	flags  Flags
	inode  uint64 // 0 before Linux 5.14
	locks  []Lock
	rest   []byte // the lines that depend on the kind; aliases what was parsed
}

// parseFdinfo reads the text of one fdinfo file: first the lines of every kind, then locks, then what the kind adds. It
// reports false where the text lacks the flags, which even the oldest kernel gives.
func parseFdinfo(data []byte) (info fdinfo, ok bool) {
	for len(data) > 0 {
		line, after, _ := bytes.Cut(data, []byte{'\n'})
		key, value, cut := bytes.Cut(line, []byte{':'})
		if !cut || !info.set(string(key), strings.TrimSpace(string(value)), &ok) {
			info.rest = data
			return info, ok
		}
		data = after
	}
	return info, ok
}

// set takes one line in; it reports false for a line that not every kind has.
func (info *fdinfo) set(key, value string, haveFlags *bool) bool {
	switch key {
	case "pos":
		info.offset, _ = strconv.ParseInt(value, 10, 64)
	case "flags":
		flags, err := strconv.ParseUint(value, 8, 32)
		info.flags, *haveFlags = Flags(flags), err == nil
	case "mnt_id":
	case "ino":
		info.inode, _ = strconv.ParseUint(value, 10, 64)
	case "lock":
		if lock, ok := parseLock(value); ok {
			info.locks = append(info.locks, lock)
		}
	default:
		return false
	}
	return true
}

// detail says in words what fdinfo adds for some kinds: a pidfd's process, an eventfd's counter, a BPF object's number.
func detail(kind Kind, rest []byte) string {
	switch kind {
	case KindPidfd:
		switch pid := field(rest, "Pid"); pid {
		case "":
			return ""
		case "-1":
			return "ended"
		case "0":
			return "out of sight"
		default:
			return "pid " + pid
		}
	case KindEventfd:
		return labelled("counter ", unhex(field(rest, "eventfd-count")))
	case KindTimerfd:
		return labelled("clock ", clockName(field(rest, "clockid")))
	case KindSignalfd:
		return labelled("signals ", signalNumbers(field(rest, "sigmask")))
	case KindPTYMaster:
		return labelled("pts ", field(rest, "tty-index"))
	case KindBPFMap:
		return labelled("id ", field(rest, "map_id"))
	case KindBPFProgram:
		return labelled("id ", field(rest, "prog_id"))
	case KindBPFLink:
		return labelled("id ", field(rest, "link_id"))
	case KindDMABuf:
		return labelled("exporter ", field(rest, "exp_name"))
	}
	return ""
}

// field is the value of the first line with the key.
func field(lines []byte, key string) string {
	for len(lines) > 0 {
		line, after, _ := bytes.Cut(lines, []byte{'\n'})
		if name, value, ok := bytes.Cut(line, []byte{':'}); ok && string(name) == key {
			return string(bytes.TrimSpace(value))
		}
		lines = after
	}
	return ""
}

func labelled(label, value string) string {
	if value == "" {
		return ""
	}
	return label + value
}

func unhex(field string) string {
	n, err := strconv.ParseUint(field, 16, 64)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func clockName(id string) string {
	switch id {
	case "0":
		return "realtime"
	case "1":
		return "monotonic"
	case "7":
		return "boottime"
	case "8":
		return "realtime-alarm"
	case "9":
		return "boottime-alarm"
	}
	return id
}

// signalNumbers turns a mask in hexadecimal into the numbers of its signals.
func signalNumbers(mask string) string {
	bits, err := strconv.ParseUint(mask, 16, 64)
	if err != nil {
		return ""
	}
	var numbers []string
	for i := range 64 {
		if bits&(1<<i) != 0 {
			numbers = append(numbers, strconv.Itoa(i+1))
		}
	}
	return strings.Join(numbers, ",")
}
