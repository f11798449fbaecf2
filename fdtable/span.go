package fdtable

import (
	"math"
	"slices"
)

// A Span is a range of descriptor numbers, both ends included, as close_range(2) takes it.
type Span struct{ First, Last uint32 }

// Gaps returns the spans between and above the kept numbers, in ascending order: all that must be closed so that
// only the kept ones stay open. The last span ends at the largest number that a descriptor can be written as. Negative
// numbers and repetitions are passed over; no span is empty, because close_range(2) takes an empty one for an error.
func Gaps(kept []int) []Span {
	sorted := slices.Clone(kept)
	slices.Sort(sorted)
	var spans []Span
	next := uint32(0)
	for _, n := range sorted {
		if n < 0 || uint32(n) < next {
			continue
		}
		if uint32(n) > next {
			spans = append(spans, Span{next, uint32(n) - 1})
		}
		next = uint32(n) + 1
	}
	return append(spans, Span{next, math.MaxUint32})
}
