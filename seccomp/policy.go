package seccomp

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Policy says what a filter is to refuse. It is a small comparable value; Keep returns a copy with descriptors added.
// The zero Policy refuses nothing, but like every filter kills a process that makes calls of a foreign ABI.
type Policy struct {
	// Deny is refused on every descriptor.
	Deny Op

	// Guard holds the operations that each kept descriptor names, and what that takes besides: against stealing
	// always, against dup and passing while a descriptor is guarded by number.
	Guard bool
	// ByDescription holds the operations by the description behind the number, whatever the number: a supervisor is
	// asked (CompileAsking), and dup and what is received are free. Offset and mode can't be held so.
	ByDescription bool
	// Passing is how the guard closes SCM_RIGHTS.
	Passing Passing
	// Privileged says that the command keeps CAP_SYS_ADMIN in the first user namespace, where a mount may
	// change the flags of any descriptor, not only of pipes.
	Privileged bool
	// Landlock is the ABI to rely on, as LandlockABI reports it; from 9 on, PassTree leaves UNIX sockets to it.
	Landlock int
	// NoLandlock leaves out the domain that keeps a guarded command from driving another process through
	// /proc/PID/mem: the guard is then advisory against stealing. Denying steal brings the domain all the same.
	NoLandlock bool

	// Action is what happens on an operation that was named.
	Action Action

	// ABI says what becomes of 32-bit programs.
	ABI ABI
	// Arch is the machine that the filter is for; the zero value is the one that this program was built for.
	Arch Arch

	// kept holds the descriptors in a string, so that policies can be compared and used as keys.
	kept string
}

// Descriptor is a descriptor that the command gets and whose description stays the caller's.
type Descriptor struct {
	Number int
	Kind   Kind
	// Guard is what the command may not do to it.
	Guard Op
	// Advisory, for 0 to 2 only, lets the descriptor be duplicated: that stops a careless program, not a
	// hostile one.
	Advisory bool
}

// Kind is what a descriptor refers to; it tells which rules would be pointless.
type Kind uint8

// The kinds of descriptors.
const (
	Unknown Kind = iota // anything: every rule is needed
	Regular
	Directory
	Pipe         // a pipe or FIFO
	Socket       // not a UNIX one
	UnixSocket   // connected, or not yet
	UnixListener // a UNIX socket that listens
	Terminal
	Device // any other character or block device
	Queue  // a POSIX message queue
	Event  // eventfd, timerfd, signalfd, epoll, inotify, pidfd
)

var kindNames = [...]string{
	"unknown", "regular file", "directory", "pipe", "socket", "UNIX socket", "listening UNIX socket", "terminal",
	"device", "message queue", "event",
}

// String names the kind.
func (k Kind) String() string { return nameOf(kindNames[:], int(k)) }

// Passing is a way to keep guarded descriptions from being sent over a UNIX socket.
type Passing uint8

// The ways, from the strictest to none.
const (
	PassTree      Passing = iota // UNIX sockets stay inside the tree
	PassNoUnix                   // no UNIX sockets
	PassNoSendmsg                // all sockets, but no sendmsg and sendmmsg
	PassAllow                    // anything: the guard is advisory against passing
)

var passingNames = [...]string{"tree", "no-unix", "no-sendmsg", "allow"}

// String is the word that ParsePassing takes.
func (p Passing) String() string { return nameOf(passingNames[:], int(p)) }

// ParsePassing reads "tree", "no-unix", "no-sendmsg" or "allow".
func ParsePassing(text string) (Passing, error) {
	i, err := indexOf(passingNames[:], text)
	return Passing(i), err
}

// ABI says what becomes of calls through the 32-bit table. Calls through x32 kill the process in any case.
type ABI uint8

// What there is for 32-bit programs.
const (
	ABINative ABI = iota // the process is killed
	ABICompat            // the same rules by that table's numbers
)

var abiNames = [...]string{"native", "compat"}

// String is the word that ParseABI takes.
func (a ABI) String() string { return nameOf(abiNames[:], int(a)) }

// ParseABI reads "native" or "compat".
func ParseABI(text string) (ABI, error) {
	i, err := indexOf(abiNames[:], text)
	return ABI(i), err
}

// Arch is a machine that there are tables for.
type Arch uint8

// The machines. The zero value stands for the one that this program was built for.
const (
	_     Arch = iota
	AMD64      // x86_64, with i386 under ABICompat
	ARM64      // aarch64, with 32-bit ARM (EABI) under ABICompat
)

var archNames = [...]string{"native", "amd64", "arm64"}

