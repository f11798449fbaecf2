package seccomp

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// runtimeAnswers does what a container runtime and libseccomp do with a profile: the action of a rule whose arguments all
// match; several such rules must agree.
func runtimeAnswers(t *testing.T, profile ociProfile, name string, arguments [6]uint64) uint32 {
	t.Helper()
	var answers []uint32
	for _, s := range profile.Syscalls {
		if !slices.Contains(s.Names, name) || slices.ContainsFunc(s.Args, func(a ociArg) bool { return !a.matches(t, arguments) }) {
			continue
		}
		switch s.Action {
		case "SCMP_ACT_KILL_PROCESS":
			answers = append(answers, unix.SECCOMP_RET_KILL_PROCESS)
		case "SCMP_ACT_LOG":
			answers = append(answers, unix.SECCOMP_RET_LOG)
		case "SCMP_ACT_ERRNO":
			answers = append(answers, unix.SECCOMP_RET_ERRNO|*s.ErrnoRet)
		default:
			t.Fatalf("action %q", s.Action)
		}
	}
	answers = slices.Compact(answers)
	switch len(answers) {
	case 0:
		return unix.SECCOMP_RET_ALLOW
	case 1:
		return answers[0]
	}
	t.Fatalf("%s%#x meets rules that disagree: %#x", name, arguments, answers)
	return 0
}

func (a ociArg) matches(t *testing.T, arguments [6]uint64) bool {
	got := arguments[a.Index]
	switch a.Op {
	case "SCMP_CMP_MASKED_EQ":
		return got&a.Value == a.ValueTwo
	case "SCMP_CMP_EQ":
		return got == a.Value
	case "SCMP_CMP_NE":
		return got != a.Value
	}
	t.Fatalf("comparison %q", a.Op)
	return false
}

func TestOCIMeansTheSame(t *testing.T) {
	seed := testSeed(t)
	r := rand.New(rand.NewPCG(seed, 5))
	compared := 0
	for range 60 {
		p := randomPolicy(r)
		p.ABI = ABINative
		if n := len(p.descriptors()); n > 12 {
			p.kept = p.kept[:12*packedSize]
		}
		f, err := Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		text, missing, err := f.OCI()
		if errors.Is(err, errNotFlat) && p.Action == Log {
			continue
		}
		if err != nil || len(missing) == 0 {
			t.Fatal(missing, err)
		}
		var profile ociProfile
		if err := json.Unmarshal(text, &profile); err != nil {
			t.Fatal(err)
		}
		compared += compareProfile(t, r, p, f, profile)
	}
	t.Logf("%d calls compared", compared)
}

func compareProfile(t *testing.T, r *rand.Rand, p Policy, f *Filter, profile ociProfile) (compared int) {
	for range 500 {
		machine, e := randomCall(r, p)
		id := slices.IndexFunc(calls[:], func(c call) bool { return uint32(c.number[machine]) == e.number })
		if machine != p.machines(p.Arch)[0] || id < 0 || e.number == all {
			continue
		}
		compared++
		want, _ := interpret(t, f.program, e)
		if got := runtimeAnswers(t, profile, calls[id].name, e.arguments); got != want {
			t.Fatalf("%v\n%s%#x: the profile answers %#x and the filter %#x", p, calls[id].name, e.arguments, got, want)
		}
	}
	return compared
}

func TestOCIOfBothTables(t *testing.T) {
	f, err := Compile(Policy{Deny: Lock | Pass, Arch: AMD64, ABI: ABICompat})
	if err != nil {
		t.Fatal(err)
	}
	text, _, err := f.OCI()
	if err != nil {
		t.Fatal(err)
	}
	var profile ociProfile
	if err := json.Unmarshal(text, &profile); err != nil {
		t.Fatal(err)
	}
	if want := []string{"SCMP_ARCH_X86_64", "SCMP_ARCH_X86"}; !slices.Equal(profile.Architectures, want) {
		t.Errorf("architectures %v, want %v", profile.Architectures, want)
	}
	for _, name := range []string{"flock", "socketcall", "recvmmsg_time64"} {
		if got := runtimeAnswers(t, profile, name, [6]uint64{}); got != refused(unix.EPERM) {
			t.Errorf("%s: %#x", name, got)
		}
	}
	if got := runtimeAnswers(t, profile, "fcntl64", [6]uint64{0, unix.F_OFD_SETLK}); got != refused(unix.EPERM) {
		t.Errorf("fcntl64: %#x", got)
	}
}

func TestOCIRefusesWhatItCannotSay(t *testing.T) {
	f, err := Compile(Policy{Deny: Dup, Action: Log, Guard: true}.Keep(Descriptor{Number: 3, Guard: Lock}))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.OCI(); err == nil || !strings.Contains(err.Error(), "only a raw filter can say") {
		t.Errorf("log for all and EPERM for one on the same call: %v", err)
	}
}

func TestBlocks(t *testing.T) {
	for _, c := range []struct {
		mask   uint32
		ranges []span
		want   []flatTest
	}{
		{all, []span{{lo: 3, hi: 3}}, []flatTest{{mask: all, value: 3}}},
		{all, []span{{lo: 0, hi: all}}, []flatTest{{mask: 0, value: 0}}},
		{all, []span{{lo: 3, hi: 8}}, []flatTest{{mask: all, value: 3}, {mask: all &^ 3, value: 4}, {mask: all, value: 8}}},
		{0xf, gaps(0xf, []span{{lo: 1, hi: 1}, {lo: 5, hi: 5}}), []flatTest{
			{mask: 0xf, value: 0}, {mask: 0xe, value: 2}, {mask: 0xf, value: 4}, {mask: 0xe, value: 6}, {mask: 0x8, value: 8},
		}},
	} {
		if got := blocks(0, c.mask, c.ranges); !slices.Equal(got, c.want) {
			t.Errorf("blocks(%#x, %v) = %+v, want %+v", c.mask, c.ranges, got, c.want)
		}
	}
}
