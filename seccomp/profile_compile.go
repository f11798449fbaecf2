package seccomp

import (
	"cmp"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// profileCompiler makes the program of a profile.
type profileCompiler struct {
	*builder
	*profile
}

// compile makes the program. Calls through a table that the profile doesn't name end the thread, as libseccomp has it.
func (p *profile) compile() ([]unix.SockFilter, error) {
	c := profileCompiler{&builder{nodes: make([]node, 0, 512), known: map[node]int32{}}, p}
	next := c.foreign()
	for _, table := range slices.Backward(p.tables) {
		if table == tableX32 {
			continue // it is the upper part of x86_64's
		}
		start, err := c.table(table)
		if err != nil {
			return nil, err
		}
		next = c.jump(opEqual, tables[table].audit, start, next)
	}
	program := c.layOut(c.load(offsetArch, next))
	if len(program) > maxInstructions {
		return nil, fmt.Errorf("the filter has %d instructions and the kernel takes %d", len(program), maxInstructions)
	}
	return program, nil
}

func (c profileCompiler) foreign() int32 { return c.answer(unix.SECCOMP_RET_KILL_THREAD) }

// table leads each number of a table to its answer.
func (c profileCompiler) table(table int) (int32, error) {
	branches, err := c.branches(table)
	if err != nil {
		return 0, err
	}
	if tables[table].x32 {
		more, err := c.x32()
		if err != nil {
			return 0, err
		}
		branches = append(branches, more...)
	}
	slices.SortFunc(branches, func(a, b branch) int { return cmp.Compare(a.lo, b.lo) })
	return c.load(offsetNumber, c.search(branches, c.answer(c.fallback))), nil
}

// x32 leads the numbers that x32 has in the table of x86_64.
func (c profileCompiler) x32() ([]branch, error) {
	if slices.Contains(c.tables, tableX32) {
		return c.branches(tableX32)
	}
	branches := []branch{
		{x32Bit, 1<<31 - 1, c.foreign()},
		{1<<31 | x32Bit, all - 1, c.foreign()}, // the number -1 is a call that a tracer took away
	}
	if !c.unheard(c.newest(machineX86_64)) {
		branches = append(branches, branch{1 << 31, 1<<31 | x32Bit - 1, c.foreign()})
	}
	return branches, nil
}

// numbersOf are the numbers that a table has or might have: what tells x32 from x86_64 is one bit.
func numbersOf(table int) []span {
	switch table {
	case machineX86_64:
		return []span{{lo: 0, hi: x32Bit - 1}, {lo: 1 << 31, hi: 1<<31 | x32Bit - 1}}
	case tableX32:
		return []span{{lo: x32Bit, hi: 1<<31 - 1}, {lo: 1<<31 | x32Bit, hi: all}}
	}
	return []span{{lo: 0, hi: all}}
}

// branches leads the calls of a table to what their rules say. A call that is newer than all that the profile mentions is
// answered ENOSYS, so that programs do without: its author didn't know it and can't have meant to refuse it otherwise.
func (c profileCompiler) branches(table int) ([]branch, error) {
	chains, err := c.chains(table)
	if err != nil {
		return nil, err
	}
	newest := c.newest(table)
	unheard := c.unheard(newest)
	branches := make([]branch, 0, len(chains)+2)
	for _, chain := range chains {
		if !unheard || chain.number <= newest {
			branches = append(branches, branch{chain.number, chain.number, c.chain(chain)})
		}
	}
	if unheard {
		for _, numbers := range numbersOf(table) {
			branches = append(branches, branch{max(newest+1, numbers.lo), numbers.hi, c.answer(refused(unix.ENOSYS))})
		}
	}
	return branches, nil
}

// unheard reports whether calls above the newest are answered ENOSYS: where calls that no rule is about are done, or left to a
// tracer, the newer ones are as well.
func (p *profile) unheard(newest uint32) bool {
	switch p.fallback & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_LOG, unix.SECCOMP_RET_TRACE:
		return false
	}
	return newest != 0
}

