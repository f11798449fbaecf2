package seccomp_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/safeexec/safeexec/seccomp"
	"golang.org/x/sys/unix"
)

const (
	allow = unix.SECCOMP_RET_ALLOW
	kill  = unix.SECCOMP_RET_KILL_PROCESS
	eperm = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
)

const (
	guarded  = 103
	other    = 104 // open, and nobody's
	standard = 1
)

// fill puts descriptors into a path's arguments.
func (p path) fill(descriptor uint64) [6]uint64 {
	args := p.args
	for i, a := range args {
		switch a {
		case F:
			args[i] = descriptor
		case O:
			args[i] = other
		}
	}
	return args
}

// truth checks one answer, and that what a hostile program leaves in the upper halves of 32-bit arguments changes nothing.
func (j judge) truth(m machine, p path, descriptor uint64, want uint32, why string) {
	j.t.Helper()
	number := numbers[p.call][m.column]
	if number < 0 || p.only != 0 && p.only != m.bits {
		return
	}
	plain := p.fill(descriptor)
	for _, garbage := range []uint64{0, 0xdeadbeef00000000, minusOne &^ 0xffffffff} {
		args := plain
		for i := range args {
			if m.bits == 32 || p.args[i] == F || p.args[i] == O || i == 1 && commandFirst[p.call] {
				args[i] |= garbage
			}
		}
		if got := j.answer(m.audit, uint32(number), args); got != want {
			j.t.Errorf("%s %s%#x (%v, %s): %s, want %s", m.name, p.call, args, p.op, why, name(got), name(want))
		}
	}
}

// commandFirst are the calls whose second argument is a 32-bit command or request.
var commandFirst = map[string]bool{"fcntl": true, "fcntl64": true, "ioctl": true, "flock": true, "seccomp": true}

func name(answer uint32) string {
	switch {
	case answer == allow:
		return "permitted"
	case answer == kill:
		return "killed"
	case answer&^0xffff == unix.SECCOMP_RET_ERRNO:
		return fmt.Sprintf("errno %d", answer&0xffff)
	}
	return fmt.Sprintf("%#x", answer)
}

var denyable = []seccomp.Op{
	seccomp.Dup, seccomp.Pass, seccomp.Steal, seccomp.Flags, seccomp.Owner, seccomp.Lock, seccomp.Seek, seccomp.Mode,
	seccomp.Wberr, seccomp.TTY,
}

// TestDenied: an operation that is denied is refused on every descriptor, by every path; other operations are not.
func TestDenied(t *testing.T) {
	for _, m := range machines {
		for _, op := range denyable {
			j := newJudge(t, seccomp.Policy{Deny: op, Arch: m.arch, ABI: m.abi})
			for _, p := range slices.Concat(onDescriptor, anywhere, deniedOnly) {
				want := uint32(allow)
				if (p.op|p.also)&op != 0 {
					want = eperm
				}
				for _, descriptor := range []uint64{0, guarded, 9999} {
					j.truth(m, p, descriptor, want, "deny "+op.String())
				}
			}
			for _, p := range slices.Concat(harmless, offsetPaths) {
				if p.also&op == 0 {
					j.truth(m, p, guarded, allow, "deny "+op.String())
				}
			}
		}
	}
}

func TestRingsAreAbsent(t *testing.T) {
	rings := seccomp.Dup | seccomp.Pass | seccomp.Mode | seccomp.Wberr
	for _, m := range machines {
		for _, op := range denyable {
			for _, action := range []seccomp.Action{0, seccomp.Kill, seccomp.Log} {
				j := newJudge(t, seccomp.Policy{Deny: op, Action: action, Arch: m.arch, ABI: m.abi})
				want := uint32(allow)
				if op&rings != 0 {
					want = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
				}
				for _, call := range []string{"io_uring_setup", "io_uring_enter", "io_uring_register"} {
					j.truth(m, path{call: call}, 0, want, "deny "+op.String())
				}
			}
		}
	}
}

// strict is a guard of everything on one number.
func strict(m machine, kind seccomp.Kind, passing seccomp.Passing) seccomp.Policy {
	return seccomp.Policy{Guard: true, Passing: passing, Arch: m.arch, ABI: m.abi}.Keep(seccomp.Descriptor{
		Number: guarded, Kind: kind, Guard: seccomp.DefaultGuard | seccomp.Offset | seccomp.Mode,
	})
}

