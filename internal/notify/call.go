package notify

import (
	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/seccomp"
)

// A deed is what a call would do, read off its number and arguments.
type deed uint8

const (
	unknown deed = iota
	setFlags
	setNonblock   // FIONBIO
	setAsync      // FIOASYNC
	soundNonblock // SNDCTL_DSP_NONBLOCK
	queueFlags    // mq_getsetattr
	setOwner      // F_SETOWN
	setOwnerEx    // F_SETOWN_EX
	setOwnerIoctl // FIOSETOWN, SIOCSPGRP
	setSignal     // F_SETSIG
	notify        // F_NOTIFY
	lockFile      // flock
	lockRange     // F_OFD_SETLK, F_OFD_SETLKW
	setLease      // F_SETLEASE
	setDelegation // F_SETDELEG
	seek          // lseek
	seekLong      // _llseek
	readDirectory // getdents, getdents64
)

// The numbers that package unix lacks. They are the same on every machine that there is a table for.
const (
	fSetdeleg   = 1040
	fionbio     = 0x5421
	fioasync    = 0x5452
	dspNonblock = 0x500e
	fiosetown   = 0x8901
	siocspgrp   = 0x8902
)

var fcntls = map[uint32]deed{
	unix.F_SETFL: setFlags, unix.F_SETOWN: setOwner, unix.F_SETOWN_EX: setOwnerEx, unix.F_SETSIG: setSignal,
	unix.F_NOTIFY: notify, unix.F_OFD_SETLK: lockRange, unix.F_OFD_SETLKW: lockRange,
	unix.F_SETLEASE: setLease, fSetdeleg: setDelegation,
}

var ioctls = map[uint32]deed{
	fionbio: setNonblock, fioasync: setAsync, dspNonblock: soundNonblock, fiosetown: setOwnerIoctl, siocspgrp: setOwnerIoctl,
}

var others = map[string]deed{
	"mq_getsetattr": queueFlags, "flock": lockFile, "lseek": seek, "_llseek": seekLong,
	"getdents": readDirectory, "getdents64": readDirectory,
}

// deedOf reads a call. The kernel compares descriptors, commands and requests in their low 32 bits.
func deedOf(call seccomp.Call) deed {
	command := uint32(call.Arguments[1])
	switch name := call.Name(); name {
	case "fcntl", "fcntl64":
		return fcntls[command]
	case "ioctl":
		return ioctls[command]
	default:
		return others[name]
	}
}

// operations are those that a deed belongs to: any of them, guarded, forbids it.
func (d deed) operations(call seccomp.Call) seccomp.Op {
	switch d {
	case setFlags:
		if call.Arguments[2]&unix.O_ASYNC != 0 {
			return seccomp.Flags | seccomp.Owner // a terminal takes an owner with it
		}
		return seccomp.Flags
	case setAsync:
		return seccomp.Flags | seccomp.Owner
	case setNonblock, soundNonblock, queueFlags:
		return seccomp.Flags
	case setOwner, setOwnerEx, setOwnerIoctl, setSignal, notify:
		return seccomp.Owner
	case lockFile, lockRange:
		return seccomp.Lock
	case setLease, setDelegation:
		return seccomp.Lock | seccomp.Owner
	case seek, seekLong, readDirectory:
		return seccomp.Seek
	}
	return ^seccomp.Op(0) // whatever it is, it isn't done to what is guarded
}
