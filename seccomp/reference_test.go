package seccomp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// attempt is one thing that a call would do: an operation, on the description behind an argument (or -1), which only
// means something for certain kinds.
type attempt struct {
	op    Op
	fd    int
	kinds []Kind // nil for all
}

// attempts says what a call does, from the kernel's manual: the reference that the filters are compared with. It knows
// nothing of the table of rows.
func attempts(name string, narrow bool, a [6]uint64) (list []attempt) {
	low := func(i int) uint32 { return uint32(a[i]) }
	same := func(i int, v uint64) bool { return a[i] == v || narrow && uint32(a[i]) == uint32(v) }
	do := func(op Op, fd int, kinds ...Kind) { list = append(list, attempt{op, fd, kinds}) }
	offsetKinds := []Kind{Unknown, Regular, Directory, Device, Queue}
	switch name {
	case "dup", "dup2", "dup3":
		do(Dup, 0)
	case "fcntl", "fcntl64":
		switch low(1) {
		case 0, 1030: // F_DUPFD, F_DUPFD_CLOEXEC
			do(Dup, 0)
		case 4: // F_SETFL
			do(Flags, 0)
			do(Owner, 0, Unknown, Terminal, Device)
		case 8, 10, 15: // F_SETOWN, F_SETSIG, F_SETOWN_EX
			do(Owner, 0)
		case 1026: // F_NOTIFY
			do(Owner, 0, Unknown, Directory)
		case 1024, 1040: // F_SETLEASE, F_SETDELEG
			do(Owner|Lock, 0, Unknown, Regular, Directory, Queue, Event)
		case 37, 38: // F_OFD_SETLK, F_OFD_SETLKW
			do(Lock, 0)
		}
	case "ioctl":
		switch low(1) {
		case 0x5421: // FIONBIO
			do(Flags, 0)
		case 0x5452: // FIOASYNC
			do(Flags, 0)
			do(Owner, 0, Unknown, Terminal, Device)
		case 0x500e: // SNDCTL_DSP_NONBLOCK
			do(Flags, 0, Unknown, Device)
		case 0x8901, 0x8902: // FIOSETOWN, SIOCSPGRP
			do(Owner, 0, Unknown, Socket, UnixSocket, UnixListener)
		case 0x5412, 0x541c: // TIOCSTI, TIOCLINUX
			do(TTY, -1)
		}
		if n := low(1) & 0xffff; n == 0x2103 || n == 0x6201 { // NOTIF_ADDFD, BINDER_WRITE_READ
			do(Pass, -1)
		}
	case "mq_getsetattr":
		if !same(1, 0) {
			do(Flags, 0, Unknown, Queue)
		}
	case "flock":
		do(Lock, 0)
	case "lseek":
		if low(2) != unix.SEEK_CUR || !same(1, 0) {
			do(Seek, 0, offsetKinds...)
		}
	case "_llseek":
		if low(4) != unix.SEEK_CUR || !same(1, 0) || !same(2, 0) {
			do(Seek, 0, offsetKinds...)
		}
	case "getdents", "getdents64", "readdir":
		do(Seek, 0, Unknown, Directory)
	case "read", "write", "readv", "writev":
		do(Offset, 0, offsetKinds...)
	case "preadv2", "pwritev2":
		if !narrow && a[3] == ^uint64(0) || narrow && low(3) == ^uint32(0) && low(4) == ^uint32(0) {
			do(Offset, 0, offsetKinds...)
		}
	case "sendfile", "sendfile64":
		do(Offset, 0, offsetKinds...)
		if same(2, 0) {
			do(Offset, 1, offsetKinds...)
		}
	case "splice", "copy_file_range":
		if same(1, 0) {
			do(Offset, 0, offsetKinds...)
		}
		if same(3, 0) {
			do(Offset, 2, offsetKinds...)
		}
		if name == "splice" {
			do(Mode, 0, Unknown, Pipe)
			do(Mode, 2, Unknown, Pipe)
		}
	case "vmsplice":
		do(Mode, 0, Unknown, Pipe)
	case "fadvise64", "fadvise64_64", "arm_fadvise64_64", "readahead":
		do(Mode, 0, Unknown, Regular, Directory, Terminal, Device, Queue, Event)
	case "fsync", "fdatasync", "syncfs", "sync_file_range", "arm_sync_file_range", "io_submit":
		do(Wberr, -1)
	case "sendmsg", "sendmmsg", "recvmsg", "recvmmsg", "recvmmsg_time64":
		do(Pass, 0)
	case "seccomp":
		if low(1)&8 != 0 {
			do(Pass, -1)
		}
	case "pidfd_getfd":
		do(Steal|Dup, -1)
	case "process_vm_writev":
		do(Steal, -1)
	case "ptrace":
		if low(0) == 16 || low(0) == 0x4206 {
			do(Steal, -1)
		}
	}
	return list
}

