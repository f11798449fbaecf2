package seccomp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// constant is a name for a value of an argument.
type constant struct {
	name  string
	value uint32
}

// constants are the names for the arguments that rules look at; the first name of a value is the one that is printed.
var constants = []struct {
	calls    []callID
	argument uint8
	names    []constant
}{
	{fcntls, 1, []constant{
		{"F_DUPFD", unix.F_DUPFD},
		{"F_GETFD", unix.F_GETFD},
		{"F_SETFD", unix.F_SETFD},
		{"F_GETFL", unix.F_GETFL},
		{"F_SETFL", unix.F_SETFL},
		{"F_GETLK", 5},
		{"F_SETLK", 6},
		{"F_SETLKW", 7},
		{"F_SETOWN", unix.F_SETOWN},
		{"F_GETOWN", unix.F_GETOWN},
		{"F_SETSIG", unix.F_SETSIG},
		{"F_GETSIG", unix.F_GETSIG},
		{"F_GETLK64", 12},
		{"F_SETLK64", 13},
		{"F_SETLKW64", 14},
		{"F_SETOWN_EX", unix.F_SETOWN_EX},
		{"F_GETOWN_EX", unix.F_GETOWN_EX},
		{"F_OFD_GETLK", unix.F_OFD_GETLK},
		{"F_OFD_SETLK", unix.F_OFD_SETLK},
		{"F_OFD_SETLKW", unix.F_OFD_SETLKW},
		{"F_SETLEASE", unix.F_SETLEASE},
		{"F_GETLEASE", unix.F_GETLEASE},
		{"F_NOTIFY", unix.F_NOTIFY},
		{"F_DUPFD_CLOEXEC", unix.F_DUPFD_CLOEXEC},
		{"F_SETPIPE_SZ", unix.F_SETPIPE_SZ},
		{"F_GETPIPE_SZ", unix.F_GETPIPE_SZ},
		{"F_ADD_SEALS", unix.F_ADD_SEALS},
		{"F_GET_SEALS", unix.F_GET_SEALS},
		{"F_SETDELEG", fSetdeleg},
	}},
	{[]callID{callIoctl}, 1, []constant{
		{"FIONBIO", fionbio},
		{"FIOASYNC", fioasync},
		{"FIONREAD", 0x541b},
		{"FIOSETOWN", fiosetown},
		{"SIOCSPGRP", siocspgrp},
		{"SNDCTL_DSP_NONBLOCK", dspNonblock},
		{"TIOCSTI", unix.TIOCSTI},
		{"TIOCLINUX", unix.TIOCLINUX},
		{"TIOCGWINSZ", unix.TIOCGWINSZ},
		{"TIOCSWINSZ", unix.TIOCSWINSZ},
		{"TIOCSCTTY", unix.TIOCSCTTY},
		{"TCGETS", unix.TCGETS},
		{"TCSETS", unix.TCSETS},
		{"number of SECCOMP_IOCTL_NOTIF_ADDFD", notifAddfd},
		{"number of BINDER_WRITE_READ", binderWriteRead},
		{"SECCOMP_IOCTL_NOTIF_ADDFD", 0x40182103},
		{"BINDER_WRITE_READ", 0xc0306201},
	}},
	{[]callID{callFlock}, 1, []constant{
		{"LOCK_SH", unix.LOCK_SH},
		{"LOCK_EX", unix.LOCK_EX},
		{"LOCK_UN", unix.LOCK_UN},
		{"LOCK_NB", unix.LOCK_NB},
	}},
	{[]callID{callLseek}, 2, whences},
	{[]callID{callLlseek}, 4, whences},
	{[]callID{callSocket, callSocketpair}, 0, []constant{
		{"AF_UNIX", unix.AF_UNIX},
		{"AF_LOCAL", unix.AF_UNIX},
		{"AF_INET", unix.AF_INET},
		{"AF_INET6", unix.AF_INET6},
		{"AF_NETLINK", unix.AF_NETLINK},
		{"AF_PACKET", unix.AF_PACKET},
		{"AF_VSOCK", unix.AF_VSOCK},
	}},
	{[]callID{callSocket, callSocketpair}, 1, []constant{
		{"SOCK_STREAM", unix.SOCK_STREAM},
		{"SOCK_DGRAM", unix.SOCK_DGRAM},
		{"SOCK_RAW", unix.SOCK_RAW},
		{"SOCK_SEQPACKET", unix.SOCK_SEQPACKET},
		{"SOCK_CLOEXEC", unix.SOCK_CLOEXEC},
		{"SOCK_NONBLOCK", unix.SOCK_NONBLOCK},
	}},
	{[]callID{callPtrace}, 0, []constant{
		{"PTRACE_TRACEME", unix.PTRACE_TRACEME},
		{"PTRACE_ATTACH", unix.PTRACE_ATTACH},
		{"PTRACE_SEIZE", unix.PTRACE_SEIZE},
		{"PTRACE_DETACH", unix.PTRACE_DETACH},
	}},
	{[]callID{callSeccomp}, 0, []constant{
		{"SECCOMP_SET_MODE_STRICT", unix.SECCOMP_SET_MODE_STRICT},
		{"SECCOMP_SET_MODE_FILTER", unix.SECCOMP_SET_MODE_FILTER},
	}},
	{[]callID{callSeccomp}, 1, []constant{
		{"SECCOMP_FILTER_FLAG_NEW_LISTENER", unix.SECCOMP_FILTER_FLAG_NEW_LISTENER},
		{"SECCOMP_FILTER_FLAG_TSYNC", unix.SECCOMP_FILTER_FLAG_TSYNC},
	}},
}

