package spawn_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/ofd"
)

// Helpers work on the first thread, because the signal for the parent's death is set for that one alone.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // for the helpers, which would take a second each to end
	proctest.Helper("table", table)
	proctest.Helper("table-to", tableTo)
	proctest.Helper("same", same)
	proctest.Helper("setfl", setfl)
	proctest.Helper("change", change)
	proctest.Helper("place", placeHelper)
	proctest.Helper("on-terminal", onTerminalHelper)
	proctest.Helper("namespaces", namespacesHelper)
	proctest.Helper("deathsig", deathsigHelper)
	proctest.Helper("sandboxed", sandboxed)
	proctest.Helper("no-proc", noProc)
	proctest.Helper("limited", limited)
	proctest.Helper("high", highHelper)
	proctest.Helper("arguments", arguments)
	proctest.Main(m)
}

// arguments prints what it was called with.
func arguments([]string) int {
	fmt.Printf("%q", os.Args)
	return 0
}

// table prints what the helper inherited: what has no close-on-exec, because the runtime's own descriptors have it.
func table([]string) int {
	fmt.Print(strings.Join(inherited(), " "))
	return 0
}

// tableTo prints the same to a descriptor.
func tableTo(args []string) int {
	var fd int
	fmt.Sscan(args[0], &fd)
	unix.Write(fd, []byte(strings.Join(inherited(), " ")))
	return 0
}

func inherited() (list []string) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, entry := range entries {
		var fd int
		fmt.Sscan(entry.Name(), &fd)
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue
		}
		list = append(list, fmt.Sprintf("%d:%s", fd, describe(fd)))
	}
	return list
}

// describe says what a descriptor refers to, and whether it is in non-blocking mode.
func describe(fd int) string {
	target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return err.Error()
	}
	kind, _, _ := strings.Cut(target, ":")
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return err.Error()
	}
	text := kind + "," + [...]string{"r", "w", "rw", "?"}[flags&unix.O_ACCMODE]
	if flags&unix.O_NONBLOCK != 0 {
		text += ",nonblock"
	}
	return text
}

// same says whether descriptors refer to one description.
func same(args []string) int {
	var first, fd int
	fmt.Sscan(args[0], &first)
	for _, arg := range args[1:] {
		fmt.Sscan(arg, &fd)
		if same, err := ofd.Same(first, fd); err != nil || !same {
			fmt.Print(arg, " isn't the same", err)
			return 0
		}
	}
	fmt.Print("same")
	return 0
}

// setfl tries to set a status flag, and says what it holds.
func setfl([]string) int {
	_, err := unix.FcntlInt(0, unix.F_SETFL, unix.O_NONBLOCK)
	fmt.Print(err, "; table")
	for _, item := range inherited() {
		number, _, _ := strings.Cut(item, ":")
		fmt.Print(" ", number)
	}
	return 0
}