// expect is the answer that the contract gives to a call.
func expect(p Policy, machine int, e event) uint32 {
	mine := p.machines(p.Arch)
	if !slices.ContainsFunc(mine, func(m int) bool { return machines[m].audit == e.arch }) {
		return unix.SECCOMP_RET_KILL_PROCESS
	}
	if machine == machineX86_64 && e.number >= 0x40000000 && e.number != ^uint32(0) {
		return unix.SECCOMP_RET_KILL_PROCESS
	}
	id := slices.IndexFunc(calls[:], func(c call) bool { return uint32(c.number[machine]) == e.number })
	if id < 0 || calls[id].number[machine] < 0 {
		return unix.SECCOMP_RET_ALLOW
	}
	kept := p.descriptors()
	answers := []uint32{unix.SECCOMP_RET_ALLOW}
	for _, try := range attempts(calls[id].name, machines[machine].narrow, e.arguments) {
		answers = append(answers, expectDenied(p, try)...)
		if p.Guard {
			answers = append(answers, expectGuarded(p, kept, try, e)...)
		}
	}
	answers = append(answers, expectAround(p, kept, calls[id].name, e.arguments)...)
	return slices.MaxFunc(answers, func(a, b uint32) int { return rank(a) - rank(b) })
}

// rank orders the answers as the contract does: the strictest counts.
func rank(answer uint32) int {
	order := []uint32{unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_LOG, refused(0)}
	if i := slices.Index(order, answer); i >= 0 {
		return i
	}
	if answer == unix.SECCOMP_RET_KILL_PROCESS {
		return 4
	}
	return 3
}

func expectAction(p Policy, op Op) uint32 {
	switch {
	case p.Action == Kill:
		return unix.SECCOMP_RET_KILL_PROCESS
	case p.Action == Log:
		return unix.SECCOMP_RET_LOG
	case p.Action == Pretend && op&(Flags|Lock|Owner) != 0:
		return unix.SECCOMP_RET_ERRNO
	case p.Action == 0 || p.Action == Pretend:
		return unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	}
	return unix.SECCOMP_RET_ERRNO | uint32(p.Action)
}

func expectDenied(p Policy, try attempt) []uint32 {
	if p.Deny&try.op == 0 {
		return nil
	}
	return []uint32{expectAction(p, try.op)}
}

func isUnix(k Kind) bool { return k == UnixSocket || k == UnixListener }

// held says what the contract keeps off a kept descriptor, beside what was named for it.
func expectHeld(p Policy, kept []Descriptor, d Descriptor) (named, besides Op) {
	guarded := slices.ContainsFunc(kept, func(d Descriptor) bool { return d.Guard != 0 })
	messages := guarded && isUnix(d.Kind) && p.Passing != PassAllow
	if messages {
		besides |= Pass
	}
	if d.Guard != 0 && !d.Advisory || messages && d.Number > 2 && !d.Advisory {
		besides |= Dup
	}
	if d.Guard&Offset != 0 {
		return d.Guard | Seek, besides
	}
	return d.Guard, besides
}

// effects is the set of calls that are refused on a descriptor, to compare two descriptors.
func effects(p Policy, kept []Descriptor, d Descriptor) map[string]bool {
	set := map[string]bool{}
	named, besides := expectHeld(p, kept, d)
	for _, c := range calls {
		for i, probe := range probes {
			for _, narrow := range []bool{false, true} {
				for _, try := range attempts(c.name, narrow, probe) {
					if try.fd >= 0 && try.op&(named|besides) != 0 && (try.kinds == nil || slices.Contains(try.kinds, d.Kind)) {
						set[fmt.Sprint(c.name, i, narrow, try.fd)] = true
					}
				}
			}
		}
	}
	return set
}

// probes are arguments that bring out every attempt of every call.
var probes = func() (list [][6]uint64) {
	for _, v := range []uint64{0, 4, 8, 37, 1024, 1026, 1030, 0x5421, 0x5452, 0x500e, 0x8901, ^uint64(0)} {
		list = append(list, [6]uint64{v, v, v, v, v, v})
	}
	return list
}()

