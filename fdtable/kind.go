package fdtable

import (
	"strconv"
	"strings"
)

// A Kind says what a descriptor refers to. The text is stable: programs may compare it.
type Kind string

// Words is the kind as it stands in a sentence: "memory device".
func (k Kind) Words() string { return strings.ReplaceAll(string(k), "-", " ") }

// The kinds that callers tell apart. What isn't named here (KindAnon's relatives such as a sync file) keeps the text of its
// own that String shows.
const (
	KindFile            Kind = "file" // a regular file
	KindDirectory       Kind = "directory"
	KindSymlink         Kind = "symlink"     // only with O_PATH
	KindSocketFile      Kind = "socket-file" // a socket's name in a file system, only with O_PATH
	KindPipe            Kind = "pipe"
	KindFIFO            Kind = "fifo" // a pipe that has a name
	KindSocket          Kind = "socket"
	KindTerminal        Kind = "terminal"
	KindPTYMaster       Kind = "pty-master"    // opening it again makes another terminal
	KindMemoryDevice    Kind = "memory-device" // null, zero, full, random, urandom
	KindCharDevice      Kind = "char-device"
	KindBlockDevice     Kind = "block-device"
	KindMemfd           Kind = "memfd"
	KindSecretMemory    Kind = "secret-memory"
	KindMessageQueue    Kind = "message-queue"
	KindNamespace       Kind = "namespace"
	KindPidfd           Kind = "pidfd"
	KindEventfd         Kind = "eventfd"
	KindEpoll           Kind = "epoll"
	KindTimerfd         Kind = "timerfd"
	KindSignalfd        Kind = "signalfd"
	KindInotify         Kind = "inotify"
	KindFanotify        Kind = "fanotify"
	KindUserfaultfd     Kind = "userfaultfd"
	KindIOUring         Kind = "io-uring"
	KindSeccompListener Kind = "seccomp-listener"
	KindBinder          Kind = "binder"
	KindDMABuf          Kind = "dma-buf"
	KindBPFMap          Kind = "bpf-map"
	KindBPFProgram      Kind = "bpf-program"
	KindBPFLink         Kind = "bpf-link"
	KindPerfEvent       Kind = "perf-event"
	KindKVM             Kind = "kvm"
	KindAnon            Kind = "anon-inode" // an anonymous inode without a kind of its own: Target has its name
	KindUnknown         Kind = "unknown"    // an anonymous inode whose name can't be read for want of procfs
)

// HasOffset reports whether the offset of such a description means something.
func (k Kind) HasOffset() bool {
	switch k {
	case KindFile, KindDirectory, KindMemfd, KindBlockDevice, KindCharDevice, "bpf-iterator":
		return true
	}
	return false
}

// isNamed reports whether such a thing has a name in a file system while it isn't deleted.
func (k Kind) isNamed() bool {
	switch k {
	case KindFile, KindDirectory, KindSymlink, KindSocketFile, KindFIFO, KindTerminal, KindMemoryDevice, KindCharDevice, KindBlockDevice:
		return true
	}
	return false
}

// anonKind is the kind of an anonymous inode by the name that the kernel gave it.
func anonKind(name string) Kind {
	switch name {
	case "[eventfd]":
		return KindEventfd
	case "[eventpoll]":
		return KindEpoll
	case "[timerfd]":
		return KindTimerfd
	case "[signalfd]":
		return KindSignalfd
	case "inotify", "[inotify]":
		return KindInotify
	case "[fanotify]":
		return KindFanotify
	case "[userfaultfd]":
		return KindUserfaultfd
	case "[io_uring]":
		return KindIOUring
	case "[perf_event]":
		return KindPerfEvent
	case "[pidfd]":
		return KindPidfd
	case "seccomp notify":
		return KindSeccompListener
	case "bpf-map":
		return KindBPFMap
	case "bpf-prog":
		return KindBPFProgram
	case "bpf_link", "bpf-link":
		return KindBPFLink
	case "bpf_iter":
		return "bpf-iterator"
	case "btf":
		return "btf"
	case "[fscontext]":
		return "fs-context"
	case "[landlock-ruleset]":
		return "landlock-ruleset"
	case "sync_file":
		return "sync-file"
	}
	if strings.HasPrefix(name, "kvm-") || strings.HasPrefix(name, "[kvm-") {
		return KindKVM
	}
	return KindAnon
}

// kindOfTarget is the kind that a link in /proc/PID/fd tells by itself, with the inode where the link has it. Real paths
// begin with a slash or, outside the reader's root, with "(unreachable)"; they tell nothing, and known is false.
func kindOfTarget(target string) (kind Kind, inode uint64, known bool) {
	if name, ok := strings.CutPrefix(target, "anon_inode:"); ok {
		return anonKind(name), 0, true
	}
	name, rest, ok := strings.Cut(target, ":[")
	number, closed := strings.CutSuffix(rest, "]")
	if !ok || !closed {
		return "", 0, false
	}
	inode, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return "", 0, false
	}
	switch name {
	case "pipe":
		return KindPipe, inode, true
	case "socket":
		return KindSocket, inode, true
	case "pidfd":
		return KindPidfd, inode, true
	case "net", "uts", "ipc", "user", "pid", "pid_for_children", "mnt", "cgroup", "time", "time_for_children":
		return KindNamespace, inode, true
	}
	return "", 0, false
}

