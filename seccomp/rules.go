package seccomp

import (
	"math/bits"
	"slices"

	"golang.org/x/sys/unix"
)

// rule is one line of a filter: when a call's descriptors and values are of these, it gets the answer.
type rule struct {
	*row
	call    callID
	fdCount uint8
	answer  uint32 // what the filter returns
	fds     [2]fdTest
}

// fdTest holds when an argument, taken as a descriptor, is a number of one of the classes.
type fdTest struct {
	argument uint8
	classes  uint32 // bit i for class i; class 0 is every number that is in no other
}

// value holds when an argument, cut to the mask, is one of the set (or, with not, none of it). An argument that the
// kernel takes whole is compared whole, with one value that both halves must have: 0 or all ones.
type value struct {
	argument uint8
	not      bool
	mask     uint32
	set      []uint32
	narrow   bool // only where registers hold 32 bits
}

func is(argument uint8, set ...uint32) value { return value{argument: argument, mask: all, set: set} }

func isNot(argument uint8, set ...uint32) value {
	return value{argument: argument, not: true, mask: all, set: set}
}

func masked(argument uint8, mask uint32, set ...uint32) value {
	return value{argument: argument, mask: mask, set: set}
}

const all = 0xffffffff

// row is one way to do an operation. The table of rows is the whole knowledge of what changes a description.
type row struct {
	op     Op // any of these brings the row in
	calls  []callID
	fd     int8 // which argument is the descriptor; none where there is none, or it is in memory
	values []value
	kinds  kinds // where the row isn't pointless
	onto   bool  // a duplicate that is permitted onto a number with at least the same rules
	unless Op    // these have a row that does the same
	where  where
}

// where says what a row is good for.
type where uint8

const (
	inDeny   where = 1 << iota // when the operation is denied everywhere
	byNumber                   // when it is guarded on a number
	inGuard                    // in every guard, on no number
	besides                    // not the operation itself: answers EPERM whatever was named
	absent                     // answers ENOSYS: runtimes probe for it and fall back

	everywhere = inDeny | byNumber
)

// kinds is a set of kinds, a bit for each.
type kinds uint16

func kindsOf(list ...Kind) (set kinds) {
	for _, k := range list {
		set |= 1 << k
	}
	return set
}

// Values that package unix has no name for.
const (
	fSetdeleg   = 1040   // F_SETDELEG, Linux 6.19
	dspNonblock = 0x500e // SNDCTL_DSP_NONBLOCK
	// The kernel looks at type and number of these two only, so size and direction must not be compared.
	notifAddfd      = 0x2103 // SECCOMP_IOCTL_NOTIF_ADDFD
	binderWriteRead = 0x6201 // BINDER_WRITE_READ
	ioctlNumber     = 0xffff // type and number of an ioctl
)

var (
	anyKind = kinds(1<<len(kindNames) - 1)
	// Everything else has no offset, or one that nothing looks at.
	withOffset = kindsOf(Unknown, Regular, Directory, Device, Queue)
	// A queue's inode is a regular file's, and so are those of events in newer kernels.
	withLeases = kindsOf(Unknown, Regular, Directory, Queue, Event)
	// Turning O_ASYNC on takes the ownership of a terminal and of some devices (tun).
	asyncOwns = kindsOf(Unknown, Terminal, Device)
	pipes     = kindsOf(Unknown, Pipe)
	sockets   = kindsOf(Unknown, Socket, UnixSocket, UnixListener)

	fcntls    = []callID{callFcntl, callFcntl64}
	sendfiles = []callID{callSendfile, callSendfile64}
	// upperWord is the half of a position that has an argument of its own.
	upperWord = value{argument: 4, mask: all, set: []uint32{all}, narrow: true}
	uringOps  = Dup | Pass | Offset | Mode | Wberr
)