// chain tries the rules of a call one after the other.
func (c profileCompiler) chain(chain *callChain) int32 {
	if chain.always {
		return c.answer(chain.answer)
	}
	next := c.answer(c.fallback)
	list := chain.list()
	for end := len(list); end > 0; {
		start := end - 1
		for start > 0 && oneWord(list[start-1], list[end-1], chain.narrow) {
			start--
		}
		if end-start > 1 {
			next = c.values(list[start:end], chain.narrow, next)
		} else {
			next = c.rule(list[start], chain.narrow, next)
		}
		end = start
	}
	return next
}

// rule answers when all its tests hold.
func (c profileCompiler) rule(r *tableRule, narrow bool, other int32) int32 {
	next := c.answer(r.answer)
	for _, test := range slices.Backward(r.tests) {
		next = c.compare(test, narrow, next, other)
	}
	return next
}

// oneWord reports whether two rules look for values that differ in the same word only, so that one search finds both.
func oneWord(r, s *tableRule, narrow bool) bool {
	if len(r.tests) != 1 || len(s.tests) != 1 || r.tests[0].op != opEQ || s.tests[0].op != opEQ {
		return false
	}
	a, b := r.tests[0], s.tests[0]
	return a.argument == b.argument && (narrow || a.value>>32 == b.value>>32)
}

// values searches the values of rules that oneWord takes together.
func (c profileCompiler) values(list []*tableRule, narrow bool, other int32) int32 {
	first := list[0].tests[0]
	low := offsetLow(first.argument)
	var branches []branch
	for _, r := range list {
		v := uint32(r.tests[0].value)
		branches = append(branches, branch{v, v, c.answer(r.answer)})
	}
	slices.SortFunc(branches, func(a, b branch) int { return cmp.Compare(a.lo, b.lo) })
	next := c.load(low, c.search(branches, c.loaded(low, other)))
	if narrow {
		return next
	}
	high := offsetHigh(first.argument)
	return c.load(high, c.jump(opEqual, uint32(first.value>>32), next, c.loaded(high, other)))
}

// compare makes the test of one argument, in one word or in two.
func (c profileCompiler) compare(t comparison, narrow bool, yes, no int32) int32 {
	switch t.op {
	case opNE:
		t.op, yes, no = opEQ, no, yes
	case opLT:
		t.op, yes, no = opGE, no, yes
	case opLE:
		t.op, yes, no = opGT, no, yes
	}
	low, high := offsetLow(t.argument), offsetHigh(t.argument)
	switch t.op {
	case opMasked:
		next := c.masked(low, uint32(t.mask), uint32(t.value), yes, no)
		if narrow {
			return next
		}
		return c.masked(high, uint32(t.mask>>32), uint32(t.value>>32), next, no)
	case opEQ:
		next := c.word(opEqual, low, uint32(t.value), yes, no)
		if narrow {
			return next
		}
		return c.word(opEqual, high, uint32(t.value>>32), next, no)
	}
	code := uint16(opAbove)
	if t.op == opGE {
		code = opAtLeast
	}
	next := c.word(code, low, uint32(t.value), yes, no)
	if narrow {
		return next
	}
	next = c.jump(opEqual, uint32(t.value>>32), next, c.loaded(high, no))
	return c.load(high, c.jump(opAbove, uint32(t.value>>32), c.loaded(high, yes), next))
}

func (c profileCompiler) word(code uint16, offset, k uint32, yes, no int32) int32 {
	return c.load(offset, c.jump(code, k, c.loaded(offset, yes), c.loaded(offset, no)))
}

// masked compares what the mask leaves of a word, which is nothing where it is zero.
func (c profileCompiler) masked(offset, mask, value uint32, yes, no int32) int32 {
	switch mask {
	case 0:
		return yes
	case all:
		return c.word(opEqual, offset, value, yes, no)
	}
	if yes == no {
		return yes
	}
	return c.node(opLoad, offset, c.node(opAnd, mask, c.jump(opEqual, value, yes, no), 0), 0)
}