// The types of an inode, as st_mode has them on every architecture.
const (
	typeMask      = 0o170000
	typeSocket    = 0o140000
	typeSymlink   = 0o120000
	typeRegular   = 0o100000
	typeBlock     = 0o060000
	typeDirectory = 0o040000
	typeChar      = 0o020000
	typeFIFO      = 0o010000
)

// kindOfMode is the kind of an inode by its type alone; char devices and regular files need a second look.
func kindOfMode(mode uint32) Kind {
	switch mode & typeMask {
	case typeRegular:
		return KindFile
	case typeDirectory:
		return KindDirectory
	case typeSymlink:
		return KindSymlink
	case typeSocket:
		return KindSocketFile
	case typeBlock:
		return KindBlockDevice
	case typeChar:
		return KindCharDevice
	case typeFIFO:
		return KindFIFO
	}
	return KindAnon
}

// fileSystemMagic of the file systems whose files aren't what they look like (linux/magic.h).
const (
	magicMessageQueue = 0x19800202
	magicTmpfs        = 0x01021994
	magicHugetlbfs    = 0x958458f6
	magicSecretMemory = 0x5345434d
	magicDMABuf       = 0x444d4142
)

// queueSize is the size that every POSIX message queue shows.
const queueSize = 80

// looksInternal reports whether a regular (or typeless) file may be one of the kernel's own: only then is it worth a call to
// ask for its file system.
func looksInternal(target string, size int64) bool {
	return size == queueSize || strings.HasPrefix(target, "/memfd:") || strings.HasPrefix(target, "/dmabuf:") ||
		strings.HasPrefix(target, "/secretmem")
}

// kindOfInternal is the kind of a file that looksInternal, by the file system that it is on.
func kindOfInternal(kind Kind, target string, magic int64) Kind {
	switch uint32(magic) {
	case magicMessageQueue:
		if kind == KindFile {
			return KindMessageQueue
		}
	case magicTmpfs, magicHugetlbfs:
		if strings.HasPrefix(target, "/memfd:") && strings.HasSuffix(target, " (deleted)") {
			return KindMemfd
		}
	case magicSecretMemory:
		return KindSecretMemory
	case magicDMABuf:
		return KindDMABuf
	}
	return kind
}

// kindOfDevice is the kind of a char device whose numbers are fixed (Documentation/admin-guide/devices.txt).
func kindOfDevice(major, minor uint32) Kind {
	switch {
	case major == 1 && (minor == 3 || minor == 5 || minor == 7 || minor == 8 || minor == 9):
		return KindMemoryDevice
	case major == 5 && minor == 2, major == 2, major >= 128 && major < 136:
		return KindPTYMaster
	case major == 5 && minor < 2, major == 3, major == 4, major >= 136 && major < 144:
		return KindTerminal
	case major == 10 && minor == 232:
		return KindKVM
	}
	return KindCharDevice
}

// parseTTYDrivers reads /proc/tty/drivers: which numbers are terminals, beyond those that are fixed.
func parseTTYDrivers(data []byte, major, minor uint32) Kind {
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		// The driver's name may have blanks in it: count from the end.
		if len(fields) < 5 {
			continue
		}
		fields = fields[len(fields)-4:]
		first, last, ranged := strings.Cut(fields[2], "-")
		if !ranged {
			last = first
		}
		low, err1 := strconv.ParseUint(first, 10, 32)
		high, err2 := strconv.ParseUint(last, 10, 32)
		number, err3 := strconv.ParseUint(fields[1], 10, 32)
		if err1 != nil || err2 != nil || err3 != nil || uint32(number) != major ||
			minor < uint32(low) || minor > uint32(high) {
			continue
		}
		if fields[3] == "pty:master" {
			return KindPTYMaster
		}
		return KindTerminal
	}
	return KindCharDevice
}

// parseDeviceNames reads /proc/devices (the char devices, which come first) or /proc/misc: the driver of one number. A name in
// /dev can be anybody's invention, the driver's can't.
func parseDeviceNames(data []byte, number uint32) string {
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "Block devices:") {
			break
		}
		first, name, ok := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(first, 10, 32)
		if ok && err == nil && uint32(n) == number {
			return name
		}
	}
	return ""
}

// Printable returns s with everything escaped that could confuse or command a terminal: control characters, invalid UTF-8,
// invisible and direction-changing characters, and the backslash itself.
func Printable(s string) string {
	if isPlain(s) {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '\\' {
			return false
		}
	}
	return true
}