var whences = []constant{
	{"SEEK_SET", unix.SEEK_SET},
	{"SEEK_CUR", unix.SEEK_CUR},
	{"SEEK_END", unix.SEEK_END},
	{"SEEK_DATA", unix.SEEK_DATA},
	{"SEEK_HOLE", unix.SEEK_HOLE},
}

func constantsOf(id callID, argument uint8) []constant {
	for _, group := range constants {
		for _, c := range group.calls {
			if c == id && group.argument == argument {
				return group.names
			}
		}
	}
	return nil
}

// valueName prints a value of an argument, by name where it has one.
func valueName(id callID, argument uint8, value uint32) string {
	for _, c := range constantsOf(id, argument) {
		if c.value == value {
			return c.name
		}
	}
	if value > 1<<16 {
		return fmt.Sprintf("%#x", value)
	}
	return strconv.Itoa(int(value))
}

// argumentName is the kernel's name for an argument.
func argumentName(id callID, argument uint8) string {
	list := calls[id].arguments()
	if int(argument) >= len(list) {
		return fmt.Sprintf("argument %d", argument+1)
	}
	_, name, _ := strings.Cut(list[argument], " ")
	return name
}

// answerName says an answer in words.
func answerName(answer uint32) string {
	switch {
	case answer == unix.SECCOMP_RET_ALLOW:
		return "permitted"
	case answer == unix.SECCOMP_RET_LOG:
		return "permitted and logged"
	case answer == unix.SECCOMP_RET_KILL_PROCESS:
		return "the process is killed (SIGSYS)"
	case answer == unix.SECCOMP_RET_KILL_THREAD:
		return "the thread is killed (SIGSYS)"
	case answer == unix.SECCOMP_RET_TRAP:
		return "refused with the signal SIGSYS"
	case answer&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_TRACE:
		return "left to a tracer, refused with ENOSYS where there is none"
	case answer == unix.SECCOMP_RET_USER_NOTIF:
		return "the supervisor is asked"
	case answer == refused(0):
		return "success is reported and nothing done"
	}
	return "refused with " + errnoName(unix.Errno(answer&unix.SECCOMP_RET_DATA))
}

// A Call is a system call as a filter sees it: struct seccomp_data of seccomp(2) without the instruction pointer.
type Call struct {
	Number    int32
	Audit     uint32 // the AUDIT_ARCH value of the table that Number is of
	Arguments [6]uint64
}

// Name is the call's name in the kernel's tables, and empty for a call that no rule is about.
func (c Call) Name() string {
	id, _ := c.find()
	if id < 0 {
		return ""
	}
	return calls[id].name
}

// Narrow reports whether the call came from a program whose registers and pointers have 32 bits.
func (c Call) Narrow() bool {
	_, machine := c.find()
	return machine >= 0 && machines[machine].narrow
}

func (c Call) find() (id, machine int) {
	machine = slices.IndexFunc(machines[:], func(m machineTable) bool { return m.audit == c.Audit })
	if machine < 0 {
		return -1, -1
	}
	return slices.IndexFunc(calls[:], func(known call) bool { return known.number[machine] == c.Number }), machine
}

// String writes the call as in C, as far as numbers tell: "fcntl(1, F_SETFL, 2048)".
func (c Call) String() string {
	id, _ := c.find()
	if id < 0 {
		return fmt.Sprintf("call %d", c.Number)
	}
	var words []string
	for i, argument := range calls[id].arguments() {
		if i >= len(c.Arguments) {
			break
		}
		kind, _, _ := strings.Cut(argument, " ")
		words = append(words, c.word(callID(id), uint8(i), kind))
	}
	return calls[id].name + "(" + strings.Join(words, ", ") + ")"
}

func (c Call) word(id callID, argument uint8, kind string) string {
	value := c.Arguments[argument]
	switch {
	case kind == "fd":
		return strconv.Itoa(int(int32(value)))
	case kind == "ptr" || kind == "ulong" && value > 1<<16:
		return fmt.Sprintf("%#x", value)
	case id == callFlock && value&unix.LOCK_NB != 0:
		return valueName(id, argument, uint32(value)&^unix.LOCK_NB) + "|LOCK_NB"
	}
	return valueName(id, argument, uint32(value))
}
