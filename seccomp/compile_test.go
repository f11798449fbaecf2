package seccomp

import (
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// cardSet is dup, dup2, dup3, F_DUPFD, F_DUPFD_CLOEXEC, F_SETFL and flock on numbers, and nothing else.
func cardSet(numbers []int) *ruleSet {
	kept := make([]Descriptor, len(numbers))
	for i, n := range numbers {
		kept[i] = Descriptor{Number: n, Kind: Pipe, Guard: Flags | Lock}
	}
	p := Policy{Guard: true}.Keep(kept...)
	set := &ruleSet{classes: make([]class, 1)}
	if err := set.classify(p, p.descriptors()); err != nil {
		panic(err)
	}
	set.numbered(p)
	var wanted []rule
	for _, r := range set.rules {
		switch {
		case r.call == callDup, r.call == callDup2, r.call == callDup3, r.call == callFlock:
			wanted = append(wanted, r)
		case r.call == callFcntl && r.values[0].set[0] != unix.F_OFD_SETLK:
			wanted = append(wanted, r)
		}
	}
	set.rules = wanted
	return set
}

func contiguous(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = 3 + i
	}
	return numbers
}

func scattered(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = 3 + i*i/2 + 3*i
	}
	return numbers
}

func TestCardSetIsShort(t *testing.T) {
	for _, n := range []int{1, 4, 16, 64, 256} {
		inRow, err := cardSet(contiguous(n)).compile([]int{machineX86_64})
		if err != nil {
			t.Fatal(err)
		}
		apart, err := cardSet(scattered(n)).compile([]int{machineX86_64})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d numbers: %d instructions contiguous, %d scattered", n, len(inRow), len(apart))
		if len(inRow) > 32 {
			t.Errorf("%d contiguous numbers take %d instructions, more than 32", n, len(inRow))
		}
		if len(apart) > 7*n+20 && len(apart) > 32 {
			t.Errorf("%d scattered numbers take %d instructions, more than 7 a number and 20", n, len(apart))
		}
	}
}

func defaultGuard(numbers []int, kind Kind) Policy {
	kept := make([]Descriptor, len(numbers))
	for i, n := range numbers {
		kept[i] = Descriptor{Number: n, Kind: kind, Guard: DefaultGuard}
	}
	return Policy{Guard: true, Arch: AMD64}.Keep(kept...)
}

func TestDefaultGuardIsShort(t *testing.T) {
	for _, abi := range []ABI{ABINative, ABICompat} {
		for _, n := range []int{0, 4, 64, 256} {
			for _, numbers := range [][]int{contiguous(n), scattered(n)} {
				p := defaultGuard(numbers, Unknown)
				p.ABI = abi
				f, err := Compile(p)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%v %d numbers: %d instructions", abi, n, len(f.program))
				limit := 200 * len(p.machines(AMD64))
				if slices.Equal(numbers, contiguous(n)) && len(f.program) > limit {
					t.Errorf("%v: %d numbers take %d instructions, more than %d", abi, n, len(f.program), limit)
				}
			}
		}
	}
}

// mixedGuard guards every second number, of five kinds in turn and of eight sets of operations.
func mixedGuard(n int) Policy {
	kinds := []Kind{Regular, Pipe, Socket, Terminal, Directory}
	sets := []Op{Flags, Flags | Lock, Seek, DefaultGuard, Offset, Offset | Mode, Mode | Lock, Owner}
	kept := make([]Descriptor, n)
	for i := range kept {
		kept[i] = Descriptor{Number: 4 + 2*i, Kind: kinds[i%len(kinds)], Guard: sets[i%len(sets)]}
	}
	return Policy{Guard: true, Arch: AMD64}.Keep(kept...)
}

// TestMixedGuardIsShort: what tells classes apart is a few instructions each, not the rules of every call again, and both
// machines share the search for the number.
func TestMixedGuardIsShort(t *testing.T) {
	for _, n := range []int{40, 64, 256} {
		for _, abi := range []ABI{ABINative, ABICompat} {
			p := mixedGuard(n)
			p.ABI = abi
			f, err := Compile(p)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v %d numbers: %d instructions", abi, n, len(f.program))
			if limit := 3*n + 300 + 200*len(p.machines(AMD64)); len(f.program) > limit {
				t.Errorf("%v: %d numbers take %d instructions, more than %d", abi, n, len(f.program), limit)
			}
		}
	}
}

// TestCallsOfARowLookAtTheSameWords: calls with the same rules share their code.
func TestCallsOfARowLookAtTheSameWords(t *testing.T) {
	list := []*row{&mountRow, &unixRow, &unixPairRow, &unixDatagramPairRow, &receiveRow, &sendRow, &socketcallRow}
	for i := range rows {
		list = append(list, &rows[i])
	}
	for _, r := range list {
		for _, v := range r.values {
			for _, id := range r.calls {
				if isWide(id, v.argument, machineX86_64) != isWide(r.calls[0], v.argument, machineX86_64) {
					t.Errorf("%s and %s differ in the width of argument %d", calls[id].name, calls[r.calls[0]].name, v.argument)
				}
			}
		}
	}
}

// TestCompileAtOnce: compilers hand their memory on, and no two filters may come to share any.
func TestCompileAtOnce(t *testing.T) {
	policies := []Policy{
		defaultGuard(contiguous(4), Unknown), defaultGuard(scattered(256), Pipe), mixedGuard(64), {Deny: Lock, Arch: ARM64},
	}
	compile := func(p Policy) []unix.SockFilter {
		f, err := Compile(p)
		if err != nil {
			t.Error(err)
			return nil
		}
		return f.program
	}
	var want [][]unix.SockFilter
	for _, p := range policies {
		want = append(want, slices.Clone(compile(p)))
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 100 {
				var got [][]unix.SockFilter
				for _, p := range policies {
					got = append(got, compile(p))
				}
				for i := range policies {
					if !slices.Equal(got[i], want[i]) {
						t.Errorf("%v: compiled beside others it is %v, not %v", policies[i], got[i], want[i])
						return
					}
				}
			}
		})
	}
	group.Wait()
}

func BenchmarkCompile(b *testing.B) {
	for _, c := range []struct {
		name   string
		policy Policy
		abi    ABI
	}{
		{"4", defaultGuard(contiguous(4), Unknown), ABINative},
		{"64", defaultGuard(contiguous(64), Unknown), ABINative},
		{"256", defaultGuard(contiguous(256), Unknown), ABINative},
		{"64 scattered", defaultGuard(scattered(64), Unknown), ABINative},
		{"256 scattered", defaultGuard(scattered(256), Unknown), ABINative},
		{"256 scattered compat", defaultGuard(scattered(256), Unknown), ABICompat},
		{"256 mixed", mixedGuard(256), ABINative},
		{"256 mixed compat", mixedGuard(256), ABICompat},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := c.policy
			p.ABI = c.abi
			b.ReportAllocs()
			for b.Loop() {
				f, err := Compile(p)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(f.program)), "instructions")
			}
		})
	}
}
