// Package yama tells how far the Yama security module lets this process look into others: take their descriptors (pidfd_getfd(2)),
// copy their memory (process_vm_readv(2)), trace them.
//
//	if err := yama.Refusal(); err != nil {
//		return err // no process of ours could be looked into
//	}
//	stay := yama.Reach() == yama.Descendants // an orphan that another process adopts would be out of reach
//
// It reads the setting; it doesn't try. What the users and capabilities of the two processes permit is another matter.
package yama

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Range says which processes can be looked into, as far as Yama is concerned.
type Range int

// The ranges.
const (
	Everyone    Range = iota
	Descendants       // children, and theirs, however far down
	Nobody            // not even these
)

// Scope is kernel.yama.ptrace_scope. The error is fs.ErrNotExist where the kernel has no Yama, or where there is no /proc.
func Scope() (int, error) {
	text, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// Reach is the range of this process. A setting that can't be read counts as none.
func Reach() Range {
	scope, err := Scope()
	if err != nil {
		return Everyone
	}
	return reach(scope, mayTrace())
}

func reach(scope int, mayTrace bool) Range {
	switch {
	case scope <= 0 || scope < 3 && mayTrace:
		return Everyone
	case scope == 1:
		return Descendants
	}
	return Nobody
}

// Refusal is nil unless the range is Nobody. Then it says why, and what to do; it is an EPERM.
func Refusal() error {
	scope, err := Scope()
	switch {
	case err != nil || reach(scope, mayTrace()) != Nobody:
		return nil
	case scope == 2:
		return fmt.Errorf("kernel.yama.ptrace_scope is 2: to look into other processes takes CAP_SYS_PTRACE, or a scope of 1 or 0: %w", unix.EPERM)
	}
	return fmt.Errorf("kernel.yama.ptrace_scope is %d: no process can look into another before the next boot: %w", scope, unix.EPERM)
}

// mayTrace reports whether this process has CAP_SYS_PTRACE.
func mayTrace() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_PTRACE) != 0
}
