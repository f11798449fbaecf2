package seccomp

import (
	"errors"
	"math/bits"
	"slices"
)

// flatRule is a rule as libseccomp and OCI profiles have them: one comparison per argument, and no sets. A rule of ours
// becomes as many as it takes.
type flatRule struct {
	call   callID
	answer uint32
	tests  []flatTest
}

// flatTest compares an argument, cut to the mask, with a value. With whole it compares all that the register holds, and
// with not the rule holds when they differ.
type flatTest struct {
	argument    uint8
	whole, not  bool
	mask, value uint64
}

var errNotFlat = errors.New("the rules permit and log what others refuse on the same call, " +
	"which only a raw filter can say: use an action that refuses")

// flat lists the rules for a machine. No two of different answers hold for the same call: their order, which decides here,
// means nothing there.
func (s *ruleSet) flat(machine int) ([]flatRule, error) {
	var list []flatRule
	for id := range callID(callCount) {
		if calls[id].number[machine] < 0 {
			continue
		}
		ofCall, err := s.flatCall(id, machine)
		if err != nil {
			return nil, err
		}
		list = append(list, ofCall...)
	}
	return list, nil
}

// flatCall flattens the rules of one call, leaving out what a stricter or equal one covers.
func (s *ruleSet) flatCall(id callID, machine int) ([]flatRule, error) {
	var list []flatRule
	for _, r := range s.rulesFor(id) {
		for _, next := range s.flatten(r, machine) {
			covered := slices.ContainsFunc(list, func(known flatRule) bool { return known.covers(next) })
			conflict := slices.ContainsFunc(list, func(known flatRule) bool {
				return known.answer != next.answer && known.meets(next)
			})
			switch {
			case covered:
			case conflict:
				return nil, errNotFlat
			default:
				list = append(list, next)
			}
		}
	}
	return list, nil
}

// covers reports whether the rule holds wherever the other does.
func (r flatRule) covers(other flatRule) bool {
	return !slices.ContainsFunc(r.tests, func(t flatTest) bool {
		return !slices.ContainsFunc(other.tests, func(o flatTest) bool { return t.follows(o) })
	})
}

// follows reports whether the test holds wherever the other does.
func (t flatTest) follows(o flatTest) bool {
	if t == o {
		return true
	}
	return t.argument == o.argument && !t.whole && !o.whole && t.mask&^o.mask == 0 && o.value&t.mask == t.value
}

// meets reports whether both rules may hold for one call.
func (r flatRule) meets(other flatRule) bool {
	return !slices.ContainsFunc(r.tests, func(t flatTest) bool {
		return slices.ContainsFunc(other.tests, func(o flatTest) bool { return t.excludes(o) })
	})
}

func (t flatTest) excludes(o flatTest) bool {
	common := t.mask & o.mask
	return t.argument == o.argument && !t.whole && !o.whole && t.value&common != o.value&common
}

// flatten multiplies the alternatives of each argument.
func (s *ruleSet) flatten(r *rule, machine int) []flatRule {
	list := []flatRule{{call: r.call, answer: r.answer}}
	for _, test := range r.fds[:r.fdCount] {
		list = multiply(list, s.flatFd(test))
	}
	for _, v := range r.values {
		if !v.narrow || machines[machine].narrow {
			list = multiply(list, v.flat(isWide(r.call, v.argument, machine)))
		}
	}
	return list
}

func multiply(list []flatRule, alternatives []flatTest) []flatRule {
	product := make([]flatRule, 0, len(list)*len(alternatives))
	for _, r := range list {
		for _, t := range alternatives {
			product = append(product, flatRule{r.call, r.answer, append(slices.Clone(r.tests), t)})
		}
	}
	return product
}

// flatFd says a set of numbers in masks: a range is a few aligned blocks.
func (s *ruleSet) flatFd(test fdTest) []flatTest {
	if test.classes&1 == 0 {
		return blocks(test.argument, all, s.ranges(test.classes))
	}
	return blocks(test.argument, all, gaps(all, s.ranges(^test.classes)))
}

func (v value) flat(wide bool) []flatTest {
	if wide {
		return []flatTest{{v.argument, true, v.not, 0, uint64(v.set[0])<<32 | uint64(v.set[0])}}
	}
	if v.not {
		var ranges []span
		for _, x := range slices.Sorted(slices.Values(v.set)) {
			ranges = append(ranges, span{lo: x, hi: x})
		}
		return blocks(v.argument, v.mask, gaps(v.mask, ranges))
	}
	var list []flatTest
	for _, x := range v.set {
		list = append(list, flatTest{v.argument, false, false, uint64(v.mask), uint64(x)})
	}
	return list
}

// gaps are the ranges between ranges, from 0 to the mask, which must be ones without a hole.
func gaps(mask uint32, ranges []span) []span {
	var list []span
	next := uint64(0)
	for _, r := range ranges {
		if next < uint64(r.lo) {
			list = append(list, span{lo: uint32(next), hi: r.lo - 1})
		}
		next = uint64(r.hi) + 1
	}
	if next <= uint64(mask) {
		list = append(list, span{lo: uint32(next), hi: mask})
	}
	return list
}

// blocks cuts ranges into blocks whose size is a power of two and which begin at a multiple of it.
func blocks(argument uint8, mask uint32, ranges []span) []flatTest {
	var list []flatTest
	for _, r := range ranges {
		for lo, end := uint64(r.lo), uint64(r.hi)+1; lo < end; {
			size := uint64(1) << (bits.Len64(end-lo) - 1)
			if lo != 0 {
				size = min(size, lo&-lo)
			}
			list = append(list, flatTest{argument, false, false, uint64(mask) &^ (size - 1), lo})
			lo += size
		}
	}
	return list
}