// resolve replaces the zero value.
func (a Arch) resolve() (Arch, error) {
	if a == 0 {
		i, err := indexOf(archNames[:], runtime.GOARCH)
		if err != nil {
			return 0, fmt.Errorf("there is no table of system calls for %s: %w", runtime.GOARCH, unix.ENOTSUP)
		}
		a = Arch(i)
	}
	if a > ARM64 {
		return 0, fmt.Errorf("there is no machine %d", a)
	}
	return a, nil
}

// machines lists the tables that calls may go through, the native one first.
func (p Policy) machines(arch Arch) []int {
	native := []int{machineX86_64, machineI386}
	if arch == ARM64 {
		native = []int{machineAArch64, machineARM}
	}
	if p.ABI == ABICompat {
		return native
	}
	return native[:1]
}

// Action is what happens when a command tries an operation that was named. The zero value refuses with EPERM, except
// that flags on an advisory descriptor are pretended.
type Action uint32

// The actions besides Errno.
const (
	Pretend Action = 1<<16 + iota // report success and do nothing; only for flags, lock and owner: others get EPERM
	Kill                          // end the process with SIGSYS
	Log                           // permit, and write a line to the audit log
)

// Errno refuses with an error number, 1 to 4095.
func Errno(errno unix.Errno) Action { return Action(errno) }

// String is what ParseAction takes.
func (a Action) String() string {
	switch {
	case a == 0:
		return "errno"
	case a == Pretend:
		return "pretend"
	case a == Kill:
		return "kill"
	case a == Log:
		return "log"
	}
	return "errno=" + errnoName(unix.Errno(a))
}

// ParseAction reads "errno" (EPERM, as an action that was named), "errno=NAME", "pretend", "kill" or "log".
func ParseAction(text string) (Action, error) {
	switch text {
	case "errno":
		return Errno(unix.EPERM), nil
	case "pretend":
		return Pretend, nil
	case "kill":
		return Kill, nil
	case "log":
		return Log, nil
	}
	name, ok := strings.CutPrefix(text, "errno=")
	if !ok {
		return 0, fmt.Errorf("there is no action %q (they are errno, errno=NAME, pretend, kill, log)", text)
	}
	for e := unix.Errno(1); e <= lastErrno; e++ {
		if name != "" && unix.ErrnoName(e) == name {
			return Errno(e), nil
		}
	}
	return 0, fmt.Errorf("there is no error number %q (write its name, like EACCES)", name)
}

// lastErrno is the kernel's MAX_ERRNO.
const lastErrno = 4095

func errnoName(e unix.Errno) string {
	if name := unix.ErrnoName(e); name != "" {
		return name
	}
	return strconv.Itoa(int(e))
}

// Keep returns the policy with descriptors added to those that the command is known to get. Only what stays shared
// with the caller belongs here: the guarded ones, and UNIX sockets, which are a way out.
func (p Policy) Keep(descriptors ...Descriptor) Policy {
	all := append(p.descriptors(), descriptors...)
	slices.SortStableFunc(all, func(a, b Descriptor) int { return a.Number - b.Number })
	packed := make([]byte, 0, len(all)*packedSize)
	for _, d := range all {
		packed = binary.LittleEndian.AppendUint32(packed, uint32(min(max(d.Number, -1), math.MaxInt32)))
		packed = binary.LittleEndian.AppendUint16(packed, uint16(d.Guard))
		packed = append(packed, byte(d.Kind), flag(d.Advisory))
	}
	p.kept = string(packed)
	return p
}

const packedSize = 8

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// descriptors unpacks what Keep was given, in the order of the numbers.
func (p Policy) descriptors() []Descriptor {
	all := make([]Descriptor, 0, len(p.kept)/packedSize)
	for b := []byte(p.kept); len(b) > 0; b = b[packedSize:] {
		all = append(all, Descriptor{
			Number:   int(int32(binary.LittleEndian.Uint32(b))),
			Guard:    Op(binary.LittleEndian.Uint16(b[4:])),
			Kind:     Kind(b[6]),
			Advisory: b[7] != 0,
		})
	}
	return all
}

// check refuses what no filter can hold.
func (p Policy) check(kept []Descriptor) error {
	if err := checkDeny(p.Deny); err != nil {
		return err
	}
	if p.Action == Pretend && p.Deny&^Pretendable != 0 {
		return fmt.Errorf("%v can't be pretended, only %v", p.Deny&^Pretendable, Pretendable)
	}
	if p.Action > lastErrno && p.Action != Pretend && p.Action != Kill && p.Action != Log {
		return fmt.Errorf("there is no action %d", p.Action)
	}
	if p.Deny >= 1<<len(opNames) || int(p.Passing) >= len(passingNames) || int(p.ABI) >= len(abiNames) {
		return fmt.Errorf("the policy holds a value that has no name: deny %d, passing %d, ABI %d", p.Deny, p.Passing, p.ABI)
	}
	for i, d := range kept {
		if err := p.checkDescriptor(d); err != nil {
			return fmt.Errorf("descriptor %d: %w", d.Number, err)
		}
		if i > 0 && kept[i-1].Number == d.Number {
			return fmt.Errorf("descriptor %d is named twice", d.Number)
		}
	}
	if d, found := p.unixListener(kept); found {
		return fmt.Errorf("descriptor %d is a UNIX socket that listens, which would bring in unknown peers: "+
			"choose fd-passing no-sendmsg or allow", d.Number)
	}
	return nil
}

