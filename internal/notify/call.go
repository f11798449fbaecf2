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

// deedOf reads a call. The kernel compares descriptors, commands and requests in their low 32 bits.
func deedOf(call seccomp.Call) deed {
	command := uint32(call.Arguments[1])
	switch call.Name() {
	case "fcntl", "fcntl64":
		return deedOfFcntl(command)
	case "ioctl":
		return deedOfIoctl(command)
	case "mq_getsetattr":
		return queueFlags
	case "flock":
		return lockFile
	case "lseek":
		return seek
	case "_llseek":
		return seekLong
	case "getdents", "getdents64":
		return readDirectory
	}
	return unknown
}

func deedOfFcntl(command uint32) deed {
	switch command {
	case unix.F_SETFL:
		return setFlags
	case unix.F_SETOWN:
		return setOwner
	case unix.F_SETOWN_EX:
		return setOwnerEx
	case unix.F_SETSIG:
		return setSignal
	case unix.F_NOTIFY:
		return notify
	case unix.F_OFD_SETLK, unix.F_OFD_SETLKW:
		return lockRange
	case unix.F_SETLEASE:
		return setLease
	case fSetdeleg:
		return setDelegation
	}
	return unknown
}

func deedOfIoctl(request uint32) deed {
	switch request {
	case fionbio:
		return setNonblock
	case fioasync:
		return setAsync
	case dspNonblock:
		return soundNonblock
	case fiosetown, siocspgrp:
		return setOwnerIoctl
	}
	return unknown
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
