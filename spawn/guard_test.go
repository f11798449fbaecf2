package spawn

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/seccomp"
)

const (
	appending = fdtable.Flags(unix.O_WRONLY | unix.O_APPEND)
	both      = fdtable.Flags(unix.O_RDWR | unix.O_APPEND)
)

func socketOf(family, state string) *fdtable.Socket {
	return &fdtable.Socket{Family: family, State: state}
}

// kinds is every kind that a descriptor can be of, with what becomes of it: why it stays shared (empty: it is made private),
// and the kind that the rules go by.
var kinds = []struct {
	name string
	facts
	why  string
	rule seccomp.Kind
}{
	{"pipe", facts{kind: fdtable.KindPipe}, "", seccomp.Pipe},
	{"FIFO", facts{kind: fdtable.KindFIFO}, "", seccomp.Pipe},
	{"terminal", facts{kind: fdtable.KindTerminal, flags: unix.O_RDWR}, "", seccomp.Terminal},
	{"memory device", facts{kind: fdtable.KindMemoryDevice}, "", seccomp.Device},
	{"appended file", facts{kind: fdtable.KindFile, flags: appending}, "", seccomp.Regular},
	{"locked pipe", facts{kind: fdtable.KindPipe, locked: true}, "a lock is held on it", seccomp.Pipe},
	{"locked terminal", facts{kind: fdtable.KindTerminal, locked: true}, "a lock is held on it", seccomp.Terminal},
	{"locked appended file", facts{kind: fdtable.KindFile, flags: appending, locked: true}, "a lock is held on it", seccomp.Regular},

	{"read file", facts{kind: fdtable.KindFile}, "its offset is shared", seccomp.Regular},
	{"written file", facts{kind: fdtable.KindFile, flags: unix.O_WRONLY}, "its offset is shared", seccomp.Regular},
	{"read and appended file", facts{kind: fdtable.KindFile, flags: both}, "its offset is shared", seccomp.Regular},
	{"directory", facts{kind: fdtable.KindDirectory}, "a directory is left as it is", seccomp.Directory},
	{"master", facts{kind: fdtable.KindPTYMaster}, "a pty master is left as it is", seccomp.Terminal},
	{"char device", facts{kind: fdtable.KindCharDevice}, "a char device is left as it is", seccomp.Device},
	{"block device", facts{kind: fdtable.KindBlockDevice}, "a block device is left as it is", seccomp.Device},
	{"memfd", facts{kind: fdtable.KindMemfd}, "a memfd is left as it is", seccomp.Regular},
	{"secret memory", facts{kind: fdtable.KindSecretMemory}, "a secret memory is left as it is", seccomp.Regular},
	{"queue", facts{kind: fdtable.KindMessageQueue}, "a message queue is left as it is", seccomp.Queue},
	{"eventfd", facts{kind: fdtable.KindEventfd}, "an eventfd is left as it is", seccomp.Event},
	{"timerfd", facts{kind: fdtable.KindTimerfd}, "a timerfd is left as it is", seccomp.Event},
	{"signalfd", facts{kind: fdtable.KindSignalfd}, "a signalfd is left as it is", seccomp.Event},
	{"epoll", facts{kind: fdtable.KindEpoll}, "an epoll is left as it is", seccomp.Event},
	{"inotify", facts{kind: fdtable.KindInotify}, "an inotify is left as it is", seccomp.Event},
	{"pidfd", facts{kind: fdtable.KindPidfd}, "a pidfd is left as it is", seccomp.Event},
	{"namespace", facts{kind: fdtable.KindNamespace}, "a namespace is left as it is", seccomp.Unknown},
	{"perf event", facts{kind: fdtable.KindPerfEvent}, "a perf event is left as it is", seccomp.Unknown},
	{"anonymous", facts{kind: fdtable.KindAnon}, "an anon inode is left as it is", seccomp.Unknown},

	{"TCP", facts{kind: fdtable.KindSocket, socket: socketOf("inet", "")}, "a socket can't be opened again", seccomp.Socket},
	{"TCP listener", facts{kind: fdtable.KindSocket, socket: socketOf("inet", fdtable.StateListening)}, "a socket can't be opened again", seccomp.Socket},
	{"UNIX", facts{kind: fdtable.KindSocket, socket: socketOf(fdtable.FamilyUNIX, "")}, "a socket can't be opened again", seccomp.UnixSocket},
	{"UNIX listener", facts{kind: fdtable.KindSocket, socket: socketOf(fdtable.FamilyUNIX, fdtable.StateListening)}, "a socket can't be opened again", seccomp.UnixListener},
	{"socket of who knows what", facts{kind: fdtable.KindSocket}, "a socket can't be opened again", seccomp.UnixSocket},
}