func passingFor(kind seccomp.Kind) seccomp.Passing {
	if kind == seccomp.UnixListener {
		return seccomp.PassNoSendmsg
	}
	return seccomp.PassTree
}

// TestGuardedByNumber: on the guarded number every path that means something for its kind is refused; on any other number
// everything is permitted, except what begins at no number.
func TestGuardedByNumber(t *testing.T) {
	for _, m := range machines {
		for _, kind := range allKinds {
			j := newJudge(t, strict(m, kind, passingFor(kind)))
			for _, p := range slices.Concat(onDescriptor, offsetPaths) {
				want := uint32(allow)
				if p.does(kind) != 0 {
					want = eperm
				}
				j.truth(m, p, guarded, want, "guarded "+kind.String())
				for _, own := range []uint64{0, 3, other, guarded + 2, guarded | 1<<31} {
					j.truth(m, p, own, allow, "not guarded")
				}
			}
			for _, p := range anywhere {
				j.truth(m, p, other, eperm, "any guard")
			}
			for _, p := range harmless {
				j.truth(m, p, guarded, allow, "guarded "+kind.String())
				j.truth(m, p, other, allow, "not guarded")
			}
		}
	}
}

// TestOneGuardedOperation: a guard of one operation refuses that, and dup, and nothing else on the number; seek is a part of
// offset.
func TestOneGuardedOperation(t *testing.T) {
	for _, m := range machines {
		for _, op := range []seccomp.Op{seccomp.Flags, seccomp.Owner, seccomp.Lock, seccomp.Seek, seccomp.Offset, seccomp.Mode} {
			j := newJudge(t, seccomp.Policy{Guard: true, Arch: m.arch, ABI: m.abi}.Keep(
				seccomp.Descriptor{Number: guarded, Kind: seccomp.Unknown, Guard: op}))
			for _, p := range slices.Concat(onDescriptor, offsetPaths) {
				want := uint32(allow)
				refused := op | seccomp.Dup
				if op == seccomp.Offset {
					refused |= seccomp.Seek
				}
				if p.does(seccomp.Unknown)&refused != 0 {
					want = eperm
				}
				j.truth(m, p, guarded, want, "guard "+op.String())
				j.truth(m, p, other, allow, "guard "+op.String())
			}
		}
	}
}

// TestAdvisory: dup passes, flags are pretended, owner and lock refused, seek not guarded.
func TestAdvisory(t *testing.T) {
	for _, m := range machines {
		for _, action := range []seccomp.Action{0, seccomp.Errno(unix.EPERM), seccomp.Kill} {
			p := seccomp.Policy{Guard: true, Action: action, Arch: m.arch, ABI: m.abi}.Keep(seccomp.Descriptor{
				Number: standard, Kind: seccomp.Socket, Guard: seccomp.DefaultGuard &^ seccomp.Seek, Advisory: true,
			})
			j := newJudge(t, p)
			named := map[seccomp.Action]uint32{0: eperm, seccomp.Errno(unix.EPERM): eperm, seccomp.Kill: kill}[action]
			for _, p := range onDescriptor {
				want := uint32(allow)
				switch {
				case p.does(seccomp.Socket)&seccomp.Flags != 0 && action == 0:
					want = unix.SECCOMP_RET_ERRNO
				case p.does(seccomp.Socket)&(seccomp.Flags|seccomp.Owner|seccomp.Lock) != 0:
					want = named
				}
				j.truth(m, p, standard, want, "advisory")
				j.truth(m, p, standard+1, allow, "not guarded")
			}
			for _, p := range slices.Concat(harmless, offsetPaths) {
				j.truth(m, p, standard, allow, "advisory")
			}
			// A copy may get away anyway, so nothing more is closed.
			j.truth(m, path{call: "socket", args: [6]uint64{unix.AF_UNIX, unix.SOCK_DGRAM}}, 0, allow, "advisory only")
			j.truth(m, path{call: "recvmsg", args: [6]uint64{other, P}}, 0, allow, "advisory only")
		}
	}
}

