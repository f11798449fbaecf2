package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

// layout puts nodes into a row, the last instruction first, so that a successor's place is always known: jumps only go
// forward.
type layout struct {
	nodes []node
	out   []unix.SockFilter
	place []int32 // of each node, counted from the end and from 1
}

// farthest is how far a conditional jump can go (255), less the two stepping stones that may come between.
const farthest = 253

// layOut returns the program that begins with the node.
func (b *builder) layOut(start int32) []unix.SockFilter {
	l := &layout{
		nodes: b.nodes,
		out:   make([]unix.SockFilter, 0, len(b.nodes)+len(b.nodes)/16),
		place: make([]int32, len(b.nodes)),
	}
	l.put(start)
	slices.Reverse(l.out)
	return l.out
}

func (l *layout) put(n int32) {
	if l.place[n] == 0 {
		l.putNew(n)
	}
}

func (l *layout) putNew(n int32) {
	at := l.nodes[n]
	switch at.code {
	case opReturn:
		l.emit(unix.SockFilter{Code: at.code, K: at.k})
	case opEqual, opAtLeast, opAbove, opSet:
		l.put(at.yes)
		l.put(at.no)
		l.near(at.yes)
		l.near(at.no)
		l.emit(unix.SockFilter{Code: at.code, K: at.k, Jt: uint8(l.distance(at.yes)), Jf: uint8(l.distance(at.no))})
	default:
		l.put(at.yes)
		if l.distance(at.yes) != 0 {
			l.stone(at.yes)
		}
		l.emit(unix.SockFilter{Code: at.code, K: at.k})
	}
	l.place[n] = int32(len(l.out))
}

func (l *layout) emit(instruction unix.SockFilter) { l.out = append(l.out, instruction) }

// distance is how many instructions the next one to be emitted must skip.
func (l *layout) distance(n int32) int { return len(l.out) - int(l.place[n]) }

// near brings a node within reach of a conditional jump.
func (l *layout) near(n int32) {
	if l.distance(n) > farthest {
		l.stone(n)
		l.place[n] = int32(len(l.out))
	}
}

// stone emits what does the same as the node: an answer once more, or a jump, which can go any distance.
func (l *layout) stone(n int32) {
	if at := &l.nodes[n]; at.code == opReturn {
		l.emit(unix.SockFilter{Code: at.code, K: at.k})
		return
	}
	l.emit(unix.SockFilter{Code: opGoto, K: uint32(l.distance(n))})
}