// rows is the table. By number there are at most 64 rows: a set of them is kept in a word.
var rows = [...]row{
	{op: Dup, calls: []callID{callDup}, kinds: anyKind, where: everywhere},
	{op: Dup, calls: fcntls, values: []value{is(1, unix.F_DUPFD, unix.F_DUPFD_CLOEXEC)}, kinds: anyKind, where: everywhere},
	{op: Dup, calls: []callID{callDup2, callDup3}, kinds: anyKind, onto: true, where: everywhere},

	{
		op: Pass, calls: []callID{callSendmsg, callSendmmsg, callRecvmsg, callRecvmmsg, callRecvmmsgTime64},
		kinds: anyKind, where: everywhere,
	},
	{op: Pass, calls: []callID{callSeccomp}, fd: none, values: []value{masked(1, 8, 8)}, where: inDeny | inGuard},
	{
		op: Pass, calls: []callID{callIoctl}, fd: none, where: inDeny | inGuard,
		values: []value{masked(1, ioctlNumber, notifAddfd, binderWriteRead)},
	},

	// A process can take descriptors out of itself too.
	{op: Steal | Dup, calls: []callID{callPidfdGetfd}, fd: none, where: inDeny | inGuard},
	{op: Steal, calls: []callID{callProcessVMWritev}, fd: none, where: inDeny | inGuard},
	{
		op: Steal, calls: []callID{callPtrace}, fd: none, where: inDeny | inGuard,
		values: []value{is(0, unix.PTRACE_ATTACH, unix.PTRACE_SEIZE)},
	},

	{op: Flags, calls: fcntls, values: []value{is(1, unix.F_SETFL)}, kinds: anyKind, where: everywhere},
	{op: Flags, calls: []callID{callIoctl}, values: []value{is(1, fionbio, fioasync)}, kinds: anyKind, where: everywhere},
	{
		op: Flags, calls: []callID{callIoctl}, values: []value{is(1, dspNonblock)},
		kinds: kindsOf(Unknown, Device), where: everywhere,
	},
	{
		op: Flags, calls: []callID{callMqGetsetattr}, values: []value{isNot(1, 0)},
		kinds: kindsOf(Unknown, Queue), where: everywhere,
	},
	// Parsing the fd= option of autofs and 9p changes the flags of a pipe, even when the mount is refused.
	{op: Flags, calls: []callID{callMount, callFsconfig}, fd: none, where: inDeny | besides},

	{
		op: Owner, calls: fcntls, values: []value{is(1, unix.F_SETOWN, unix.F_SETSIG, unix.F_SETOWN_EX)},
		kinds: anyKind, where: everywhere,
	},
	{
		op: Owner, calls: fcntls, values: []value{is(1, unix.F_NOTIFY)},
		kinds: kindsOf(Unknown, Directory), where: everywhere,
	},
	{op: Owner, calls: fcntls, values: []value{is(1, unix.F_SETFL)}, kinds: asyncOwns, unless: Flags, where: everywhere},
	{op: Owner, calls: []callID{callIoctl}, values: []value{is(1, fioasync)}, kinds: asyncOwns, unless: Flags, where: everywhere},
	{op: Owner, calls: []callID{callIoctl}, values: []value{is(1, fiosetown, siocspgrp)}, kinds: sockets, where: everywhere},

	{op: Lock, calls: []callID{callFlock}, kinds: anyKind, where: everywhere},
	{op: Lock, calls: fcntls, values: []value{is(1, unix.F_OFD_SETLK, unix.F_OFD_SETLKW)}, kinds: anyKind, where: everywhere},
	// A lease sets the owner as well.
	{
		op: Lock | Owner, calls: fcntls, values: []value{is(1, unix.F_SETLEASE, fSetdeleg)},
		kinds: withLeases, where: everywhere,
	},

	// SEEK_CUR by nothing only asks.
	{op: Seek, calls: []callID{callLseek}, values: []value{isNot(2, unix.SEEK_CUR)}, kinds: withOffset, where: everywhere},
	{op: Seek, calls: []callID{callLseek}, values: []value{isNot(1, 0)}, kinds: withOffset, where: everywhere},
	{op: Seek, calls: []callID{callLlseek}, values: []value{isNot(4, unix.SEEK_CUR)}, kinds: withOffset, where: everywhere},
	{op: Seek, calls: []callID{callLlseek}, values: []value{isNot(1, 0)}, kinds: withOffset, where: everywhere},
	{op: Seek, calls: []callID{callLlseek}, values: []value{isNot(2, 0)}, kinds: withOffset, where: everywhere},
	{
		op: Seek, calls: []callID{callGetdents, callGetdents64, callReaddir},
		kinds: kindsOf(Unknown, Directory), where: everywhere,
	},

	{op: Offset, calls: []callID{callRead, callWrite, callReadv, callWritev}, kinds: withOffset, where: byNumber},
	// A position of -1 means the description's own. On 64 bits the kernel ignores the upper word.
	{
		op: Offset, calls: []callID{callPreadv2, callPwritev2}, values: []value{is(3, all), upperWord},
		kinds: withOffset, where: byNumber,
	},
	{op: Offset, calls: sendfiles, kinds: withOffset, where: byNumber},
	{op: Offset, calls: sendfiles, fd: 1, values: []value{is(2, 0)}, kinds: withOffset, where: byNumber},
	{
		op: Offset, calls: []callID{callSplice, callCopyFileRange}, values: []value{is(1, 0)},
		kinds: withOffset, where: byNumber,
	},
	{
		op: Offset, calls: []callID{callSplice, callCopyFileRange}, fd: 2, values: []value{is(3, 0)},
		kinds: withOffset, where: byNumber,
	},

	{
		op: Mode, calls: []callID{callFadvise64, callFadvise64x64, callArmFadvise, callReadahead},
		kinds: anyKind&^(pipes|sockets) | kindsOf(Unknown), where: everywhere,
	},
	// These clear FMODE_NOWAIT of a pipe, even when they fail.
	{op: Mode, calls: []callID{callSplice, callVmsplice}, kinds: pipes, where: everywhere},
	{op: Mode, calls: []callID{callSplice}, fd: 2, kinds: pipes, where: everywhere},

	{
		op: Wberr, fd: none, where: inDeny,
		calls: []callID{callFsync, callFdatasync, callSyncfs, callSyncFileRange, callArmSyncFileRange, callIoSubmit},
	},

	{
		op: TTY, calls: []callID{callIoctl}, fd: none, where: inDeny | inGuard,
		values: []value{is(1, unix.TIOCSTI, unix.TIOCLINUX)},
	},

	// A ring does all this without a call that a filter sees.
	{
		op: uringOps, calls: []callID{callIoUringSetup, callIoUringEnter, callIoUringRegister}, fd: none,
		where: inDeny | inGuard | absent,
	},
}

