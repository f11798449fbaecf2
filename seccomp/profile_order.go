package seccomp

import "cmp"

// The order in which the rules of one call are tried matters where several hold and answer differently. It is that of
// libseccomp, so that a profile means the same here: by the first test in which two rules differ, the later argument
// first; tests of the upper half before those of the lower; tests for a value before "less", and "less" before "greater";
// and of the like ones that of the higher value first, or of the lower with "less". A rule whose tests another has too, at its
// beginning, is the wider one, and the narrower goes.

// step is what half an argument is compared with.
type step struct {
	word        uint8 // 2 * argument, and 1 for the upper half
	kind        stepKind
	value, mask uint32

	ahead  uint8 // how far in front the rule's own operator is
	rising bool  // and whether lower values come first
	holds  bool  // whether the rule goes on when the test holds, or when it doesn't
}

type stepKind uint8

const (
	stepEqual stepKind = iota
	stepMasked
	stepAbove
	stepAtLeast
)

func (s step) same(o step) bool {
	return s.word == o.word && s.kind == o.kind && s.value == o.value && s.mask == o.mask
}

// before reports whether a new step is tried before one that is there.
func (s step) before(there step) bool {
	order := cmp.Or(cmp.Compare(there.word, s.word), cmp.Compare(there.ahead, s.ahead))
	if order == 0 && there.rising {
		order = cmp.Compare(s.value, there.value)
	} else if order == 0 {
		order = cmp.Compare(there.value, s.value)
	}
	return order < 0
}

// stepsOf takes tests apart into halves; a narrow table's have the lower only.
func stepsOf(tests []comparison, narrow bool) []step {
	var list []step
	for _, c := range tests {
		low := step{word: 2 * c.argument, value: uint32(c.value), mask: uint32(c.mask), ahead: 3, holds: true}
		switch c.op {
		case opMasked:
			low.kind = stepMasked
		case opNE:
			low.holds = false
		case opGT, opGE:
			low.kind, low.ahead = stepAbove, 1
		case opLT, opLE:
			low.kind, low.ahead, low.rising, low.holds = stepAbove, 2, true, false
		}
		high := low
		if c.op == opGE || c.op == opLT {
			low.kind = stepAtLeast
		}
		if !narrow {
			high.word, high.value, high.mask, high.holds = high.word+1, uint32(c.value>>32), uint32(c.mask>>32), true
			list = append(list, high)
		}
		list = append(list, low)
	}
	return list
}

// places keeps rules in their order, those that begin with the same steps together.
type places struct{ list []*place }

// place is where a step leads: to more of them, or to a rule, when it holds and when it doesn't.
type place struct {
	step
	next [2]places
	rule [2]*tableRule
}

// add reports whether the rule contradicts none that is there.
func (k *places) add(r *tableRule, steps []step) bool {
	at := k.at(steps[0])
	side := 0
	if steps[0].holds {
		side = 1
	}
	there, behind := at.rule[side], &at.next[side]
	switch {
	case there != nil && len(steps) == 1:
		return there.answer == r.answer
	case there != nil:
		return true // it is wider
	case len(steps) > 1:
		return behind.add(r, steps[1:])
	}
	for _, narrower := range behind.ordered(nil) {
		if narrower.answer != r.answer {
			return false
		}
	}
	at.rule[side], *behind = r, places{}
	return true
}

// at finds the place of a step, or makes it.
func (k *places) at(s step) *place {
	i := 0
	for ; i < len(k.list); i++ {
		if k.list[i].same(s) {
			return k.list[i]
		}
		if s.before(k.list[i].step) {
			break
		}
	}
	made := &place{step: s}
	k.list = append(k.list[:i], append([]*place{made}, k.list[i:]...)...)
	return made
}

func (k *places) ordered(list []*tableRule) []*tableRule {
	for _, at := range k.list {
		for side := 1; side >= 0; side-- {
			if at.rule[side] != nil {
				list = append(list, at.rule[side])
			}
			list = at.next[side].ordered(list)
		}
	}
	return list
}