func expectGuarded(p Policy, kept []Descriptor, try attempt, e event) []uint32 {
	if try.fd < 0 {
		if try.op&(Pass|Steal|TTY) != 0 {
			return []uint32{refused(unix.EPERM)}
		}
		return nil
	}
	find := func(argument int) (Descriptor, bool) {
		i := slices.IndexFunc(kept, func(d Descriptor) bool { return uint32(d.Number) == uint32(e.arguments[argument]) })
		if i < 0 {
			return Descriptor{}, false
		}
		return kept[i], true
	}
	d, found := find(try.fd)
	if !found {
		return nil
	}
	named, besides := expectHeld(p, kept, d)
	if try.op == Dup && besides&Dup != 0 && (e.number == 33 || e.number == 292 || e.number == 63 || e.number == 330 ||
		e.number == 24 || e.number == 358) && isDupOnto(e) {
		if target, found := find(1); found && includes(effects(p, kept, target), effects(p, kept, d)) {
			return nil
		}
	}
	var answers []uint32
	if try.op&besides != 0 {
		answers = append(answers, refused(unix.EPERM))
	}
	if try.op&named != 0 && (try.kinds == nil || slices.Contains(try.kinds, d.Kind)) {
		switch {
		case named&Flags != 0 && try.op == Owner && try.kinds != nil && slices.Contains(try.kinds, Terminal):
			// The same call is an attempt on the flags, whose answer prevents both.
		case try.op == Flags && d.Advisory && p.Action == 0:
			answers = append(answers, refused(0))
		default:
			answers = append(answers, expectAction(p, try.op))
		}
	}
	return answers
}

func isDupOnto(e event) bool {
	for id := range calls {
		if name := calls[id].name; name == "dup2" || name == "dup3" {
			for machine, number := range calls[id].number {
				if machines[machine].audit == e.arch && uint32(number) == e.number {
					return true
				}
			}
		}
	}
	return false
}

func includes(big, small map[string]bool) bool {
	for name := range small {
		if !big[name] {
			return false
		}
	}
	return true
}

// expectAround is what a guard or a denial takes besides, on no descriptor.
func expectAround(p Policy, kept []Descriptor, name string, a [6]uint64) []uint32 {
	eperm := []uint32{refused(unix.EPERM)}
	confined := p.Guard && slices.ContainsFunc(kept, func(d Descriptor) bool { return d.Guard != 0 && !d.Advisory })
	unixFamily := uint32(a[0]) == unix.AF_UNIX
	kind := uint32(a[1]) & 0xf
	switch name {
	case "io_uring_setup", "io_uring_enter", "io_uring_register":
		if p.Guard || p.Deny&(Dup|Pass|Mode|Wberr) != 0 {
			return []uint32{refused(unix.ENOSYS)}
		}
	case "mount", "fsconfig":
		matters := p.Deny&Flags != 0 || slices.ContainsFunc(kept, func(d Descriptor) bool {
			return d.Guard&Flags != 0 && (d.Kind == Pipe || d.Kind == Unknown) || p.Privileged && d.Guard != 0
		})
		if matters && p.Action == Log {
			return []uint32{unix.SECCOMP_RET_LOG}
		}
		if matters {
			return eperm
		}
	case "socket":
		if confined && unixFamily && (p.Passing == PassNoUnix || p.Passing == PassTree && (p.Landlock < 9 || p.NoLandlock)) {
			return eperm
		}
	case "socketpair":
		if confined && unixFamily && (p.Passing == PassNoUnix ||
			p.Passing == PassTree && kind != unix.SOCK_STREAM && kind != unix.SOCK_SEQPACKET) {
			return eperm
		}
	case "recvmsg", "recvmmsg", "recvmmsg_time64":
		if confined && p.Passing == PassTree {
			return eperm
		}
	case "sendmsg", "sendmmsg":
		if confined && p.Passing == PassNoSendmsg {
			return eperm
		}
	case "socketcall":
		messages := slices.ContainsFunc(kept, func(d Descriptor) bool {
			_, besides := expectHeld(p, kept, d)
			return besides&Pass != 0
		})
		if p.Deny&Pass != 0 || confined && p.Passing != PassAllow || p.Guard && messages {
			return eperm
		}
	}
	return nil
}

