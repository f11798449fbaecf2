package seccomp

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrNoLandlock says that the kernel can't make the Landlock domain that a filter takes. Errors that satisfy it satisfy
// errors.ErrUnsupported too.
var ErrNoLandlock = errors.New("the kernel lacks the Landlock that this takes")

// Load sets no_new_privs on the calling thread and puts it under the filter's Landlock domain, then under the filter. All
// that the thread starts or becomes is under them, for ever: lock the goroutine to its thread and don't unlock it. Other
// threads of the program are not concerned. See seccomp(2) and landlock_restrict_self(2).
func (f *Filter) Load() error {
	ruleset, err := f.Ruleset()
	if err != nil {
		return err
	}
	if ruleset >= 0 {
		defer unix.Close(ruleset)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("seccomp: set no_new_privs: %w", err)
	}
	if ruleset >= 0 {
		if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); errno != 0 {
			return fmt.Errorf("seccomp: enter the Landlock domain: %w", errno)
		}
	}
	return f.install()
}

func (f *Filter) install() error {
	program := unix.SockFprog{Len: uint16(len(f.program)), Filter: &f.program[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		uintptr(f.Flags()), uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(&program)
	if errno != 0 {
		return fmt.Errorf("seccomp: load a filter of %d instructions: %w", len(f.program), errno)
	}
	return nil
}

// LandlockABI reports the version of Landlock that the running kernel has, 0 for none (before Linux 5.13, or not enabled).
func LandlockABI() int {
	abi, errno := landlockABI()
	if errno != 0 {
		return 0
	}
	return abi
}

func landlockABI() (int, unix.Errno) {
	abi, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return int(abi), errno
}

// Ruleset opens what landlock_restrict_self(2) takes for the filter's Landlock domain; the caller closes it, and it is
// close-on-exec. It is -1 where the filter needs no domain. The error satisfies ErrNoLandlock where the kernel has no
// Landlock (before 5.13, or not enabled), or not the version that the policy relied on.
//
// A domain keeps its members from tracing and writing to processes outside. From ABI 6 on (Linux 6.12) it also keeps
// them from abstract UNIX sockets outside, and nothing else. Below, a domain takes a right on files, which makes mount(2) fail,
// and on ABI 1 renames and links across directories. With named UNIX sockets (ABI 9, Linux 7.1) mount(2) fails too.
func (f *Filter) Ruleset() (int, error) {
	if f.domain == noDomain {
		return -1, nil
	}
	abi, errno := landlockABI()
	if errno != 0 {
		return -1, fmt.Errorf("seccomp: Landlock: %w: %w", ErrNoLandlock, errno)
	}
	attributes, granted, err := rulesetFor(f.domain, abi)
	if err != nil {
		return -1, fmt.Errorf("seccomp: Landlock: %w", err)
	}
	return openRuleset(attributes, granted)
}

// rulesetAttributes is the part of struct landlock_ruleset_attr that kernels up to ABI 6 know.
type rulesetAttributes struct{ files, network, scoped uint64 }

// rulesetFor decides which ruleset makes the domain, and which right on files it grants everywhere: a layer that handles
// any right refuses renames across directories unless REFER is granted.
func rulesetFor(d domain, abi int) (attributes rulesetAttributes, granted uint64, err error) {
	switch {
	case d == socketDomain && abi < resolveUnixABI:
		return attributes, 0, fmt.Errorf("%w: ABI %d to confine UNIX sockets, and it has %d: %w",
			ErrNoLandlock, resolveUnixABI, abi, unix.EOPNOTSUPP)
	case d == socketDomain:
		attributes.files = unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX | unix.LANDLOCK_ACCESS_FS_REFER
		attributes.scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
		return attributes, unix.LANDLOCK_ACCESS_FS_REFER, nil
	case abi >= 6:
		attributes.scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
		return attributes, 0, nil
	case abi >= 2:
		attributes.files = unix.LANDLOCK_ACCESS_FS_REFER
	default:
		attributes.files = unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK // what a command is least likely to need off the root
	}
	return attributes, attributes.files, nil
}

func openRuleset(attributes rulesetAttributes, granted uint64) (fd int, err error) {
	size := unsafe.Sizeof(attributes)
	if attributes.scoped == 0 {
		size = unsafe.Sizeof(attributes.files)
	}
	opened, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attributes)), size, 0)
	if errno != 0 {
		return -1, fmt.Errorf("seccomp: create a Landlock ruleset: %w", errno)
	}
	if granted == 0 {
		return int(opened), nil
	}
	if err := grantEverywhere(int(opened), granted); err != nil {
		unix.Close(int(opened))
		return -1, err
	}
	return int(opened), nil
}

func grantEverywhere(ruleset int, right uint64) error {
	root, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("seccomp: grant a Landlock right: %w", &os.PathError{Op: "open", Path: "/", Err: err})
	}
	defer unix.Close(root)
	beneath := unix.LandlockPathBeneathAttr{Allowed_access: right, Parent_fd: int32(root)}
	_, _, errno := unix.RawSyscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&beneath)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("seccomp: grant a Landlock right on /: %w", errno)
	}
	return nil
}
