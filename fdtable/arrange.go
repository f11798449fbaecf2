package fdtable

import "slices"

// Null, as a Move's source, stands for /dev/null, which is opened for the number.
const Null = -1

// A Move says which of the caller's descriptors the new table has at which number.
type Move struct {
	From int // the caller's descriptor, or Null
	To   int // the number in the new table
}

// An Op is what a Step does.
type Op uint8

// The operations of a Step.
const (
	Dup   Op = iota // duplicate From onto To, without close-on-exec
	Stash           // duplicate From onto To, a free number that is closed again later, with close-on-exec
	Clear           // clear close-on-exec on To, which is in its place already
	Close           // close From, which isn't part of the new table
	Open            // open /dev/null as To
)

// A Step is one system call (Open may take three) on the way from the sources to the targets.
type Step struct {
	Op       Op
	From, To int32
}

// Arrange turns moves into steps that never overwrite a source which is still needed: a chain is walked from its end,
// a cycle is broken by one Stash. It supposes a table that holds the sources and nothing else, and leaves one that holds
// the targets and nothing else. Stashes take the lowest numbers that are neither source nor target nor to be avoided, so
// that they stay below any limit under which the table could exist. Two moves to one number are the caller's mistake.
func Arrange(moves []Move, avoid ...int) []Step {
	a := newArrangement(moves, avoid)
	for len(a.waiting) > 0 {
		if !a.place() {
			a.breakCycle()
		}
	}
	for _, m := range moves {
		if m.From == m.To {
			a.step(Clear, m.To, m.To)
		}
	}
	a.closeLeft(moves)
	for _, m := range moves {
		if m.From == Null {
			a.step(Open, Null, m.To)
		}
	}
	return a.steps
}

// An arrangement is the work of Arrange. Its sets are sorted slices: they are small as a rule, and a start pays for maps.
type arrangement struct {
	steps   []Step
	waiting []Move  // what has to be duplicated yet
	sources numbers // once for each move that still needs it
	targets numbers
	taken   numbers // what a stash may not take
	stashed []int
}

// numbers is a sorted list, which may hold a number several times.
type numbers []int

func (n numbers) has(number int) bool {
	_, found := slices.BinarySearch(n, number)
	return found
}

func (n *numbers) add(number int) {
	i, _ := slices.BinarySearch(*n, number)
	*n = slices.Insert(*n, i, number)
}

func (n *numbers) remove(number int) {
	if i, found := slices.BinarySearch(*n, number); found {
		*n = slices.Delete(*n, i, i+1)
	}
}

func newArrangement(moves []Move, avoid []int) *arrangement {
	a := &arrangement{steps: make([]Step, 0, 2*len(moves)), taken: slices.Clone(avoid)}
	for _, m := range moves {
		a.taken = append(a.taken, m.From, m.To)
		a.targets = append(a.targets, m.To)
		if m.From == Null {
			continue
		}
		a.sources = append(a.sources, m.From)
		if m.From != m.To {
			a.waiting = append(a.waiting, m)
		}
	}
	slices.Sort(a.taken)
	slices.Sort(a.targets)
	slices.Sort(a.sources)
	return a
}

func (a *arrangement) step(op Op, from, to int) {
	a.steps = append(a.steps, Step{op, int32(from), int32(to)})
}

// place duplicates whatever overwrites nothing that is still needed, and reports whether there was any.
func (a *arrangement) place() bool {
	before := len(a.waiting)
	a.waiting = slices.DeleteFunc(a.waiting, func(m Move) bool {
		if a.sources.has(m.To) {
			return false
		}
		a.step(Dup, m.From, m.To)
		a.sources.remove(m.From)
		return true
	})
	return len(a.waiting) < before
}

// breakCycle makes room at one target: what it holds goes to a free number, for all who wait for it.
func (a *arrangement) breakCycle() {
	held, free := a.waiting[0].To, 0
	for a.taken.has(free) {
		free++
	}
	a.taken.add(free)
	a.stashed = append(a.stashed, free)
	a.step(Stash, held, free)
	for i := range a.waiting {
		if a.waiting[i].From == held {
			a.waiting[i].From = free
			a.sources.remove(held)
			a.sources.add(free)
		}
	}
}

// closeLeft ends what is left over: stashes, sources whose numbers the new table doesn't have, and sources whose number
// becomes /dev/null, which is opened there.
func (a *arrangement) closeLeft(moves []Move) {
	left := a.stashed
	for _, m := range moves {
		if m.From != Null && !a.targets.has(m.From) {
			left = append(left, m.From)
		}
	}
	for _, m := range moves {
		if m.From == Null && slices.ContainsFunc(moves, func(o Move) bool { return o.From == m.To }) {
			left = append(left, m.To)
		}
	}
	slices.Sort(left)
	for _, n := range slices.Compact(left) {
		a.step(Close, n, n)
	}
}