// The ioctl requests are the same on every machine that there is a table for.
const (
	fionbio   = 0x5421
	fioasync  = 0x5452
	fiosetown = 0x8901
	siocspgrp = 0x8902
)

// Rows that a guard adds as it needs them, all answered with EPERM.
var (
	mountRow    = row{op: Flags, calls: []callID{callMount, callFsconfig}, fd: none}
	unixRow     = row{op: Pass, calls: []callID{callSocket}, fd: none, values: []value{is(0, unix.AF_UNIX)}}
	unixPairRow = row{op: Pass, calls: []callID{callSocketpair}, fd: none, values: []value{is(0, unix.AF_UNIX)}}
	// A datagram end, and a raw one is a datagram one, can be sent to any outside server by address.
	unixDatagramPairRow = row{op: Pass, calls: []callID{callSocketpair}, fd: none, values: []value{
		is(0, unix.AF_UNIX), {argument: 1, not: true, mask: 0xf, set: []uint32{unix.SOCK_STREAM, unix.SOCK_SEQPACKET}},
	}}
	// What these bring has a number that no rule knows.
	receiveRow = row{op: Pass, calls: []callID{callRecvmsg, callRecvmmsg, callRecvmmsgTime64}, fd: none}
	sendRow    = row{op: Pass, calls: []callID{callSendmsg, callSendmmsg}, fd: none}
	// The arguments of socketcall are in memory, so where a socket call has a rule it is refused whole.
	socketcallRow = row{op: Pass, calls: []callID{callSocketcall}, fd: none}
)

var socketCalls = []callID{
	callSocket, callSocketpair, callSendmsg, callSendmmsg, callRecvmsg, callRecvmmsg, callRecvmmsgTime64,
}

// class is a set of kept numbers that have the same rules.
type class struct {
	rows    uint64 // bit i for rows[i]
	flags   Op     // Flags, when they are guarded
	pretend bool   // flags are pretended
}

// span is a range of numbers of one class.
type span struct {
	lo, hi uint32
	class  int
}

// ruleSet is what a policy becomes: what the compiler, the exports and the judge work from.
type ruleSet struct {
	rules   []rule
	classes []class // the first stands for every other number
	spans   []span  // in ascending order
}

// maxClasses is how many classes fit into the mask of an fdTest.
const maxClasses = 32

// refusal is what a named operation is answered with.
func (p Policy) refusal(r *row) uint32 {
	switch p.Action {
	case 0:
		return refused(unix.EPERM)
	case Kill:
		return unix.SECCOMP_RET_KILL_PROCESS
	case Log:
		return unix.SECCOMP_RET_LOG
	case Pretend:
		if r.op&Pretendable != 0 {
			return refused(0)
		}
		return refused(unix.EPERM)
	}
	return refused(unix.Errno(p.Action))
}

func refused(errno unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(errno) }

