package seccomp

import "golang.org/x/sys/unix"

// Where the fields of struct seccomp_data are. Every machine that there is a table for is little-endian.
const (
	offsetNumber = 0
	offsetArch   = 4
)

func offsetLow(argument uint8) uint32  { return 16 + 8*uint32(argument) }
func offsetHigh(argument uint8) uint32 { return offsetLow(argument) + 4 }

// The instructions that are used.
const (
	opLoad      = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	opImmediate = unix.BPF_LD | unix.BPF_IMM
	opRecall    = unix.BPF_LD | unix.BPF_MEM
	opStore     = unix.BPF_ST
	opAnd       = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	opEqual     = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opAtLeast   = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	opAbove     = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	opSet       = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	opGoto      = unix.BPF_JMP | unix.BPF_JA
	opReturn    = unix.BPF_RET | unix.BPF_K
)

// node is an instruction that knows its successors; the program is laid out when all are known. A jump goes to yes or
// no, a return nowhere, anything else to yes.
type node struct {
	code    uint16
	k       uint32
	yes, no int32
}

// builder makes nodes, successors first, and lays them out.
type builder struct {
	nodes   []node
	places  []int32           // of the nodes that are laid out, counted from the end and from 1
	out     []unix.SockFilter // what is laid out, the last instruction first
	returns []int32
	known   map[node]int32 // where the nodes are, for a builder that makes the like ones once; nil for one that doesn't look
}

func (b *builder) node(code uint16, k uint32, yes, no int32) int32 {
	n, at := node{code, k, yes, no}, int32(len(b.nodes))
	if b.known != nil {
		if known, found := b.known[n]; found {
			return known
		}
		b.known[n] = at
	}
	b.nodes = append(b.nodes, n)
	return at
}

func (b *builder) answer(value uint32) int32 {
	for _, n := range b.returns {
		if b.nodes[n].k == value {
			return n
		}
	}
	n := b.node(opReturn, value, 0, 0)
	b.returns = append(b.returns, n)
	return n
}

func (b *builder) allow() int32 { return b.answer(unix.SECCOMP_RET_ALLOW) }

// load loads a word of the call's data, unless that is the next thing that happens anyway or nothing looks at it.
func (b *builder) load(offset uint32, next int32) int32 {
	next = b.loaded(offset, next)
	switch b.nodes[next].code {
	case opReturn, opLoad, opImmediate, opRecall:
		return next
	}
	return b.node(opLoad, offset, next, 0)
}

// loaded skips a load of what is there already.
func (b *builder) loaded(offset uint32, next int32) int32 {
	for b.nodes[next].code == opLoad && b.nodes[next].k == offset {
		next = b.nodes[next].yes
	}
	return next
}

// recalled skips a recall of what is there already.
func (b *builder) recalled(which int, next int32) int32 {
	if at := b.nodes[next]; at.code == opRecall && at.k == uint32(which) {
		return at.yes
	}
	return next
}

func (b *builder) jump(code uint16, k uint32, yes, no int32) int32 {
	if yes == no {
		return yes
	}
	return b.node(code, k, yes, no)
}

// branch says where a range of values leads.
type branch struct {
	lo, hi uint32
	to     int32
}

// search leads the loaded value to its branch, or to other. The branches are in ascending order and disjoint.
func (b *builder) search(branches []branch, other int32) int32 {
	return b.searchTree(joined(branches, other), other, false)
}

// joined leaves out the branches that lead to other, and joins neighbours.
func joined(branches []branch, other int32) []branch {
	kept := branches[:0]
	for _, next := range branches {
		last := len(kept) - 1
		switch {
		case next.to == other:
		case last >= 0 && kept[last].to == next.to && kept[last].hi+1 == next.lo:
			kept[last].hi = next.hi
		default:
			kept = append(kept, next)
		}
	}
	return kept
}

// few branches are tested one by one, which takes fewer instructions than to halve them.
const few = 4

// searchTree halves the branches. With bounded the value is known not to lie below the first branch.
func (b *builder) searchTree(branches []branch, other int32, bounded bool) int32 {
	if len(branches) <= few {
		return b.tests(branches, other, bounded)
	}
	middle := len(branches) / 2
	upper := b.searchTree(branches[middle:], other, true)
	lower := b.searchTree(branches[:middle], other, bounded)
	return b.jump(opAtLeast, branches[middle].lo, upper, lower)
}

// tests tests one branch after the other.
func (b *builder) tests(branches []branch, other int32, bounded bool) int32 {
	for i := len(branches) - 1; i >= 0; i-- {
		other = b.test(branches[i], other, bounded && i == 0)
	}
	return other
}

func (b *builder) test(next branch, other int32, bounded bool) int32 {
	if next.lo == next.hi {
		return b.jump(opEqual, next.lo, next.to, other)
	}
	inside := next.to
	if next.hi != all {
		inside = b.jump(opAbove, next.hi, other, next.to)
	}
	if next.lo == 0 || bounded {
		return inside
	}
	return b.jump(opAtLeast, next.lo, inside, other)
}