// TestGuardOfNothing: where nothing stays shared only stealing is prevented.
func TestGuardOfNothing(t *testing.T) {
	for _, m := range machines {
		j := newJudge(t, seccomp.Policy{Guard: true, Arch: m.arch, ABI: m.abi})
		for _, p := range slices.Concat(onDescriptor, offsetPaths, harmless) {
			j.truth(m, p, guarded, allow, "nothing shared")
		}
		for _, p := range anywhere {
			j.truth(m, p, other, eperm, "nothing shared")
		}
		for _, p := range deniedOnly {
			j.truth(m, p, guarded, allow, "nothing shared")
		}
		for _, call := range []string{"socket", "socketpair"} {
			for _, kind := range []uint64{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
				j.truth(m, path{call: call, args: [6]uint64{unix.AF_UNIX, kind}}, 0, allow, "nothing shared")
			}
		}
	}
}

// TestPassing: each way to close SCM_RIGHTS, with and without a Landlock that confines named sockets.
func TestPassing(t *testing.T) {
	unixSocket := func(call string, kind uint64) path { return path{call: call, args: [6]uint64{unix.AF_UNIX, kind}} }
	onOther := func(call string) path { return path{call: call, args: [6]uint64{other, P, 1}} }
	for _, m := range machines {
		for _, c := range []struct {
			passing                                          seccomp.Passing
			landlock                                         int
			socket, stream, seqpacket, datagram, raw, rx, tx uint32
		}{
			{seccomp.PassTree, 7, eperm, allow, allow, eperm, eperm, eperm, allow},
			{seccomp.PassTree, 9, allow, allow, allow, eperm, eperm, eperm, allow},
			{seccomp.PassNoUnix, 9, eperm, eperm, eperm, eperm, eperm, allow, allow},
			{seccomp.PassNoSendmsg, 9, allow, allow, allow, allow, allow, allow, eperm},
			{seccomp.PassAllow, 9, allow, allow, allow, allow, allow, allow, allow},
		} {
			p := strict(m, seccomp.Regular, c.passing)
			p.Landlock = c.landlock
			j := newJudge(t, p)
			why := fmt.Sprintf("passing %v on ABI %d", c.passing, c.landlock)
			j.truth(m, unixSocket("socket", unix.SOCK_STREAM), 0, c.socket, why)
			j.truth(m, unixSocket("socket", unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), 0, c.socket, why)
			j.truth(m, unixSocket("socketpair", unix.SOCK_STREAM|unix.SOCK_CLOEXEC), 0, c.stream, why)
			j.truth(m, unixSocket("socketpair", unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK), 0, c.seqpacket, why)
			j.truth(m, unixSocket("socketpair", unix.SOCK_DGRAM|unix.SOCK_NONBLOCK), 0, c.datagram, why)
			j.truth(m, unixSocket("socketpair", unix.SOCK_RAW), 0, c.raw, why)
			for _, call := range []string{"recvmsg", "recvmmsg", "recvmmsg_time64"} {
				j.truth(m, onOther(call), 0, c.rx, why)
			}
			for _, call := range []string{"sendmsg", "sendmmsg"} {
				j.truth(m, onOther(call), 0, c.tx, why)
			}
			j.truth(m, path{call: "socket", args: [6]uint64{unix.AF_INET, unix.SOCK_DGRAM}}, 0, allow, why)
			socketcall := uint32(eperm)
			if c.passing == seccomp.PassAllow {
				socketcall = allow
			}
			j.truth(m, path{call: "socketcall", args: [6]uint64{1, P}}, 0, socketcall, why)
		}
	}
}