// rules turns a checked policy into rules.
func (p Policy) rules(kept []Descriptor) (*ruleSet, error) {
	set := &ruleSet{classes: make([]class, 1, 8), spans: make([]span, 0, len(kept))}
	if err := set.classify(p, kept); err != nil {
		return nil, err
	}
	set.rules = make([]rule, 0, 48+3*len(set.classes))
	set.denied(p)
	if p.Guard {
		set.always()
		set.numbered(p)
		set.closed(p, kept)
	}
	set.socketcall()
	return set, nil
}

// asking has a rule for each way to do what is guarded on any descriptor, whatever the number.
func (p Policy) asking(kept []Descriptor) *ruleSet {
	set := &ruleSet{classes: make([]class, 1)}
	var flags Op
	for _, d := range kept {
		flags |= d.Guard & Flags
	}
	for i := range rows {
		r := &rows[i]
		if r.where&byNumber == 0 || r.op&guardable == 0 || r.unless&flags != 0 {
			continue
		}
		if slices.ContainsFunc(kept, func(d Descriptor) bool { return d.Guard&r.op != 0 && r.kinds&(1<<d.Kind) != 0 }) {
			set.addRow(r, unix.SECCOMP_RET_USER_NOTIF)
		}
	}
	return set
}

// classify sorts the numbers into classes.
func (s *ruleSet) classify(p Policy, kept []Descriptor) error {
	guarded := anyGuarded(kept)
	sets := newRowSets()
	last, lastClass := Descriptor{}, 0
	for _, d := range kept {
		d.Guard = d.held(p, guarded)
		if d.Guard == 0 {
			continue
		}
		number := uint32(d.Number)
		d.Number = 0
		if lastClass == 0 || d != last {
			last, lastClass = d, s.classOf(class{sets.of(d), d.Guard & Flags, d.Advisory && p.Action == 0})
		}
		s.add(number, lastClass)
	}
	if len(s.classes) > maxClasses {
		return errTooManyClasses
	}
	return nil
}

func (s *ruleSet) add(number uint32, class int) {
	if n := len(s.spans); n > 0 && s.spans[n-1].class == class && s.spans[n-1].hi+1 == number {
		s.spans[n-1].hi = number
		return
	}
	s.spans = append(s.spans, span{number, number, class})
}

func (s *ruleSet) classOf(c class) int {
	for i := 1; i < len(s.classes); i++ {
		if s.classes[i] == c {
			return i
		}
	}
	s.classes = append(s.classes, c)
	return len(s.classes) - 1
}

// held is what must not be done through the number: what is guarded, dup where no copy may get away, and messages on a
// UNIX socket.
func (d Descriptor) held(p Policy, guarded bool) Op {
	ops := d.Guard & guardable
	if p.ByDescription {
		ops = 0
	}
	if ops&Offset != 0 {
		ops |= Seek // which is one way to move it
	}
	unixSocket := guarded && p.Passing != PassAllow && (d.Kind == UnixSocket || d.Kind == UnixListener)
	if unixSocket {
		ops |= Pass
	}
	if !d.Advisory && (ops&guardable != 0 || unixSocket && d.Number > 2) {
		ops |= Dup
	}
	return ops
}

// rowSets are sets of the rows for numbers, with bit i for rows[i].
type rowSets struct {
	ofKind  [len(kindNames)]uint64 // those that aren't pointless for it
	ofOp    [len(opNames)]uint64   // those that do it
	instead [len(opNames)]uint64   // those whose work its own row does
}

func newRowSets() (sets rowSets) {
	for i := range rows {
		r := &rows[i]
		if r.where&byNumber == 0 {
			continue
		}
		for kinds := r.kinds; kinds != 0; kinds &= kinds - 1 {
			sets.ofKind[bits.TrailingZeros16(uint16(kinds))] |= 1 << i
		}
		for ops := r.op; ops != 0; ops &= ops - 1 {
			sets.ofOp[bits.TrailingZeros16(uint16(ops))] |= 1 << i
		}
		for ops := r.unless; ops != 0; ops &= ops - 1 {
			sets.instead[bits.TrailingZeros16(uint16(ops))] |= 1 << i
		}
	}
	return sets
}

func (s *rowSets) of(d Descriptor) uint64 {
	var named uint64
	useful := s.ofKind[d.Kind]
	for ops := d.Guard; ops != 0; ops &= ops - 1 {
		op := bits.TrailingZeros16(uint16(ops))
		named |= s.ofOp[op]
		useful |= s.instead[op]
	}
	return named & useful
}

