package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

// The nodes are laid out in a row, the last instruction first, so that a successor's place is always known: jumps only go
// forward.

// farthest is how far a conditional jump can go (255), less the two stepping stones that may come between.
const farthest = 253

// layOut returns the program that begins with the node.
func (b *builder) layOut(start int32) []unix.SockFilter {
	if b.out == nil {
		b.out = make([]unix.SockFilter, 0, len(b.nodes))
	}
	b.place(start, len(b.nodes))
	slices.Reverse(b.out)
	return b.out
}

// put lays out a node behind its successors, unless it is there.
func (b *builder) put(n int32) {
	if b.places[n] == 0 {
		b.putNew(n)
	}
}

// place lays out a node and forgets those made for it, all that were made since.
func (b *builder) place(n int32, before int) int32 {
	b.places = append(b.places, make([]int32, len(b.nodes)-len(b.places))...)
	b.put(n)
	if int(n) < before {
		return n
	}
	b.nodes[before], b.places[before] = b.nodes[n], b.places[n]
	b.nodes, b.places = b.nodes[:before+1], b.places[:before+1]
	return int32(before)
}

func (b *builder) putNew(n int32) {
	at := b.nodes[n]
	switch at.code {
	case opReturn:
		b.emit(unix.SockFilter{Code: at.code, K: at.k})
	case opEqual, opAtLeast, opAbove, opSet:
		b.put(at.yes)
		b.put(at.no)
		b.near(at.yes)
		b.near(at.no)
		b.emit(unix.SockFilter{Code: at.code, K: at.k, Jt: uint8(b.distance(at.yes)), Jf: uint8(b.distance(at.no))})
	default:
		b.put(at.yes)
		if b.distance(at.yes) != 0 {
			b.stone(at.yes)
		}
		b.emit(unix.SockFilter{Code: at.code, K: at.k})
	}
	b.places[n] = int32(len(b.out))
}

func (b *builder) emit(instruction unix.SockFilter) { b.out = append(b.out, instruction) }

// distance is how many instructions the next one to be emitted must skip.
func (b *builder) distance(n int32) int { return len(b.out) - int(b.places[n]) }

// near brings a node within reach of a conditional jump.
func (b *builder) near(n int32) {
	if b.distance(n) > farthest {
		b.stone(n)
		b.places[n] = int32(len(b.out))
	}
}

// stone emits what does the same as the node: an answer once more, or a jump, which can go any distance.
func (b *builder) stone(n int32) {
	if at := &b.nodes[n]; at.code == opReturn {
		b.emit(unix.SockFilter{Code: at.code, K: at.k})
		return
	}
	b.emit(unix.SockFilter{Code: opGoto, K: uint32(b.distance(n))})
}
