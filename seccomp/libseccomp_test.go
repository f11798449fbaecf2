//go:build libseccomp

package seccomp

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// judged compiles the rules of one machine by libseccomp.
func judged(t *testing.T, set *ruleSet, machine int) []unix.SockFilter {
	t.Helper()
	raw, err := set.export(machine, func(f *libseccomp.ScmpFilter, file *os.File) error { return f.ExportBPF(file) })
	if errors.Is(err, errNotFlat) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return decode(raw) // without Import's check: its programs may be longer than the kernel takes
}

// judge compares our filter with libseccomp's of the same rules, over random calls.
func judge(t *testing.T, r *rand.Rand, p Policy, callsEach int) (compared int) {
	t.Helper()
	f, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, machine := range p.machines(p.Arch) {
		theirs := judged(t, f.set, machine)
		if theirs == nil {
			continue
		}
		for range callsEach {
			m, e := randomCall(r, p)
			if m != machine || machine == machineI386 && isSocketCall(e.number) {
				continue
			}
			want, _ := interpret(t, theirs, e)
			if got, _ := interpret(t, f.program, e); got != want {
				t.Fatalf("%v\n%s call %d %#x: we answer %#x and libseccomp %#x",
					p, machines[machine].name, e.number, e.arguments, got, want)
			}
			compared++
		}
	}
	return compared
}

func isSocketCall(number uint32) bool {
	return slices.ContainsFunc(socketCalls, func(id callID) bool { return uint32(calls[id].number[machineI386]) == number })
}

func TestLibseccompJudges(t *testing.T) {
	seed := testSeed(t)
	r := rand.New(rand.NewPCG(seed, 3))
	compared := 0
	for range 60 {
		p := randomPolicy(r)
		if n := len(p.descriptors()); n > 8 {
			p.kept = p.kept[:8*packedSize] // libseccomp takes seconds for more
		}
		compared += judge(t, r, p, 20000)
	}
	t.Logf("%d calls compared", compared)
}

func TestNumbersAreLibseccomps(t *testing.T) {
	for id := range calls {
		for machine, number := range calls[id].number {
			theirs, err := libseccomp.GetSyscallFromNameByArch(calls[id].name, libseccompArchitectures[machine])
			if (err != nil || theirs < 0) && number == none {
				continue
			}
			if machine == machineI386 && slices.Contains(socketCalls, callID(id)) && theirs < -100 {
				continue // it knows them as parts of socketcall
			}
			if err != nil || int32(theirs) != number {
				t.Errorf("%s on %s: %d, libseccomp says %d, %v", calls[id].name, machines[machine].name, number, theirs, err)
			}
		}
	}
}

func TestPFC(t *testing.T) {
	f, err := Compile(Policy{Deny: Lock, Arch: AMD64, ABI: ABICompat})
	if err != nil {
		t.Fatal(err)
	}
	listing, err := f.PFC()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"arch x86_64", "arch x86 ", `syscall "flock"`, "action ERRNO(1)"} {
		if !bytes.Contains(listing, []byte(want)) {
			t.Errorf("the listing has no %q:\n%s", want, listing)
		}
	}
}

func BenchmarkLibseccomp(b *testing.B) {
	for _, n := range []int{4, 16, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			set := cardSet(contiguous(n))
			for b.Loop() {
				filter, err := set.libseccomp(machineX86_64)
				if err != nil {
					b.Fatal(err)
				}
				filter.Release()
			}
		})
	}
}