// denied adds what is refused on every descriptor.
func (s *ruleSet) denied(p Policy) {
	for i := range rows {
		r := &rows[i]
		if r.where&inDeny == 0 || r.op&p.Deny == 0 {
			continue
		}
		answer := p.refusal(r)
		switch {
		case r.where&absent != 0:
			answer = refused(unix.ENOSYS)
		case r.where&besides != 0 && p.Action != Log:
			answer = refused(unix.EPERM)
		}
		s.addRow(r, answer)
	}
}

// always adds what every guard needs.
func (s *ruleSet) always() {
	for i := range rows {
		r := &rows[i]
		if r.where&inGuard == 0 {
			continue
		}
		answer := refused(unix.EPERM)
		if r.where&absent != 0 {
			answer = refused(unix.ENOSYS)
		}
		s.addRow(r, answer)
	}
}

// numbered adds what is refused on the numbers of the classes.
func (s *ruleSet) numbered(p Policy) {
	for i := range rows {
		r := &rows[i]
		if r.where&byNumber == 0 {
			continue
		}
		if r.onto {
			s.numberedOnto(r, i)
			continue
		}
		var held, pretended uint32
		for c := 1; c < len(s.classes); c++ {
			switch {
			case s.classes[c].rows&(1<<i) == 0, r.unless&s.classes[c].flags != 0:
			case r.op == Flags && s.classes[c].pretend:
				pretended |= 1 << c
			default:
				held |= 1 << c
			}
		}
		answer := refused(unix.EPERM)
		if r.op&guardable != 0 {
			answer = p.refusal(r)
		}
		s.addRow(r, answer, fdTest{uint8(r.fd), held})
		s.addRow(r, refused(0), fdTest{uint8(r.fd), pretended})
	}
}

// numberedOnto adds, for each class, that a duplicate may only replace a number with at least the same rules: a number with
// fewer would be a way out.
func (s *ruleSet) numberedOnto(r *row, index int) {
	for c := 1; c < len(s.classes); c++ {
		if s.classes[c].rows&(1<<index) == 0 {
			continue
		}
		var others uint32
		for t := range s.classes {
			if s.classes[c].rows&^s.classes[t].rows != 0 {
				others |= 1 << t
			}
		}
		s.addRow(r, refused(unix.EPERM), fdTest{uint8(r.fd), 1 << c}, fdTest{uint8(r.fd) + 1, others})
	}
}

// closed adds the ways around the numbers.
func (s *ruleSet) closed(p Policy, kept []Descriptor) {
	if p.mountsMatter(kept) {
		answer := refused(unix.EPERM)
		if p.Action == Log {
			answer = unix.SECCOMP_RET_LOG
		}
		s.addRow(&mountRow, answer)
	}
	if !anyConfined(kept) {
		return // the others may be duplicated anyway
	}
	var passing []*row
	switch {
	case p.Passing == PassTree:
		passing = []*row{&unixDatagramPairRow}
		if p.domain(kept) != socketDomain {
			passing = append(passing, &unixRow)
		}
		if !p.ByDescription {
			passing = append(passing, &receiveRow)
		}
	case p.Passing == PassNoUnix:
		passing = []*row{&unixRow, &unixPairRow}
	case p.Passing == PassNoSendmsg:
		passing = []*row{&sendRow}
	}
	for _, r := range passing {
		s.addRow(r, refused(unix.EPERM))
	}
}

// mountsMatter reports whether mounting something could change a guarded description: a pipe's flags by autofs in a user
// namespace, anything by 9p with privilege.
func (p Policy) mountsMatter(kept []Descriptor) bool {
	for _, d := range kept {
		if d.Guard&guardable != 0 && p.Privileged || d.Guard&Flags != 0 && pipes&(1<<d.Kind) != 0 {
			return true
		}
	}
	return false
}

// socketcall adds the i386 call that does the work of all the others.
func (s *ruleSet) socketcall() {
	for _, r := range s.rules {
		for _, c := range socketCalls {
			if r.call == c {
				s.addRow(&socketcallRow, refused(unix.EPERM))
				return
			}
		}
	}
}

// addRow adds a rule for each call of a row, unless no number could meet it.
func (s *ruleSet) addRow(r *row, answer uint32, fds ...fdTest) {
	for _, test := range fds {
		if test.classes == 0 {
			return
		}
	}
	for _, id := range r.calls {
		added := rule{row: r, call: id, answer: answer, fdCount: uint8(len(fds))}
		copy(added.fds[:], fds)
		s.rules = append(s.rules, added)
	}
}
