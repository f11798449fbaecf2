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
	var steps []Step
	waiting := slices.Clone(moves)
	used := map[int]bool{} // the numbers that a stash may not take
	for _, n := range avoid {
		used[n] = true
	}
	sources := map[int]int{}
	targets := map[int]bool{}
	for _, m := range moves {
		used[m.From], used[m.To] = true, true
		targets[m.To] = true
		if m.From != Null {
			sources[m.From]++
		}
	}
	emit := func(m Move) {
		steps = append(steps, Step{Dup, int32(m.From), int32(m.To)})
		sources[m.From]--
	}
	waiting = slices.DeleteFunc(waiting, func(m Move) bool { return m.From == Null || m.From == m.To })
	var stashed []int
	for len(waiting) > 0 {
		before := len(waiting)
		waiting = slices.DeleteFunc(waiting, func(m Move) bool {
			if sources[m.To] > 0 {
				return false // somebody still needs what To holds now
			}
			emit(m)
			return true
		})
		if len(waiting) == before { // only cycles are left: free the first target
			held := waiting[0].To
			free := lowestFree(used)
			used[free] = true
			stashed = append(stashed, free)
			steps = append(steps, Step{Stash, int32(held), int32(free)})
			for i := range waiting {
				if waiting[i].From == held {
					waiting[i].From = free
					sources[held]--
					sources[free]++
				}
			}
		}
	}
	for _, m := range moves {
		if m.From == m.To {
			steps = append(steps, Step{Clear, int32(m.To), int32(m.To)})
		}
	}
	steps = append(steps, closes(moves, targets, stashed)...)
	for _, m := range moves {
		if m.From == Null {
			steps = append(steps, Step{Open, Null, int32(m.To)})
		}
	}
	return steps
}

// closes ends what is left over: stashes, and sources whose numbers the new table doesn't have.
func closes(moves []Move, targets map[int]bool, stashed []int) []Step {
	var left []int
	for _, m := range moves {
		if m.From != Null && !targets[m.From] {
			left = append(left, m.From)
		}
	}
	left = append(left, stashed...)
	slices.Sort(left)
	var steps []Step
	for _, n := range slices.Compact(left) {
		steps = append(steps, Step{Close, int32(n), int32(n)})
	}
	// A number that Open will take may still hold a source.
	for _, m := range moves {
		if m.From == Null && slices.ContainsFunc(moves, func(o Move) bool { return o.From == m.To }) {
			steps = append(steps, Step{Close, int32(m.To), int32(m.To)})
		}
	}
	return steps
}

func lowestFree(used map[int]bool) int {
	n := 0
	for used[n] {
		n++
	}
	return n
}