func (p Policy) checkDescriptor(d Descriptor) error {
	switch {
	case d.Number < 0 || d.Number == math.MaxInt32:
		return unix.EBADF
	case int(d.Kind) >= len(kindNames) || d.Guard >= 1<<len(opNames):
		return fmt.Errorf("a value that has no name: kind %d, guard %d", d.Kind, d.Guard)
	case d.Guard != 0 && !p.Guard:
		return fmt.Errorf("guarded by a policy without a guard")
	case p.ByDescription && d.Guard&(Offset|Mode) != 0:
		return fmt.Errorf("%v can't be guarded by description, as reads and splices may wait for ever", d.Guard&(Offset|Mode))
	case d.Number <= 2 && d.Guard&Offset != 0:
		return fmt.Errorf("offset can be guarded on 3 and up only, as programs read and write 0 to 2: guard seek instead")
	case d.Number > 2 && d.Advisory:
		return fmt.Errorf("a guard can be advisory on 0 to 2 only")
	}
	return checkGuard(d.Guard)
}

// unixListener finds a kept socket that a guard can't close.
func (p Policy) unixListener(kept []Descriptor) (Descriptor, bool) {
	if !anyGuarded(kept) || p.Passing > PassNoUnix {
		return Descriptor{}, false
	}
	i := slices.IndexFunc(kept, func(d Descriptor) bool { return d.Kind == UnixListener })
	if i < 0 {
		return Descriptor{}, false
	}
	return kept[i], true
}

// String says what will be enforced.
func (p Policy) String() string {
	arch, err := p.Arch.resolve()
	if err != nil {
		arch = p.Arch
	}
	parts := []string{nameOf(archNames[:], int(arch)) + ", " + p.ABI.String()}
	if p.Deny != 0 {
		parts = append(parts, "deny "+p.Deny.String())
	}
	if p.Guard {
		parts = append(parts, p.describeGuard()...)
	}
	if p.Deny != 0 || anyGuarded(p.descriptors()) {
		parts = append(parts, "on violation "+p.Action.String())
	}
	if domain := p.domain(p.descriptors()); domain != noDomain {
		parts = append(parts, domain.String())
	}
	return strings.Join(parts, "; ")
}

func (p Policy) describeGuard() []string {
	var parts []string
	for _, d := range p.descriptors() {
		text := fmt.Sprintf("guard %v on %d (%v)", d.Guard&guardable, d.Number, d.Kind)
		if d.Advisory {
			text = "advisory " + text
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return []string{"guard against stealing"}
	}
	if anyGuarded(p.descriptors()) {
		parts = append(parts, "passing "+p.Passing.String())
	}
	if p.ByDescription {
		parts = append(parts, "by description")
	}
	if p.Privileged {
		parts = append(parts, "privileged")
	}
	return parts
}

func anyGuarded(kept []Descriptor) bool {
	return slices.ContainsFunc(kept, func(d Descriptor) bool { return d.Guard&guardable != 0 })
}

// anyConfined reports whether a descriptor is guarded so that no copy of it may get away.
func anyConfined(kept []Descriptor) bool {
	return slices.ContainsFunc(kept, func(d Descriptor) bool { return d.Guard&guardable != 0 && !d.Advisory })
}

// domain is the Landlock domain that the filter comes with.
type domain uint8

const (
	noDomain     domain = iota
	stealDomain         // outside processes can't be traced or written to
	socketDomain        // and named UNIX sockets outside can't be reached
)

// String names the domain for Policy.String.
func (d domain) String() string {
	return [...]string{"no Landlock", "Landlock", "Landlock with named UNIX sockets"}[d]
}

// resolveUnixABI is the Landlock ABI that can confine named UNIX sockets (Linux 7.1).
const resolveUnixABI = 9

func (p Policy) domain(kept []Descriptor) domain {
	guarded := p.Guard && !p.NoLandlock
	switch {
	case guarded && p.Passing == PassTree && p.Landlock >= resolveUnixABI && anyConfined(kept):
		return socketDomain
	case guarded, p.Deny&Steal != 0 && p.Action != Log:
		return stealDomain
	}
	return noDomain
}

func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return strconv.Itoa(i)
}

func indexOf(names []string, text string) (int, error) {
	if i := slices.Index(names, text); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%q is none of %s", text, strings.Join(names, ", "))
}