// TestKeptUnixSockets: a kept UNIX socket is a way out, whether it is guarded itself or not.
func TestKeptUnixSockets(t *testing.T) {
	messages := []string{"sendmsg", "sendmmsg", "recvmsg", "recvmmsg", "recvmmsg_time64"}
	for _, m := range machines {
		for _, passing := range []seccomp.Passing{seccomp.PassTree, seccomp.PassNoUnix, seccomp.PassNoSendmsg, seccomp.PassAllow} {
			p := strict(m, seccomp.Regular, passing).Keep(
				seccomp.Descriptor{Number: standard, Kind: seccomp.UnixSocket, Advisory: true},
				seccomp.Descriptor{Number: 50, Kind: seccomp.UnixSocket, Guard: seccomp.Flags},
			)
			j := newJudge(t, p)
			want := uint32(eperm)
			if passing == seccomp.PassAllow {
				want = allow
			}
			for _, call := range messages {
				j.truth(m, path{call: call, args: [6]uint64{F, P, 1}}, standard, want, "standard, "+passing.String())
				j.truth(m, path{call: call, args: [6]uint64{F, P, 1}}, 50, want, passing.String())
			}
			j.truth(m, path{call: "dup", args: [6]uint64{F}}, standard, allow, "standard")
			j.truth(m, path{call: "dup", args: [6]uint64{F}}, 50, eperm, "a UNIX socket at 50")
			j.truth(m, path{call: "dup3", args: [6]uint64{F, guarded, 0}}, 50, want, "onto a number without rules for messages")
		}
	}
}

// TestDuplicatesOntoKeptNumbers: a guarded descriptor may replace what has at least its rules, and nothing else.
func TestDuplicatesOntoKeptNumbers(t *testing.T) {
	const more, less, twin, sole, std = 110, 111, 112, 113, 0
	keep := func(number int, kind seccomp.Kind, ops seccomp.Op) seccomp.Descriptor {
		return seccomp.Descriptor{Number: number, Kind: kind, Guard: ops, Advisory: number < 3}
	}
	for _, m := range machines {
		j := newJudge(t, seccomp.Policy{Guard: true, Arch: m.arch, ABI: m.abi}.Keep(
			keep(guarded, seccomp.Regular, seccomp.DefaultGuard),
			keep(more, seccomp.Unknown, seccomp.DefaultGuard|seccomp.Mode),
			keep(less, seccomp.Pipe, seccomp.DefaultGuard),
			keep(twin, seccomp.Regular, seccomp.DefaultGuard),
			keep(sole, seccomp.Regular, seccomp.Lock),
			keep(std, seccomp.Regular, seccomp.DefaultGuard),
		))
		for _, c := range []struct {
			from, onto uint64
			want       uint32
		}{
			{guarded, guarded, allow},
			{guarded, twin, allow},
			{twin, guarded, allow},
			{guarded, more, allow},
			{more, guarded, eperm},
			{guarded, less, eperm}, // a pipe has no rules for an offset
			{less, guarded, allow},
			{guarded, sole, eperm},
			{sole, guarded, allow},
			{guarded, std, eperm},     // advisory: a copy could leave it again
			{guarded, other, eperm},   // not guarded
			{std, other, allow},       // advisory
			{other, guarded, allow},   // what is nobody's may go anywhere
			{other, other + 1, allow}, // and this is how shells work
			{guarded, 1 << 31, eperm},
		} {
			for _, call := range []string{"dup2", "dup3"} {
				p := path{op: seccomp.Dup, call: call, args: [6]uint64{F, c.onto}}
				j.truth(m, p, c.from, c.want, fmt.Sprintf("%d onto %d", c.from, c.onto))
				p.args[1] |= 0xabcd << 32
				j.truth(m, p, c.from, c.want, fmt.Sprintf("%d onto %d with a garbage half", c.from, c.onto))
			}
		}
	}
}

// TestMounts: refused only where parsing mount options could change what is shared.
func TestMounts(t *testing.T) {
	for _, m := range machines {
		for _, c := range []struct {
			kind       seccomp.Kind
			ops        seccomp.Op
			privileged bool
			want       uint32
		}{
			{seccomp.Pipe, seccomp.Flags, false, eperm},
			{seccomp.Unknown, seccomp.Flags, false, eperm},
			{seccomp.Regular, seccomp.Flags, false, allow},
			{seccomp.Socket, seccomp.DefaultGuard, false, allow},
			{seccomp.Pipe, seccomp.Lock, false, allow},
			{seccomp.Regular, seccomp.Flags, true, eperm},
		} {
			p := seccomp.Policy{Guard: true, Privileged: c.privileged, Arch: m.arch, ABI: m.abi}.Keep(
				seccomp.Descriptor{Number: guarded, Kind: c.kind, Guard: c.ops})
			j := newJudge(t, p)
			for _, call := range []string{"mount", "fsconfig"} {
				j.truth(m, path{call: call}, 0, c.want, fmt.Sprintf("%v of a %v, privileged %v", c.ops, c.kind, c.privileged))
			}
		}
		j := newJudge(t, seccomp.Policy{Guard: true, Privileged: true, Arch: m.arch, ABI: m.abi})
		j.truth(m, path{call: "mount"}, 0, allow, "nothing shared")
	}
}

