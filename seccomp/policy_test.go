package seccomp

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPolicyString(t *testing.T) {
	guard3 := Descriptor{Number: 3, Kind: Regular, Guard: DefaultGuard}
	for _, c := range []struct {
		policy Policy
		want   string
	}{
		{Policy{Arch: AMD64}, "amd64, native"},
		{Policy{Arch: ARM64, ABI: ABICompat, Deny: Lock, Action: Kill}, "arm64, compat; deny lock; on violation kill"},
		{Policy{Arch: AMD64, Deny: Steal}, "amd64, native; deny steal; on violation errno; Landlock"},
		{Policy{Arch: AMD64, Deny: Steal, Action: Log}, "amd64, native; deny steal; on violation log"},
		{Policy{Arch: AMD64, Guard: true}, "amd64, native; guard against stealing; Landlock"},
		{Policy{Arch: AMD64, Guard: true, NoLandlock: true}, "amd64, native; guard against stealing"},
		{
			Policy{Arch: AMD64, Guard: true, Landlock: 9, Privileged: true}.Keep(guard3),
			"amd64, native; guard flags,owner,lock,seek on 3 (regular file); passing tree; privileged; " +
				"on violation errno; Landlock with named UNIX sockets",
		},
		{
			Policy{Arch: AMD64, Guard: true, Passing: PassNoUnix, Action: Errno(unix.EACCES)}.Keep(
				guard3, Descriptor{Number: 0, Kind: Socket, Guard: Flags, Advisory: true}),
			"amd64, native; advisory guard flags on 0 (socket); guard flags,owner,lock,seek on 3 (regular file); " +
				"passing no-unix; on violation errno=EACCES; Landlock",
		},
	} {
		if got := c.policy.String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestPoliciesCompare(t *testing.T) {
	three, four := Descriptor{Number: 3, Guard: Lock}, Descriptor{Number: 4, Guard: Lock}
	p := Policy{Guard: true}
	if p.Keep(three, four) != p.Keep(four).Keep(three) {
		t.Error("the order of keeping makes a difference")
	}
	if p.Keep(three) == p || p.Keep(three) == p.Keep(four) {
		t.Error("different policies are equal")
	}
}

func TestPoliciesThatCannotBeHeld(t *testing.T) {
	guard := Policy{Guard: true}
	for _, c := range []struct {
		policy Policy
		want   string
	}{
		{Policy{Deny: Offset}, "deny seek instead"},
		{Policy{Deny: 1 << 14}, "no name"},
		{Policy{Deny: Seek | Flags, Action: Pretend}, "seek can't be pretended, only flags,owner,lock"},
		{Policy{Action: Errno(9999)}, "no action 9999"},
		{Policy{Arch: 7}, "no machine 7"},
		{Policy{ABI: 2}, "no name"},
		{Policy{Passing: 4}, "no name"},
		{Policy{}.Keep(Descriptor{Number: 3, Guard: Lock}), "descriptor 3: guarded by a policy without a guard"},
		{guard.Keep(Descriptor{Number: 3, Guard: Wberr}), "descriptor 3: wberr can't be guarded"},
		{guard.Keep(Descriptor{Number: 2, Guard: Offset}), "descriptor 2: offset can be guarded on 3 and up only"},
		{guard.Keep(Descriptor{Number: 3, Guard: Lock, Advisory: true}), "descriptor 3: a guard can be advisory on 0 to 2 only"},
		{guard.Keep(Descriptor{Number: -1, Guard: Lock}), "descriptor -1: bad file descriptor"},
		{guard.Keep(Descriptor{Number: 1 << 40, Guard: Lock}), "bad file descriptor"},
		{guard.Keep(Descriptor{Number: 3, Kind: 77}), "no name"},
		{guard.Keep(Descriptor{Number: 3}, Descriptor{Number: 3, Guard: Lock}), "descriptor 3 is named twice"},
		{guard.Keep(Descriptor{Number: 3, Kind: UnixListener, Guard: Lock}), "choose fd-passing no-sendmsg or allow"},
		{
			Policy{Guard: true, Passing: PassNoUnix}.Keep(Descriptor{Number: 3, Kind: UnixListener}, Descriptor{Number: 4, Guard: Lock}),
			"descriptor 3 is a UNIX socket that listens",
		},
	} {
		f, err := Compile(c.policy)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: Compile says %v and %v, want an error with %q", c.policy, f, err, c.want)
		}
	}
	if _, err := Compile(guard.Keep(Descriptor{Number: -1})); !errors.Is(err, unix.EBADF) {
		t.Errorf("%v is not EBADF", err)
	}
}

func TestListenersWhereSendingIsRefused(t *testing.T) {
	for _, passing := range []Passing{PassNoSendmsg, PassAllow} {
		p := Policy{Guard: true, Passing: passing}.Keep(Descriptor{Number: 3, Kind: UnixListener, Guard: Lock})
		if _, err := Compile(p); err != nil {
			t.Errorf("%v: %v", p, err)
		}
	}
}

func TestParseAction(t *testing.T) {
	for _, c := range []struct {
		text string
		want Action
		back string
	}{
		{"errno", Errno(unix.EPERM), "errno=EPERM"},
		{"errno=EACCES", Errno(unix.EACCES), "errno=EACCES"},
		{"errno=EHWPOISON", Errno(unix.EHWPOISON), "errno=EHWPOISON"},
		{"pretend", Pretend, "pretend"},
		{"kill", Kill, "kill"},
		{"log", Log, "log"},
	} {
		got, err := ParseAction(c.text)
		if err != nil || got != c.want || got.String() != c.back {
			t.Errorf("ParseAction(%q) = %v (%d), %v; want %s", c.text, got, got, err, c.back)
		}
	}
	for _, text := range []string{"", "errno=", "errno=0", "errno=1", "errno=EFOO", "trap", "Kill"} {
		if got, err := ParseAction(text); err == nil {
			t.Errorf("ParseAction(%q) = %v", text, got)
		}
	}
}

func TestParseModes(t *testing.T) {
	for i, name := range passingNames {
		if p, err := ParsePassing(name); err != nil || int(p) != i || p.String() != name {
			t.Errorf("ParsePassing(%q) = %v, %v", name, p, err)
		}
	}
	for i, name := range abiNames {
		if a, err := ParseABI(name); err != nil || int(a) != i || a.String() != name {
			t.Errorf("ParseABI(%q) = %v, %v", name, a, err)
		}
	}
	if _, err := ParsePassing("none"); err == nil || !strings.Contains(err.Error(), "tree, no-unix, no-sendmsg, allow") {
		t.Errorf("ParsePassing(none): %v", err)
	}
	if _, err := ParseABI(""); err == nil {
		t.Error("ParseABI of nothing succeeds")
	}
}
