package seccomp

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/sys/unix"
)

// maxInstructions is the kernel's BPF_MAXINSNS.
const maxInstructions = 4096

var errTooManyClasses = errors.New("the descriptors have too many different sets of rules for one filter")

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

// builder makes nodes, successors first.
type builder struct {
	nodes   []node
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
	if b.nodes[next].code == opReturn {
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
	return b.searchTree(kept, other, false)
}

// searchTree halves the branches; a few are tested one by one, which takes fewer instructions. With bounded the value is
// known not to lie below the first branch.
func (b *builder) searchTree(branches []branch, other int32, bounded bool) int32 {
	if len(branches) <= 3 {
		for i := len(branches) - 1; i >= 0; i-- {
			other = b.test(branches[i], other, bounded && i == 0)
		}
		return other
	}
	middle := len(branches) / 2
	upper := b.searchTree(branches[middle:], other, true)
	lower := b.searchTree(branches[:middle], other, bounded)
	return b.jump(opAtLeast, branches[middle].lo, upper, lower)
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

// value tests one value of an argument.
func (b *builder) value(id callID, v value, machine int, yes, no int32) int32 {
	if v.not {
		yes, no = no, yes
	}
	if isWide(id, v.argument, machine) {
		high := b.load(offsetHigh(v.argument), b.jump(opEqual, v.set[0], yes, no))
		return b.load(offsetLow(v.argument), b.jump(opEqual, v.set[0], high, no))
	}
	return b.values(v, branchesTo(nil, v.set, yes), no)
}

// values loads an argument's low half and searches it.
func (b *builder) values(v value, branches []branch, other int32) int32 {
	offset := offsetLow(v.argument)
	if v.mask != all {
		return b.load(offset, b.node(opAnd, v.mask, b.search(branches, other), 0))
	}
	for i := range branches {
		branches[i].to = b.loaded(offset, branches[i].to)
	}
	return b.load(offset, b.search(branches, b.loaded(offset, other)))
}

// branchesTo adds branches for a set of values, keeping the order; values that are there already stay as they are.
func branchesTo(branches []branch, set []uint32, to int32) []branch {
	for _, v := range set {
		i, found := slices.BinarySearchFunc(branches, v, func(b branch, v uint32) int { return cmp.Compare(b.lo, v) })
		if !found {
			branches = slices.Insert(branches, i, branch{v, v, to})
		}
	}
	return branches
}

// sequence tries rules whose descriptors are known to match, one after the other; the first that holds answers.
func (c *compiler) sequence(list []*rule, other int32) int32 {
	for _, made := range c.made {
		if made.other == other && sameAnswers(made.list, list) {
			return made.node
		}
	}
	node := c.newSequence(list, other)
	c.made = append(c.made, sequenceMade{list, other, node})
	return node
}

func (c *compiler) newSequence(list []*rule, other int32) int32 {
	for end := len(list); end > 0; {
		start := end - 1
		for start > 0 && oneSearch(list[start-1], list[end-1], c.machine) {
			start--
		}
		other = c.alternatives(list[start:end], c.machine, other)
		end = start
	}
	return other
}

// oneSearch reports whether two rules look at the same word only, so that one search answers both.
func oneSearch(r, s *rule, machine int) bool {
	if len(r.values) != 1 || len(s.values) != 1 || r.values[0].not || s.values[0].not {
		return false
	}
	v, w := r.values[0], s.values[0]
	return v.argument == w.argument && v.mask == w.mask && !isWide(r.call, v.argument, machine)
}

func (b *builder) alternatives(list []*rule, machine int, other int32) int32 {
	if len(list) == 1 {
		return b.all(list[0], machine, other)
	}
	branches := make([]branch, 0, 16)
	for _, r := range list {
		branches = branchesTo(branches, r.values[0].set, b.answer(r.answer))
	}
	return b.values(list[0].values[0], branches, other)
}

// all answers when every value of a rule is met.
func (b *builder) all(r *rule, machine int, other int32) int32 {
	next := b.answer(r.answer)
	for i := len(r.values) - 1; i >= 0; i-- {
		if v := r.values[i]; !v.narrow || machines[machine].narrow {
			next = b.value(r.call, v, machine, next, other)
		}
	}
	return next
}

// compiler compiles the rules for one machine.
type compiler struct {
	*builder
	set         *ruleSet
	machine     int
	remembering bool
	made        []sequenceMade
}

// sequenceMade is a sequence that the next one like it can share.
type sequenceMade struct {
	list        []*rule
	other, node int32
}

// callRules are the rules of one call, the strictest first.
type callRules struct {
	id     callID
	number uint32
	rules  []*rule
	first  int // the argument that is looked up as a descriptor first, or none
	second int // and second
}

// The order of strictness: the kernel too takes the strictest answer of several filters.
func severity(answer uint32) int {
	switch {
	case answer == unix.SECCOMP_RET_KILL_PROCESS:
		return 3
	case answer == unix.SECCOMP_RET_LOG:
		return 0
	case answer == refused(0):
		return 1
	}
	return 2
}

func strictestFirst(r, s *rule) int { return severity(s.answer) - severity(r.answer) }

// gather sorts the rules by call, and the calls by number.
func (c *compiler) gather() []callRules {
	var end [callCount]int // of each call's rules among all; first how many they are, then where they begin
	for i := range c.set.rules {
		end[c.set.rules[i].call]++
	}
	total := 0
	for id, count := range end {
		end[id] = total
		total += count
	}
	sorted := make([]*rule, total)
	for i := range c.set.rules {
		r := &c.set.rules[i]
		sorted[end[r.call]] = r
		end[r.call]++
	}
	gathered := make([]callRules, 0, callCount)
	start := 0
	for id := range end {
		rules := sorted[start:end[id]]
		start = end[id]
		number := calls[id].number[c.machine]
		if len(rules) == 0 || number < 0 {
			continue
		}
		slices.SortStableFunc(rules, strictestFirst)
		cr := callRules{id: callID(id), number: uint32(number), rules: untilConstant(rules)}
		cr.first, cr.second = descriptorArguments(cr.rules)
		gathered = append(gathered, cr)
	}
	slices.SortFunc(gathered, func(a, b callRules) int { return cmp.Compare(a.number, b.number) })
	return gathered
}

// untilConstant cuts off the rules after one that always holds.
func untilConstant(rules []*rule) []*rule {
	for i, r := range rules {
		if r.fdCount == 0 && len(r.values) == 0 {
			return rules[:i+1]
		}
	}
	return rules
}

func descriptorArguments(rules []*rule) (first, second int) {
	first, second = none, none
	var seen uint8
	for _, r := range rules {
		for _, test := range r.fds[:r.fdCount] {
			seen |= 1 << test.argument
		}
	}
	if seen != 0 {
		first = bits.TrailingZeros8(seen)
		if seen &= seen - 1; seen != 0 {
			second = bits.TrailingZeros8(seen)
		}
	}
	return first, second
}

// program finds the answer to a call of this machine's table.
//
// Numbers of descriptors may be many, so they are searched in two places only, whatever the number of calls: all calls
// that look at a descriptor share the first search and then part again, those that look at two share the second.
func (c *compiler) program() int32 {
	gathered := c.gather()
	c.remembering = c.remembers(gathered)
	second := c.lookup(gathered, func(cr *callRules) int { return cr.second }, c.afterSecond)
	first := c.lookup(gathered, func(cr *callRules) int { return cr.first }, func(cr *callRules, class int) int32 {
		return c.afterFirst(cr, class, second)
	})
	branches := make([]branch, 0, len(gathered)+1)
	for i := range gathered {
		cr := &gathered[i]
		to := c.sequenceIfPlain(cr)
		if cr.first != none {
			to = c.load(offsetLow(uint8(cr.first)), first)
		}
		branches = append(branches, branch{cr.number, cr.number, to})
	}
	if machines[c.machine].x32 {
		// The number -1 is a call that a tracer took away.
		branches = append(branches, branch{0x40000000, all - 1, c.answer(unix.SECCOMP_RET_KILL_PROCESS)})
	}
	return c.load(offsetNumber, c.search(shareLoads(c.builder, branches), c.allow()))
}

// shareLoads lets branches that load the same word before the same node use one load.
func shareLoads(b *builder, branches []branch) []branch {
	for i := range branches {
		for j := range i {
			if b.nodes[branches[i].to] == b.nodes[branches[j].to] {
				branches[i].to = branches[j].to
				break
			}
		}
	}
	return branches
}

func (c *compiler) sequenceIfPlain(cr *callRules) int32 {
	if cr.first != none {
		return none
	}
	return c.sequence(cr.rules, c.allow())
}

// lookup searches the loaded number among the classes, and leads each call on from there. The calls are those for which
// argument is not none.
func (c *compiler) lookup(gathered []callRules, argument func(*callRules) int, after func(*callRules, int) int32) int32 {
	toClass := make([]int32, len(c.set.classes))
	for class := range toClass {
		toClass[class] = c.part(gathered, argument, func(cr *callRules) int32 { return after(cr, class) })
	}
	branches := make([]branch, len(c.set.spans))
	for i, s := range c.set.spans {
		branches[i] = branch{s.lo, s.hi, toClass[s.class]}
	}
	return c.search(branches, toClass[0])
}

// part looks at the call's number again, where that makes a difference.
func (c *compiler) part(gathered []callRules, argument func(*callRules) int, to func(*callRules) int32) int32 {
	branches := make([]branch, 0, len(gathered))
	for i := range gathered {
		if cr := &gathered[i]; argument(cr) != none {
			branches = append(branches, branch{cr.number, cr.number, to(cr)})
		}
	}
	if len(branches) == 0 {
		return c.allow()
	}
	branches = shareLoads(c.builder, branches)
	return c.load(offsetNumber, c.search(branches, commonest(branches)))
}

// commonest is where most branches lead. No other number gets there, so it needs no test.
func commonest(branches []branch) int32 {
	best, most := none, 0
	for _, b := range branches {
		count := 0
		for _, other := range branches {
			if other.to == b.to {
				count++
			}
		}
		if count > most {
			best, most = int(b.to), count
		}
	}
	return int32(best)
}

// afterFirst goes on when the class of the first descriptor is known.
func (c *compiler) afterFirst(cr *callRules, class int, second int32) int32 {
	list := cr.matching(cr.first, class)
	split := slices.IndexFunc(list, func(r *rule) bool { return r.looksAt(cr.second) })
	if split < 0 {
		return c.sequence(list, c.allow())
	}
	next := c.load(offsetLow(uint8(cr.second)), second)
	if c.remembering {
		next = c.node(opImmediate, 1<<class, c.node(opStore, 0, next, 0), 0)
	}
	return c.sequence(list[:split], next)
}

// afterSecond goes on when the class of the second is known; that of the first is in memory, where it matters.
func (c *compiler) afterSecond(cr *callRules, class int) int32 {
	cases := c.cases(cr, class)
	next := c.sequence(cases[0].list, c.allow())
	if len(cases) == 1 {
		return next
	}
	for _, other := range cases[1:] {
		next = c.jump(opSet, other.classes, c.sequence(other.list, c.allow()), next)
	}
	return c.node(opRecall, 0, next, 0)
}

// firstCase is a list of rules that is left for certain classes of the first descriptor.
type firstCase struct {
	classes uint32
	list    []*rule
}

// cases groups the classes of the first descriptor by what is left to be tried.
func (c *compiler) cases(cr *callRules, class int) []firstCase {
	var cases []firstCase
	for first := range c.set.classes {
		list := cr.matching(cr.first, first)
		split := slices.IndexFunc(list, func(r *rule) bool { return r.looksAt(cr.second) })
		if split < 0 {
			continue // decided before
		}
		left := (&callRules{rules: list[split:]}).matching(cr.second, class)
		i := slices.IndexFunc(cases, func(known firstCase) bool { return sameAnswers(known.list, left) })
		if i < 0 {
			cases = append(cases, firstCase{list: left})
			i = len(cases) - 1
		}
		cases[i].classes |= 1 << first
	}
	return cases
}

func sameAnswers(a, b []*rule) bool {
	return slices.EqualFunc(a, b, func(r, s *rule) bool { return r.row == s.row && r.answer == s.answer })
}

// remembers reports whether the second search must know the first one's class. The kernel wants the memory written on
// every way to where it is read, so one call that needs it makes all calls write it.
func (c *compiler) remembers(gathered []callRules) bool {
	for i := range gathered {
		for class := range c.set.classes {
			if cr := &gathered[i]; cr.second != none && len(c.cases(cr, class)) > 1 {
				return true
			}
		}
	}
	return false
}

// matching keeps the rules that a class of an argument lets hold, up to one that then always holds.
func (cr *callRules) matching(argument, class int) []*rule {
	var list []*rule
	for _, r := range cr.rules {
		if !r.admits(argument, class) {
			continue
		}
		list = append(list, r)
		if len(r.values) == 0 && !r.looksBehind(argument) {
			break
		}
	}
	return list
}

func (r *rule) admits(argument, class int) bool {
	for _, test := range r.fds[:r.fdCount] {
		if int(test.argument) == argument && test.classes&(1<<class) == 0 {
			return false
		}
	}
	return true
}

func (r *rule) looksBehind(argument int) bool {
	for _, test := range r.fds[:r.fdCount] {
		if int(test.argument) > argument {
			return true
		}
	}
	return false
}

func (r *rule) looksAt(argument int) bool {
	for _, test := range r.fds[:r.fdCount] {
		if int(test.argument) == argument {
			return true
		}
	}
	return false
}

// compile makes the program for a list of machines. Calls of any other end the process: their numbers mean something else.
func (s *ruleSet) compile(list []int) ([]unix.SockFilter, error) {
	b := &builder{nodes: make([]node, 0, (192+3*len(s.spans))*len(list))}
	next := b.answer(unix.SECCOMP_RET_KILL_PROCESS)
	for i := len(list) - 1; i >= 0; i-- {
		c := &compiler{builder: b, set: s, machine: list[i]}
		next = b.jump(opEqual, machines[list[i]].audit, c.program(), next)
	}
	program := b.layOut(b.load(offsetArch, next))
	if len(program) > maxInstructions {
		return nil, fmt.Errorf("the filter has %d instructions and the kernel takes %d: guard fewer numbers, "+
			"or numbers that follow each other", len(program), maxInstructions)
	}
	return program, nil
}
