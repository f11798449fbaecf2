package seccomp_test

import (
	"slices"

	"github.com/safeexec/safeexec/seccomp"
	"golang.org/x/sys/unix"
)

// A path is one way to do an operation: a call with its arguments, where F stands for the descriptor, O for another one
// that is open and not guarded, and the other values are what they are.
type path struct {
	op   seccomp.Op
	call string
	args [6]uint64
	// kinds for which the path means something; nil for every kind.
	kinds []seccomp.Kind
	// also is another operation that the same call does, on alsoKinds.
	also      seccomp.Op
	alsoKinds []seccomp.Kind
	// only is the width of registers on which the path is one: 32, 64, or 0 for both.
	only int
}

const (
	F = 0xf0f0f0f0 // the descriptor in question
	O = 0x0e0e0e0e // another one
	P = 0x70707070 // an address
)

const minusOne = ^uint64(0)

var (
	offsets     = []seccomp.Kind{seccomp.Unknown, seccomp.Regular, seccomp.Directory, seccomp.Device, seccomp.Queue}
	directories = []seccomp.Kind{seccomp.Unknown, seccomp.Directory}
	leases      = []seccomp.Kind{seccomp.Unknown, seccomp.Regular, seccomp.Directory, seccomp.Queue, seccomp.Event}
	sockets     = []seccomp.Kind{seccomp.Unknown, seccomp.Socket, seccomp.UnixSocket, seccomp.UnixListener}
	queues      = []seccomp.Kind{seccomp.Unknown, seccomp.Queue}
	devices     = []seccomp.Kind{seccomp.Unknown, seccomp.Device}
	pipes       = []seccomp.Kind{seccomp.Unknown, seccomp.Pipe}
	// asynchronous are the kinds where turning O_ASYNC on sets the owner.
	asynchronous = []seccomp.Kind{seccomp.Unknown, seccomp.Device, seccomp.Terminal}
	advised      = []seccomp.Kind{
		seccomp.Unknown, seccomp.Regular, seccomp.Directory, seccomp.Terminal, seccomp.Device, seccomp.Queue, seccomp.Event,
	}
	allKinds = []seccomp.Kind{
		seccomp.Unknown, seccomp.Regular, seccomp.Directory, seccomp.Pipe, seccomp.Socket, seccomp.UnixSocket,
		seccomp.UnixListener, seccomp.Terminal, seccomp.Device, seccomp.Queue, seccomp.Event,
	}
)

// does says which operations the path does on a kind.
func (p path) does(kind seccomp.Kind) (ops seccomp.Op) {
	if p.kinds == nil || slices.Contains(p.kinds, kind) {
		ops |= p.op
	}
	if slices.Contains(p.alsoKinds, kind) {
		ops |= p.also
	}
	return ops
}