// TestActions: what was named is answered as was asked, what a guard needs besides with EPERM.
func TestActions(t *testing.T) {
	const exdev = unix.SECCOMP_RET_ERRNO | uint32(unix.EXDEV)
	for _, m := range machines {
		for _, c := range []struct {
			action      seccomp.Action
			flags, seek uint32
		}{
			{0, eperm, eperm},
			{seccomp.Errno(unix.EXDEV), exdev, exdev},
			{seccomp.Pretend, unix.SECCOMP_RET_ERRNO, eperm},
			{seccomp.Kill, kill, kill},
			{seccomp.Log, unix.SECCOMP_RET_LOG, unix.SECCOMP_RET_LOG},
		} {
			p := strict(m, seccomp.Regular, seccomp.PassTree)
			p.Action = c.action
			j := newJudge(t, p)
			why := "on violation " + c.action.String()
			j.truth(m, path{call: "fcntl", args: [6]uint64{F, unix.F_SETFL}}, guarded, c.flags, why)
			j.truth(m, path{call: "flock", args: [6]uint64{F, unix.LOCK_UN}}, guarded, c.flags, why)
			j.truth(m, path{call: "lseek", args: [6]uint64{F, 0, unix.SEEK_SET}}, guarded, c.seek, why)
			j.truth(m, path{call: "dup", args: [6]uint64{F}}, guarded, eperm, why)
			j.truth(m, path{call: "recvmsg", args: [6]uint64{other}}, 0, eperm, why)
			j.truth(m, path{call: "ioctl", args: [6]uint64{other, 0x5412}}, 0, eperm, why)
			j.truth(m, path{call: "io_uring_setup"}, 0, unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS), why)
		}
	}
}

// TestForeignTables: a table without rules ends the process, whatever the call.
func TestForeignTables(t *testing.T) {
	for _, m := range machines {
		if m.bits == 32 {
			continue
		}
		j := newJudge(t, seccomp.Policy{Deny: seccomp.Lock, Arch: m.arch, ABI: m.abi})
		for _, f := range machines {
			want := uint32(kill)
			if f.arch == m.arch && (f.bits == 64 || m.abi == seccomp.ABICompat) {
				want = allow
			}
			for _, number := range []uint32{500, 501} {
				if got := j.answer(f.audit, number, [6]uint64{}); got != want {
					t.Errorf("%s under a filter for %s (%v): %s, want %s", f.name, m.name, m.abi, name(got), name(want))
				}
			}
		}
		for _, audit := range []uint32{0, 0x80000016, 0xc0000015} {
			if got := j.answer(audit, 0, [6]uint64{}); got != kill {
				t.Errorf("machine %#x: %s", audit, name(got))
			}
		}
	}
}

func TestX32(t *testing.T) {
	for _, abi := range []seccomp.ABI{seccomp.ABINative, seccomp.ABICompat} {
		j := newJudge(t, seccomp.Policy{Arch: seccomp.AMD64, ABI: abi})
		for number, want := range map[uint32]uint32{
			0x3fffffff: allow, 0x40000000: kill, 0x40000000 | 73: kill, 0x7fffffff: kill, 0xfffffffe: kill,
			0xffffffff: allow, // a call that a tracer took away
		} {
			if got := j.answer(0xc000003e, number, [6]uint64{}); got != want {
				t.Errorf("%v: call %#x: %s, want %s", abi, number, name(got), name(want))
			}
		}
		for _, number := range []uint32{0x40000000 | 1, 0xf0002} { // ARM has private calls up there
			j := newJudge(t, seccomp.Policy{Arch: seccomp.ARM64, ABI: seccomp.ABICompat})
			if got := j.answer(0x40000028, number, [6]uint64{}); got != allow {
				t.Errorf("arm call %#x: %s", number, name(got))
			}
		}
	}
}
