package seccomp

import (
	"fmt"
	"strings"
)

// Op is a set of operations: classes of things that a program does to an open file description.
type Op uint16

// The operations, in the order in which String lists them.
const (
	Dup    Op = 1 << iota // a second descriptor for it: dup, dup2, dup3, F_DUPFD
	Pass                  // to another process: SCM_RIGHTS and what brings descriptors in
	Steal                 // out of another process: pidfd_getfd, ptrace, process_vm_writev, /proc/PID/mem
	Flags                 // status flags: F_SETFL, FIONBIO, FIOASYNC, mq_setattr
	Owner                 // who gets its signals: F_SETOWN, F_SETSIG and what sets the owner on the way
	Lock                  // flock, OFD locks, leases
	Seek                  // the offset, moved as such: lseek, getdents
	Offset                // the offset, moved in any way: seek, and read and write too
	Mode                  // access pattern and RWF_NOWAIT: fadvise, readahead, splice, vmsplice
	Wberr                 // the write error that the next fsync reports
	TTY                   // input faked into a terminal: TIOCSTI, TIOCLINUX
)

// DefaultGuard is what a guard holds when nothing else is named.
const DefaultGuard = Flags | Owner | Lock | Seek

// Pretendable can be reported as done without harm: the caller asks for a state and never reads it back at once.
const Pretendable = Flags | Owner | Lock

// guardable needs a rule for each guarded number.
const guardable = Flags | Owner | Lock | Seek | Offset | Mode

var opNames = [...]string{
	"dup", "pass", "steal", "flags", "owner", "lock", "seek", "offset", "mode", "wberr", "tty",
}

// String lists the operations separated by commas, as ParseDeny and ParseGuard take them; the empty set is "none".
func (o Op) String() string {
	var names []string
	for i, name := range opNames {
		if o&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ",")
}

// ParseDeny reads a comma-separated list of operations that are to be refused on every descriptor. It refuses offset,
// which no program can do without.
func ParseDeny(text string) (Op, error) {
	ops, err := parseOps(text)
	if err != nil {
		return 0, err
	}
	return ops, checkDeny(ops)
}

// ParseGuard reads a comma-separated list of operations that a guard is to hold. What a guard holds anyway (dup, pass,
// steal, tty) is left out of the result; wberr is refused.
func ParseGuard(text string) (Op, error) {
	ops, err := parseOps(text)
	if err != nil {
		return 0, err
	}
	if err := checkGuard(ops); err != nil {
		return 0, err
	}
	return ops & guardable, nil
}

func parseOps(text string) (Op, error) {
	var ops Op
	for _, word := range strings.Split(text, ",") {
		op, err := parseOp(word)
		if err != nil {
			return 0, err
		}
		ops |= op
	}
	return ops, nil
}

func parseOp(word string) (Op, error) {
	for i, name := range opNames {
		if word == name {
			return 1 << i, nil
		}
	}
	if word == "" {
		return 0, fmt.Errorf("an operation is missing (they are %s)", strings.Join(opNames[:], ", "))
	}
	return 0, fmt.Errorf("there is no operation %q (they are %s)", word, strings.Join(opNames[:], ", "))
}

func checkDeny(ops Op) error {
	if ops&Offset != 0 {
		return fmt.Errorf("offset can't be denied on every descriptor, " +
			"as no program could read its libraries: deny seek instead")
	}
	return nil
}

func checkGuard(ops Op) error {
	if ops&Wberr != 0 {
		return fmt.Errorf("wberr can't be guarded, as a mapping and AIO reach the error without a descriptor: " +
			"deny wberr instead")
	}
	return nil
}