// onDescriptor are the paths that begin at a number.
var onDescriptor = []path{
	{op: seccomp.Dup, call: "dup", args: [6]uint64{F}},
	{op: seccomp.Dup, call: "dup2", args: [6]uint64{F, 77}},
	{op: seccomp.Dup, call: "dup3", args: [6]uint64{F, 77, unix.O_CLOEXEC}},
	{op: seccomp.Dup, call: "fcntl", args: [6]uint64{F, unix.F_DUPFD, 10}},
	{op: seccomp.Dup, call: "fcntl", args: [6]uint64{F, unix.F_DUPFD_CLOEXEC, 10}},
	{op: seccomp.Dup, call: "fcntl64", args: [6]uint64{F, unix.F_DUPFD, 10}},

	{
		op: seccomp.Flags, call: "fcntl", args: [6]uint64{F, unix.F_SETFL, unix.O_NONBLOCK},
		also: seccomp.Owner, alsoKinds: asynchronous,
	},
	{
		op: seccomp.Flags, call: "fcntl64", args: [6]uint64{F, unix.F_SETFL, unix.O_ASYNC},
		also: seccomp.Owner, alsoKinds: asynchronous,
	},
	{op: seccomp.Flags, call: "ioctl", args: [6]uint64{F, 0x5421, P}},
	{op: seccomp.Flags, call: "ioctl", args: [6]uint64{F, 0x5452, P}, also: seccomp.Owner, alsoKinds: asynchronous},
	{op: seccomp.Flags, call: "ioctl", args: [6]uint64{F, 0x500e}, kinds: devices},
	{op: seccomp.Flags, call: "mq_getsetattr", args: [6]uint64{F, P}, kinds: queues},

	{op: seccomp.Owner, call: "fcntl", args: [6]uint64{F, unix.F_SETOWN, 1}},
	{op: seccomp.Owner, call: "fcntl", args: [6]uint64{F, unix.F_SETSIG, 10}},
	{op: seccomp.Owner, call: "fcntl", args: [6]uint64{F, unix.F_SETOWN_EX, P}},
	{op: seccomp.Owner, call: "fcntl64", args: [6]uint64{F, unix.F_SETOWN, 1}},
	{op: seccomp.Owner, call: "fcntl", args: [6]uint64{F, unix.F_NOTIFY, 2}, kinds: directories},
	{op: seccomp.Owner, call: "ioctl", args: [6]uint64{F, 0x8901, P}, kinds: sockets},
	{op: seccomp.Owner, call: "ioctl", args: [6]uint64{F, 0x8902, P}, kinds: sockets},

	{op: seccomp.Lock, call: "flock", args: [6]uint64{F, unix.LOCK_EX}},
	{op: seccomp.Lock, call: "flock", args: [6]uint64{F, unix.LOCK_UN}},
	{op: seccomp.Lock, call: "fcntl", args: [6]uint64{F, 37, P}},
	{op: seccomp.Lock, call: "fcntl", args: [6]uint64{F, 38, P}},
	{op: seccomp.Lock, call: "fcntl64", args: [6]uint64{F, 37, P}},
	{op: seccomp.Lock | seccomp.Owner, call: "fcntl", args: [6]uint64{F, unix.F_SETLEASE, unix.F_UNLCK}, kinds: leases},
	{op: seccomp.Lock | seccomp.Owner, call: "fcntl", args: [6]uint64{F, 1040, P}, kinds: leases},

	{op: seccomp.Seek, call: "lseek", args: [6]uint64{F, 0, unix.SEEK_SET}, kinds: offsets},
	{op: seccomp.Seek, call: "lseek", args: [6]uint64{F, 0, unix.SEEK_END}, kinds: offsets},
	{op: seccomp.Seek, call: "lseek", args: [6]uint64{F, 0, unix.SEEK_DATA}, kinds: offsets},
	{op: seccomp.Seek, call: "lseek", args: [6]uint64{F, 0, unix.SEEK_HOLE}, kinds: offsets},
	{op: seccomp.Seek, call: "lseek", args: [6]uint64{F, 1, unix.SEEK_CUR}, kinds: offsets},
	{op: seccomp.Seek, call: "lseek", args: [6]uint64{F, 1 << 40, unix.SEEK_CUR}, kinds: offsets, only: 64},
	{op: seccomp.Seek, call: "_llseek", args: [6]uint64{F, 0, 0, P, unix.SEEK_SET}, kinds: offsets},
	{op: seccomp.Seek, call: "_llseek", args: [6]uint64{F, 1, 0, P, unix.SEEK_CUR}, kinds: offsets},
	{op: seccomp.Seek, call: "_llseek", args: [6]uint64{F, 0, 1, P, unix.SEEK_CUR}, kinds: offsets},
	{op: seccomp.Seek, call: "getdents", args: [6]uint64{F, P, 100}, kinds: directories},
	{op: seccomp.Seek, call: "getdents64", args: [6]uint64{F, P, 100}, kinds: directories},
	{op: seccomp.Seek, call: "readdir", args: [6]uint64{F, P, 1}, kinds: directories},

	{op: seccomp.Mode, call: "fadvise64", args: [6]uint64{F, 0, 0, 1}, kinds: advised},
	{op: seccomp.Mode, call: "fadvise64_64", args: [6]uint64{F}, kinds: advised},
	{op: seccomp.Mode, call: "arm_fadvise64_64", args: [6]uint64{F, 1}, kinds: advised},
	{op: seccomp.Mode, call: "readahead", args: [6]uint64{F, 0, 4096}, kinds: advised},
	{op: seccomp.Mode, call: "splice", args: [6]uint64{F, P, O, P, 1}, kinds: pipes},
	{op: seccomp.Mode, call: "splice", args: [6]uint64{O, P, F, P, 1}, kinds: pipes},
	{op: seccomp.Mode, call: "vmsplice", args: [6]uint64{F, P, 1}, kinds: pipes},
}

