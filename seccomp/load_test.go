package seccomp

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Helper("load", helpLoad)
	proctest.Main(m)
}

// helpLoad loads a filter, by way of its raw form if that is asked for, and tells what two calls say.
func helpLoad(args []string) int {
	runtime.LockOSThread()
	f, err := Compile(Policy{Deny: Lock, Action: Errno(unix.EXDEV)})
	if err == nil && args[0] == "raw" {
		f, err = Import(f.Raw())
	}
	if err == nil {
		err = f.Load()
	}
	nnp, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	fmt.Print(err, " ", nnp, " ", unix.Flock(0, unix.LOCK_SH), " ", unix.Flock(-1, unix.LOCK_UN), " ", unix.Fsync(-1))
	return 0
}

func TestLoad(t *testing.T) {
	for _, how := range []string{"compiled", "raw"} {
		out, err := proctest.Command(t, "load", how).Output()
		if want := "<nil> 1 invalid cross-device link invalid cross-device link bad file descriptor"; err != nil || string(out) != want {
			t.Errorf("%s: %q, %v; want %q", how, out, err, want)
		}
	}
}

func TestRulesetFor(t *testing.T) {
	const refer = unix.LANDLOCK_ACCESS_FS_REFER
	for _, c := range []struct {
		domain  domain
		abi     int
		want    rulesetAttributes
		granted uint64
	}{
		{stealDomain, 1, rulesetAttributes{files: unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK}, unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK},
		{stealDomain, 2, rulesetAttributes{files: refer}, refer},
		{stealDomain, 5, rulesetAttributes{files: refer}, refer},
		{stealDomain, 6, rulesetAttributes{scoped: 1}, 0},
		{stealDomain, 9, rulesetAttributes{scoped: 1}, 0},
		{socketDomain, 9, rulesetAttributes{files: 1<<16 | refer, scoped: 1}, refer},
		{socketDomain, 11, rulesetAttributes{files: 1<<16 | refer, scoped: 1}, refer},
	} {
		got, granted, err := rulesetFor(c.domain, c.abi)
		if err != nil || got != c.want || granted != c.granted {
			t.Errorf("%v on ABI %d: %+v granting %#x, %v; want %+v granting %#x", c.domain, c.abi, got, granted, err, c.want, c.granted)
		}
	}
	_, _, err := rulesetFor(socketDomain, 8)
	if !errors.Is(err, ErrNoLandlock) || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "it has 8") {
		t.Errorf("a domain for UNIX sockets on ABI 8: %v", err)
	}
}

func TestRulesetOpens(t *testing.T) {
	if LandlockABI() == 0 {
		proctest.Skip(t, "Landlock (CONFIG_SECURITY_LANDLOCK and the lsm= list)")
	}
	for _, abi := range []int{1, 2, 5, 6, 9} {
		if abi > LandlockABI() {
			continue // TestRulesetFor says what it would be
		}
		d := stealDomain
		if abi >= resolveUnixABI {
			d = socketDomain
		}
		attributes, granted, err := rulesetFor(d, abi)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := openRuleset(attributes, granted)
		if err != nil {
			t.Errorf("ABI %d: %v", abi, err)
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("ABI %d: the ruleset is inherited: %#x, %v", abi, flags, err)
		}
		unix.Close(fd)
	}
}

func TestNoRulesetWhereNoneIsNeeded(t *testing.T) {
	f, err := Compile(Policy{Guard: true, NoLandlock: true})
	if err != nil {
		t.Fatal(err)
	}
	if fd, err := f.Ruleset(); fd != -1 || err != nil {
		t.Errorf("Ruleset = %d, %v; want -1", fd, err)
	}
}