// randomPolicy makes a policy; most are valid.
func randomPolicy(r *rand.Rand) Policy {
	p := Policy{
		Arch:       Arch(1 + r.IntN(2)),
		ABI:        ABI(r.IntN(2)),
		Guard:      r.IntN(4) > 0,
		Passing:    Passing(r.IntN(4)),
		Privileged: r.IntN(4) == 0,
		Landlock:   []int{0, 7, 9}[r.IntN(3)],
		NoLandlock: r.IntN(4) == 0,
		Action:     []Action{0, 0, Errno(unix.EACCES), Pretend, Kill, Log}[r.IntN(6)],
	}
	if r.IntN(2) == 0 {
		p.Deny = Op(r.IntN(1<<len(opNames))&r.IntN(1<<len(opNames))) &^ Offset
	}
	if p.Action == Pretend {
		p.Deny &= Flags | Lock | Owner
	}
	if !p.Guard {
		return p
	}
	ops := []Op{DefaultGuard, Flags, Owner, Seek | Lock, DefaultGuard | Mode, DefaultGuard | Mode | Offset}[r.IntN(6)]
	mixed := r.IntN(4) == 0
	for number := range 300 {
		if r.IntN(1+number/2) > 2 || mixed && number > 24 {
			continue
		}
		d := Descriptor{Number: number, Kind: Kind(r.IntN(len(kindNames))), Guard: ops}
		if d.Kind == UnixListener && p.Passing <= PassNoUnix {
			d.Kind = Socket
		}
		if mixed {
			d.Guard = Op(r.IntN(1<<len(opNames))) & guardable
		}
		if number <= 2 {
			d.Guard &^= Offset
			d.Advisory = r.IntN(2) == 0
		}
		p = p.Keep(d)
	}
	return p
}

// randomCall makes a call that is likely to be of interest.
func randomCall(r *rand.Rand, p Policy) (machine int, e event) {
	machine = r.IntN(machineCount)
	if r.IntN(8) > 0 {
		list := p.machines(p.Arch)
		machine = list[r.IntN(len(list))]
	}
	e.arch = machines[machine].audit
	switch r.IntN(16) {
	case 0:
		e.number = r.Uint32()
	case 1:
		e.number = uint32(r.IntN(500)) | 0x40000000
	case 2:
		e.number = ^uint32(0)
	default:
		e.number = uint32(calls[r.IntN(int(callCount))].number[machine])
	}
	kept := p.descriptors()
	values := []uint64{
		0, 1, 2, 3, 4, 5, 8, 10, 15, 16, 37, 38, 1024, 1026, 1030, 1040, 0x4206, 0x5421, 0x5452, 0x500e, 0x8901, 0x8902,
		0x5412, 0x541c, 0x2103, 0x40182103, 0x80182103, 0x6201, 0xc0306201, ^uint64(0), 0xffffffff, 1 << 32, 0x80001,
	}
	for i := range e.arguments {
		switch {
		case len(kept) > 0 && r.IntN(2) == 0:
			e.arguments[i] = uint64(kept[r.IntN(len(kept))].Number + r.IntN(8)/7)
		case r.IntN(10) == 0:
			e.arguments[i] = r.Uint64()
		default:
			e.arguments[i] = values[r.IntN(len(values))]
		}
		if r.IntN(3) == 0 {
			e.arguments[i] ^= uint64(r.Uint32()) << 32 // what a hostile program leaves in the high half
		}
	}
	return machine, e
}

func compareWithReference(t *testing.T, seed uint64, policies, callsEach int) {
	r := rand.New(rand.NewPCG(seed, 9))
	for range policies {
		p := randomPolicy(r)
		f, err := Compile(p)
		if err != nil {
			t.Fatalf("seed %d: %v: %v", seed, p, err)
		}
		if err := check(f.program); err != nil {
			t.Fatalf("seed %d: %v: %v", seed, p, err)
		}
		for range callsEach {
			machine, e := randomCall(r, p)
			got, looked := interpret(t, f.program, e)
			if want := expect(p, machine, e); got != want {
				t.Fatalf("seed %d: %v\n%s call %d %#x: the filter answers %#x and the contract %#x",
					seed, p, machines[machine].name, e.number, e.arguments, got, want)
			}
			if looked && !slices.ContainsFunc(calls[:], func(c call) bool { return uint32(c.number[machine]) == e.number }) {
				t.Fatalf("seed %d: %v\n%s call %d has no rule, yet its arguments were looked at",
					seed, p, machines[machine].name, e.number)
			}
		}
	}
}

func TestFiltersKeepTheContract(t *testing.T) {
	seed := testSeed(t)
	for i := range uint64(8) {
		compareWithReference(t, seed+i, 20, 800)
	}
}

func FuzzFiltersKeepTheContract(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { compareWithReference(t, seed, 1, 200) })
}