// offsetPaths can be guarded, but not denied everywhere.
var offsetPaths = []path{
	{op: seccomp.Offset, call: "read", args: [6]uint64{F, P, 1}, kinds: offsets},
	{op: seccomp.Offset, call: "write", args: [6]uint64{F, P, 1}, kinds: offsets},
	{op: seccomp.Offset, call: "readv", args: [6]uint64{F, P, 1}, kinds: offsets},
	{op: seccomp.Offset, call: "writev", args: [6]uint64{F, P, 1}, kinds: offsets},
	{op: seccomp.Offset, call: "preadv2", args: [6]uint64{F, P, 1, minusOne, 0, 0}, kinds: offsets, only: 64},
	{op: seccomp.Offset, call: "preadv2", args: [6]uint64{F, P, 1, minusOne, minusOne, 0}, kinds: offsets},
	{op: seccomp.Offset, call: "pwritev2", args: [6]uint64{F, P, 1, minusOne, 0, 0}, kinds: offsets, only: 64},
	{op: seccomp.Offset, call: "pwritev2", args: [6]uint64{F, P, 1, minusOne, minusOne, 0}, kinds: offsets},
	{op: seccomp.Offset, call: "sendfile", args: [6]uint64{F, O, P, 1}, kinds: offsets},
	{op: seccomp.Offset, call: "sendfile", args: [6]uint64{O, F, 0, 1}, kinds: offsets},
	{op: seccomp.Offset, call: "sendfile64", args: [6]uint64{O, F, 0, 1}, kinds: offsets},
	{op: seccomp.Offset, call: "splice", args: [6]uint64{F, 0, O, 0, 1}, kinds: offsets, also: seccomp.Mode, alsoKinds: pipes},
	{op: seccomp.Offset, call: "splice", args: [6]uint64{O, 0, F, 0, 1}, kinds: offsets, also: seccomp.Mode, alsoKinds: pipes},
	{op: seccomp.Offset, call: "copy_file_range", args: [6]uint64{F, 0, O, 0, 1}, kinds: offsets},
	{op: seccomp.Offset, call: "copy_file_range", args: [6]uint64{O, P, F, 0, 1}, kinds: offsets},
}

// anywhere are the paths that begin at no number, or at one in memory.
var anywhere = []path{
	{op: seccomp.Pass, call: "seccomp", args: [6]uint64{1, 8, P}},
	{op: seccomp.Pass, call: "seccomp", args: [6]uint64{1, 8 | 16, P}},
	{op: seccomp.Pass, call: "ioctl", args: [6]uint64{O, 0x40182103, P}},
	{op: seccomp.Pass, call: "ioctl", args: [6]uint64{O, 0x2103, P}},
	{op: seccomp.Pass, call: "ioctl", args: [6]uint64{O, 0xffff2103, P}},
	{op: seccomp.Pass, call: "ioctl", args: [6]uint64{O, 0xc0306201, P}},
	{op: seccomp.Steal | seccomp.Dup, call: "pidfd_getfd", args: [6]uint64{O, 3, 0}},
	{op: seccomp.Steal, call: "process_vm_writev", args: [6]uint64{1, P, 1, P, 1, 0}},
	{op: seccomp.Steal, call: "ptrace", args: [6]uint64{16, 1}},
	{op: seccomp.Steal, call: "ptrace", args: [6]uint64{0x4206, 1}},
	{op: seccomp.TTY, call: "ioctl", args: [6]uint64{O, 0x5412, P}},
	{op: seccomp.TTY, call: "ioctl", args: [6]uint64{O, 0x541c, P}},
}

// deniedOnly are the paths that a denial closes, and a guard in its own way.
var deniedOnly = []path{
	{op: seccomp.Pass, call: "sendmsg", args: [6]uint64{F, P}},
	{op: seccomp.Pass, call: "sendmmsg", args: [6]uint64{F, P, 1}},
	{op: seccomp.Pass, call: "recvmsg", args: [6]uint64{F, P}},
	{op: seccomp.Pass, call: "recvmmsg", args: [6]uint64{F, P, 1}},
	{op: seccomp.Pass, call: "recvmmsg_time64", args: [6]uint64{F, P, 1}},
	{op: seccomp.Pass, call: "socketcall", args: [6]uint64{16, P}},
	{op: seccomp.Flags, call: "mount", args: [6]uint64{P, P, P, 0, P}},
	{op: seccomp.Flags, call: "fsconfig", args: [6]uint64{O, 5, P, 0, 3}},
	{op: seccomp.Wberr, call: "fsync", args: [6]uint64{F}},
	{op: seccomp.Wberr, call: "fdatasync", args: [6]uint64{F}},
	{op: seccomp.Wberr, call: "syncfs", args: [6]uint64{F}},
	{op: seccomp.Wberr, call: "sync_file_range", args: [6]uint64{F, 0, 1, 7}},
	{op: seccomp.Wberr, call: "arm_sync_file_range", args: [6]uint64{F, 7, 0, 1}},
	{op: seccomp.Wberr, call: "io_submit", args: [6]uint64{P, 1, P}},
}