func TestWhatAKindGets(t *testing.T) {
	for _, k := range kinds {
		if got := k.whyShared(); got != k.why {
			t.Errorf("%s: stays shared because %q, want %q", k.name, got, k.why)
		}
		if got := k.ruleKind(); got != k.rule {
			t.Errorf("%s: the rules go by %v, want %v", k.name, got, k.rule)
		}
		if k.unguardable() {
			t.Errorf("%s can't be held", k.name)
		}
	}
}

func TestUnguardable(t *testing.T) {
	want := []fdtable.Kind{
		fdtable.KindIOUring, fdtable.KindSeccompListener, fdtable.KindBinder, fdtable.KindDMABuf, fdtable.KindUnknown,
	}
	for _, k := range want {
		if !(facts{kind: k}).unguardable() {
			t.Errorf("a guard holds %s", k)
		}
	}
}

// TestRule: every number, whether its description is guarded under a higher one too, and every mode.
func TestRule(t *testing.T) {
	const (
		byDefault = seccomp.DefaultGuard
		noSeek    = seccomp.Flags | seccomp.Owner | seccomp.Lock
	)
	for _, test := range []struct {
		name     string
		guard    Guard
		number   int
		strict   bool
		want     seccomp.Op
		advisory bool
		gets     string
	}{
		{name: "3", number: 3, want: byDefault, gets: "shared, refused by number: flags,owner,lock,seek"},
		{name: "a high one", number: 1 << 20, want: byDefault, gets: "shared, refused by number: flags,owner,lock,seek"},
		{name: "3, other modes for 0 to 2", guard: Guard{Stdio: StdioOff}, number: 3, want: byDefault, gets: "shared, refused by number: flags,owner,lock,seek"},
		{name: "0", number: 0, want: noSeek, advisory: true, gets: "shared, advisory: flags,owner,lock"},
		{name: "2", number: 2, want: noSeek, advisory: true, gets: "shared, advisory: flags,owner,lock"},
		{name: "0, strict", guard: Guard{Stdio: StdioStrict}, number: 0, want: byDefault, gets: "shared, refused by number: flags,owner,lock,seek"},
		{name: "0, off", guard: Guard{Stdio: StdioOff}, number: 0, gets: "shared, unguarded"},
		{name: "1, the same as 3", number: 1, strict: true, want: byDefault, gets: "shared, refused by number: flags,owner,lock,seek"},
		{name: "1, the same as 3, off", guard: Guard{Stdio: StdioOff}, number: 1, strict: true, want: byDefault, gets: "shared, refused by number: flags,owner,lock,seek"},
		{name: "seek is named, 0", guard: Guard{Operations: seccomp.Seek | seccomp.Flags}, want: seccomp.Flags | seccomp.Seek, advisory: true, gets: "shared, advisory: flags,seek"},
		{name: "lock, 3", guard: Guard{Operations: seccomp.Lock}, number: 3, want: seccomp.Lock, gets: "shared, refused by number: lock"},
		{name: "offset, 3", guard: Guard{Operations: seccomp.Offset}, number: 3, want: seccomp.Offset | seccomp.Seek, gets: "shared, refused by number: seek,offset"},
		{name: "offset, 0", guard: Guard{Operations: seccomp.Offset | seccomp.Flags}, want: seccomp.Flags, advisory: true, gets: "shared, advisory: flags"},
		{name: "offset, 0 strict", guard: Guard{Operations: seccomp.Offset, Stdio: StdioStrict}, want: 0, gets: "shared, refused by number: none"},
		{name: "offset, 0 the same as 3", guard: Guard{Operations: seccomp.Offset}, strict: true, want: seccomp.Seek, gets: "shared, refused by number: seek"},
		{name: "mode, 4", guard: Guard{Operations: seccomp.Mode | seccomp.Owner}, number: 4, want: seccomp.Mode | seccomp.Owner, gets: "shared, refused by number: owner,mode"},
	} {
		d, gets := test.guard.rule(test.number, facts{kind: fdtable.KindFile}, test.strict)
		want := seccomp.Descriptor{Number: test.number, Kind: seccomp.Regular, Guard: test.want, Advisory: test.advisory}
		if d != want || gets != test.gets {
			t.Errorf("%s: %+v, %q\nwant %+v, %q", test.name, d, gets, want, test.gets)
		}
	}
}