// harmless are calls that no guard and no denial may refuse, on a guarded descriptor or any other.
var harmless = []path{
	{call: "fcntl", args: [6]uint64{F, unix.F_GETFL}},
	{call: "fcntl", args: [6]uint64{F, unix.F_SETFD, 1}},
	{call: "fcntl", args: [6]uint64{F, unix.F_GETFD}},
	{call: "fcntl", args: [6]uint64{F, unix.F_GETOWN}},
	{call: "fcntl", args: [6]uint64{F, 36, P}}, // F_OFD_GETLK
	{call: "fcntl", args: [6]uint64{F, 6, P}},  // F_SETLK: the lock isn't the description's
	{call: "lseek", args: [6]uint64{F, 0, unix.SEEK_CUR}},
	{call: "_llseek", args: [6]uint64{F, 0, 0, P, unix.SEEK_CUR}},
	{call: "ioctl", args: [6]uint64{F, 0x541b, P}}, // FIONREAD
	{call: "ioctl", args: [6]uint64{F, 0x5401, P}}, // TCGETS
	{call: "ioctl", args: [6]uint64{F, 0x5413, P}}, // TIOCGWINSZ
	{call: "mq_getsetattr", args: [6]uint64{F, 0, P}},
	{call: "ptrace", args: [6]uint64{0}}, // PTRACE_TRACEME
	{call: "seccomp", args: [6]uint64{1, 0, P}},
	{call: "seccomp", args: [6]uint64{1, 1, P}},
	{call: "socket", args: [6]uint64{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_NONBLOCK}},
	{call: "socket", args: [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW}},
	{call: "socketpair", args: [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, 0, P}},
	{call: "socketpair", args: [6]uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET, 0, P}},
}

// numbers of the calls above, from the kernel's tables: x86_64, i386, aarch64, arm; -1 where there is none.
var numbers = map[string][4]int{
	"dup":                 {32, 41, 23, 41},
	"dup2":                {33, 63, -1, 63},
	"dup3":                {292, 330, 24, 358},
	"fcntl":               {72, 55, 25, 55},
	"fcntl64":             {-1, 221, -1, 221},
	"ioctl":               {16, 54, 29, 54},
	"flock":               {73, 143, 32, 143},
	"lseek":               {8, 19, 62, 19},
	"_llseek":             {-1, 140, -1, 140},
	"read":                {0, 3, 63, 3},
	"write":               {1, 4, 64, 4},
	"readv":               {19, 145, 65, 145},
	"writev":              {20, 146, 66, 146},
	"preadv2":             {327, 378, 286, 392},
	"pwritev2":            {328, 379, 287, 393},
	"sendfile":            {40, 187, 71, 187},
	"sendfile64":          {-1, 239, -1, 239},
	"readdir":             {-1, 89, -1, -1},
	"getdents":            {78, 141, -1, 141},
	"getdents64":          {217, 220, 61, 217},
	"splice":              {275, 313, 76, 340},
	"vmsplice":            {278, 316, 75, 343},
	"copy_file_range":     {326, 377, 285, 391},
	"fadvise64":           {221, 250, 223, -1},
	"fadvise64_64":        {-1, 272, -1, -1},
	"arm_fadvise64_64":    {-1, -1, -1, 270},
	"readahead":           {187, 225, 213, 225},
	"mq_getsetattr":       {245, 282, 185, 279},
	"pidfd_getfd":         {438, 438, 438, 438},
	"process_vm_writev":   {311, 348, 271, 377},
	"ptrace":              {101, 26, 117, 26},
	"seccomp":             {317, 354, 277, 383},
	"io_uring_setup":      {425, 425, 425, 425},
	"io_uring_enter":      {426, 426, 426, 426},
	"io_uring_register":   {427, 427, 427, 427},
	"socket":              {41, 359, 198, 281},
	"socketpair":          {53, 360, 199, 288},
	"sendmsg":             {46, 370, 211, 296},
	"recvmsg":             {47, 372, 212, 297},
	"sendmmsg":            {307, 345, 269, 374},
	"recvmmsg":            {299, 337, 243, 365},
	"recvmmsg_time64":     {-1, 417, -1, 417},
	"socketcall":          {-1, 102, -1, -1},
	"mount":               {165, 21, 40, 21},
	"fsconfig":            {431, 431, 431, 431},
	"fsync":               {74, 118, 82, 118},
	"fdatasync":           {75, 148, 83, 148},
	"syncfs":              {306, 344, 267, 373},
	"sync_file_range":     {277, 314, 84, -1},
	"arm_sync_file_range": {-1, -1, -1, 341},
	"io_submit":           {209, 248, 2, 246},
}