// TestRules: descriptors of one description share their fate, and each is told what it gets and why.
func TestRules(t *testing.T) {
	var said []string
	g := &Guard{Explain: func(number int, gets string) { said = append(said, string(rune('0'+number))+" "+gets) }}
	file := facts{kind: fdtable.KindFile}
	rules := g.rules([]guarded{
		{number: 0, group: 0, facts: facts{kind: fdtable.KindPipe}},
		{number: 1, group: 1, facts: file, why: "its offset is shared"},
		{number: 2, group: 2, facts: file, why: "its offset is shared"},
		{number: 5, group: 1, facts: file, why: "its offset is shared"},
		{number: 6, group: 0, facts: facts{kind: fdtable.KindPipe}},
	})
	want := []seccomp.Descriptor{
		{Number: 1, Kind: seccomp.Regular, Guard: seccomp.DefaultGuard},
		{Number: 2, Kind: seccomp.Regular, Guard: seccomp.DefaultGuard &^ seccomp.Seek, Advisory: true},
		{Number: 5, Kind: seccomp.Regular, Guard: seccomp.DefaultGuard},
	}
	if !slices.Equal(rules, want) {
		t.Errorf("got  %+v\nwant %+v", rules, want)
	}
	const words = `0 private (a pipe, opened again)
1 shared, refused by number: flags,owner,lock,seek (its offset is shared, and it is guarded under a higher number too)
2 shared, advisory: flags,owner,lock (its offset is shared)
5 shared, refused by number: flags,owner,lock,seek (its offset is shared)
6 private (a pipe, opened again)`
	if got := strings.Join(said, "\n"); got != words {
		t.Errorf("said\n%s\nwant\n%s", got, words)
	}
}

// TestGuardPolicy: what the guard's fields come to in the policy.
func TestGuardPolicy(t *testing.T) {
	g := &Guard{
		Operations: seccomp.Flags, Deny: seccomp.TTY, AllowSteal: true, Passing: seccomp.PassNoUnix, Action: seccomp.Kill,
		ABI: seccomp.ABICompat,
	}
	got := g.Policy([]int{0, 7})
	want := seccomp.Policy{
		Deny: seccomp.TTY, Guard: true, NoLandlock: true, Passing: seccomp.PassNoUnix, Action: seccomp.Kill,
		ABI: seccomp.ABICompat, Landlock: seccomp.LandlockABI(),
	}.Keep(
		seccomp.Descriptor{Number: 0, Guard: seccomp.Flags, Advisory: true},
		seccomp.Descriptor{Number: 7, Guard: seccomp.Flags},
	)
	if got != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if p := new(Guard).policy(nil, true); !p.Privileged || p.NoLandlock || p.Passing != seccomp.PassTree || p.Action != 0 {
		t.Errorf("the zero value becomes %+v", p)
	}
}
