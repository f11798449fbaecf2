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

// callRules are the rules of a call, the strictest first. Calls that have the same rules share them.
type callRules struct {
	rules       []*rule
	descriptors [2]int   // the arguments that are looked up as descriptors, the first and the second, or none
	late        []*rule  // from the first on that looks at the second descriptor
	reach       classSet // the classes of the first descriptor with which the second may be looked up
	alike       bool     // every machine looks at the same words
	made        []madeSequence
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

const severities = 4

func strictestFirst(r, s *rule) int { return severity(s.answer) - severity(r.answer) }

// byCall goes through the calls with their rules, the strictest of each first.
func (s *ruleSet) byCall(yield func(callID, []*rule) bool) {
	var end [callCount * severities]int32 // of what belongs together; first how much that is, then where it begins
	place := func(r *rule) *int32 { return &end[int(r.call+1)*severities-1-severity(r.answer)] }
	for i := range s.rules {
		*place(&s.rules[i])++
	}
	total := int32(0)
	for i, count := range end {
		end[i] = total
		total += count
	}
	row := make([]*rule, total)
	for i := range s.rules {
		at := place(&s.rules[i])
		row[*at] = &s.rules[i]
		*at++
	}
	start := int32(0)
	for id := range callID(callCount) {
		behind := end[int(id+1)*severities-1]
		if !yield(id, row[start:behind]) {
			return
		}
		start = behind
	}
}

func sameRules(a, b []*rule) bool {
	return slices.EqualFunc(a, b, func(r, s *rule) bool { return r.row == s.row && r.answer == s.answer && r.fds == s.fds })
}

func newCallRules(rules []*rule) callRules {
	cr := callRules{rules: rules, descriptors: descriptorArguments(rules), alike: true}
	for i, r := range rules {
		for _, test := range r.fds[:r.fdCount] {
			if cr.which(test) == 1 && cr.late == nil {
				cr.late = rules[i:]
			}
		}
		for _, v := range r.values {
			cr.alike = cr.alike && !v.narrow && !isWide(r.call, v.argument, machineX86_64)
		}
	}
	return cr
}

func descriptorArguments(rules []*rule) [2]int {
	var seen uint8
	for _, r := range rules {
		for _, test := range r.fds[:r.fdCount] {
			seen |= 1 << test.argument
		}
	}
	arguments := [2]int{none, none}
	for i := range arguments {
		if seen != 0 {
			arguments[i] = bits.TrailingZeros8(seen)
			seen &= seen - 1
		}
	}
	return arguments
}

// which says whether a test is about the first descriptor or the second.
func (cr *callRules) which(test fdTest) int {
	if int(test.argument) == cr.descriptors[0] {
		return 0
	}
	return 1
}

func (r *rule) looksAt(argument int) bool {
	return slices.ContainsFunc(r.fds[:r.fdCount], func(test fdTest) bool { return int(test.argument) == argument })
}

// classSet has a bit for each class.
type classSet = uint32

// candidate is a rule, and what is left to be tested of its first and second descriptor: the class must be one of these.
// No class stands for any.
type candidate struct {
	*rule
	classes [2]classSet
}

func (n candidate) always() bool { return len(n.values) == 0 && n.classes == [2]classSet{} }

func (n candidate) same(o candidate) bool {
	return n.row == o.row && n.answer == o.answer && n.classes == o.classes
}

// joins reports whether two candidates differ in nothing but the classes of the first descriptor.
func (n candidate) joins(o candidate) bool {
	o.classes[0] = n.classes[0]
	return n.classes[0] != 0 && n.same(o)
}

// candidate tells what is left of a rule when the descriptors are known to be of certain classes. No classes: nothing is
// known of that descriptor yet.
func (cr *callRules) candidate(r *rule, known [2]classSet) (next candidate, possible bool) {
	next.rule = r
	for _, test := range r.fds[:r.fdCount] {
		i := cr.which(test)
		classes := test.classes
		if known[i] != 0 {
			classes &= known[i]
		}
		if classes == 0 {
			return next, false
		}
		if classes != known[i] {
			next.classes[i] = classes
		}
	}
	return next, true
}

// compiler compiles a set of rules for a list of machines.
type compiler struct {
	*builder
	set      *ruleSet
	machines []int
	rules    []callRules
	tables   [][]tableCall  // of each machine, in the order of the numbers
	searches [2]classSearch // for the first descriptor, and for the second

	calls      []tableCall // room for tables
	candidates []candidate // room for lists
	branches   []branch    // room for what is searched
}

// tableCall is a call in a machine's table.
type tableCall struct {
	number uint32
	rules  int32 // their place in compiler.rules
}

// classSearch finds the class of a descriptor, the first or the second of a call.
//
// It leads to two parts of the program: one for the numbers that are in no class, most of which are permitted everything,
// and one for the others. Where rules tell the classes of a part apart, the class is in memory, and a rule that needs it
// looks there: a part for each class would be long.
type classSearch struct {
	groups   []classSet // the classes, those together that no rule tells apart; class 0 is in the first
	parts    []classSet // the classes that a part is for
	recalled bool       // whether memory is looked at
	start    [6]int32   // where it starts, by argument
}

// gather sorts the rules by call, and the calls by number.
func (c *compiler) gather() {
	var rulesOf [callCount]int32
	for id, rules := range c.set.byCall {
		rulesOf[id] = none
		if len(rules) == 0 {
			continue
		}
		i := 0
		for i < len(c.rules) && !sameRules(c.rules[i].rules, rules) {
			i++
		}
		if i == len(c.rules) {
			c.rules = append(c.rules, newCallRules(rules))
		}
		rulesOf[id] = int32(i)
	}
	for _, machine := range c.machines {
		start := len(c.calls)
		for id, rules := range rulesOf {
			if number := calls[id].number[machine]; rules != none && number >= 0 {
				c.calls = append(c.calls, tableCall{uint32(number), rules})
			}
		}
		table := c.calls[start:len(c.calls):len(c.calls)]
		slices.SortFunc(table, func(a, b tableCall) int { return cmp.Compare(a.number, b.number) })
		c.tables = append(c.tables, table)
	}
}

// divide says which classes the searches tell apart, and with which the second is needed.
func (c *compiler) divide() {
	every := classSet(1)<<len(c.set.classes) - 1
	for which := range c.searches {
		search := &c.searches[which]
		search.groups = c.groups(which, every)
		search.parts = search.groups[:1:1]
		if others := every &^ search.groups[0]; others != 0 {
			search.parts = append(search.parts, others)
		}
	}
	for i := range c.rules {
		cr := &c.rules[i]
		if cr.late == nil {
			continue
		}
		for _, part := range c.searches[0].parts {
			if _, more := c.untilSecond(cr, part); more {
				cr.reach |= part
			}
		}
	}
}

// groups puts those classes together that no rule tells apart.
func (c *compiler) groups(which int, every classSet) []classSet {
	groups := make([]classSet, 1, len(c.set.classes))
	groups[0] = every
	for i := range c.rules {
		cr := &c.rules[i]
		for _, r := range cr.rules {
			for _, test := range r.fds[:r.fdCount] {
				if cr.which(test) == which {
					groups = split(groups, test.classes)
				}
			}
		}
	}
	return groups
}

// split splits each group in two, the classes of a set and the others. That with class 0 stays where it is.
func split(groups []classSet, by classSet) []classSet {
	for i, group := range groups {
		stays, goes := group&^by, group&by
		if stays == 0 || goes == 0 {
			continue
		}
		if goes&1 != 0 {
			stays, goes = goes, stays
		}
		groups[i] = stays
		groups = append(groups, goes)
	}
	return groups
}

// within lists the rules that may hold, up to one that then always holds.
func (c *compiler) within(cr *callRules, rules []*rule, known [2]classSet) []candidate {
	start := len(c.candidates)
	for _, r := range rules {
		next, possible := cr.candidate(r, known)
		if !possible {
			continue
		}
		if last := len(c.candidates) - 1; last >= start && c.candidates[last].joins(next) {
			next.classes[0] |= c.candidates[last].classes[0]
			if next.classes[0] == known[0] {
				next.classes[0] = 0
			}
			c.candidates = c.candidates[:last]
		}
		c.candidates = append(c.candidates, next)
		if next.always() {
			break
		}
	}
	return c.candidates[start:]
}

// untilSecond lists the rules that may hold while the first descriptor is of these classes, and that come before one that
// looks at the second, if there is more.
func (c *compiler) untilSecond(cr *callRules, classes classSet) (list []candidate, more bool) {
	list = c.within(cr, cr.rules, [2]classSet{classes})
	for i, next := range list {
		if next.classes[1] != 0 {
			return list[:i], true
		}
	}
	return list, false
}

// program finds the answer to a call.
//
// Numbers of descriptors may be many, so they are searched in two places only, whatever the number of calls and machines:
// all calls that look at a descriptor share the first search and then part again, those that look at two share the second.
func (c *compiler) program(foreign int32) int32 {
	c.lookUp(1)
	c.lookUp(0)
	next := foreign
	for i, machine := range slices.Backward(c.machines) {
		branches := c.branches[:0]
		for _, call := range c.tables[i] {
			cr := &c.rules[call.rules]
			var to int32
			if argument := cr.descriptors[0]; argument != none {
				to = c.searches[0].start[argument]
			} else {
				to = c.sequence(cr, c.within(cr, cr.rules, [2]classSet{}), machine, c.allow())
			}
			branches = append(branches, branch{call.number, call.number, to})
		}
		if machines[machine].x32 {
			// The number -1 is a call that a tracer took away.
			branches = append(branches, branch{0x40000000, all - 1, foreign})
		}
		next = c.jump(opEqual, machines[machine].audit, c.load(offsetNumber, c.search(branches, c.allow())), next)
	}
	return c.load(offsetArch, next)
}

// lookUp makes the search for a number, and what comes behind it.
func (c *compiler) lookUp(which int) {
	toClass := c.enterParts(which)
	before := len(c.nodes)
	branches := c.branches[:0]
	for _, s := range c.set.spans {
		branches = append(branches, branch{s.lo, s.hi, toClass[s.class]})
	}
	found := c.place(c.search(branches, toClass[0]), before)
	start := &c.searches[which].start
	for i := range c.rules {
		if argument := c.rules[i].descriptors[which]; argument != none && start[argument] == 0 {
			load := c.load(offsetLow(uint8(argument)), found)
			start[argument] = c.place(load, len(c.nodes)) // right before what it leads to
		}
	}
}

// enterParts makes the parts behind a search, and says where it leads for each class: to a part, or first to where
// the class is written to memory. The kernel wants memory written on every way to where it is read.
func (c *compiler) enterParts(which int) (toClass [maxClasses]int32) {
	search := &c.searches[which]
	later := search.recalled // behind the second search, which looks at the first one's memory
	for _, part := range search.parts {
		search.recalled = later && c.reaches(part)
		start := c.part(which, part)
		if search.recalled {
			start = c.node(opStore, uint32(which), start, 0)
		}
		for _, group := range search.groups {
			if group&part == 0 {
				continue
			}
			entry := start
			if search.recalled {
				entry = c.node(opImmediate, group&-group, start, 0)
			}
			for ; group != 0; group &= group - 1 {
				toClass[bits.TrailingZeros32(group)] = entry
			}
		}
	}
	return toClass
}

// reaches reports whether the second descriptor is looked up with the first of these classes.
func (c *compiler) reaches(classes classSet) bool {
	for i := range c.rules {
		if c.rules[i].reach&classes != 0 {
			return true
		}
	}
	return false
}

// part looks at the call's machine and number again, where that makes a difference.
func (c *compiler) part(which int, classes classSet) int32 {
	next := int32(none)
	for i, machine := range slices.Backward(c.machines) {
		var to [callCount]int32 // by the place of the rules
		for j := range c.rules {
			if cr := &c.rules[j]; cr.descriptors[which] != none {
				to[j] = c.after(which, cr, machine, classes)
			}
		}
		branches := c.branches[:0]
		for _, call := range c.tables[i] {
			if c.rules[call.rules].descriptors[which] != none {
				branches = append(branches, branch{call.number, call.number, to[call.rules]})
			}
		}
		start := c.allow()
		if len(branches) > 0 {
			start = c.load(offsetNumber, c.search(branches, commonest(branches)))
		}
		if next == none {
			next = start
		} else {
			next = c.load(offsetArch, c.jump(opEqual, machines[machine].audit, start, next))
		}
	}
	return next
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

// after goes on when the first or second descriptor is known to be of these classes.
func (c *compiler) after(which int, cr *callRules, machine int, classes classSet) int32 {
	if which == 0 {
		list, more := c.untilSecond(cr, classes)
		if more {
			return c.sequence(cr, list, machine, c.searches[1].start[cr.descriptors[1]])
		}
		return c.sequence(cr, list, machine, c.allow())
	}
	if cr.reach == 0 {
		return c.allow()
	}
	return c.sequence(cr, c.within(cr, cr.late, [2]classSet{cr.reach, classes}), machine, c.allow())
}

// madeSequence is a sequence that the next one like it can share.
type madeSequence struct {
	list        []candidate
	machine     int
	other, node int32
}

// sequence tries rules one after the other; the first that holds answers.
func (c *compiler) sequence(cr *callRules, list []candidate, machine int, other int32) int32 {
	if len(list) == 0 {
		return other
	}
	if list[0].always() {
		return c.answer(list[0].answer)
	}
	if cr.alike {
		machine = c.machines[0]
	}
	for _, made := range cr.made {
		if made.machine == machine && made.other == other && slices.EqualFunc(made.list, list, candidate.same) {
			return made.node
		}
	}
	node := c.newSequence(list, machine, other)
	cr.made = append(cr.made, madeSequence{list, machine, other, node})
	return node
}

func (c *compiler) newSequence(list []candidate, machine int, other int32) int32 {
	for end := len(list); end > 0; {
		start := end - 1
		for start > 0 && oneSearch(list[start-1].rule, list[end-1].rule, machine) {
			start--
		}
		if end-start > 1 {
			other = c.alternatives(list[start:end], other)
		} else {
			other = c.candidate(list[start], machine, other)
		}
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

// alternatives searches a value among those of several rules.
func (c *compiler) alternatives(list []candidate, other int32) int32 {
	branches := make([]branch, 0, 16)
	for _, next := range slices.Backward(list) {
		answer := c.answerOf(next, other)
		for _, v := range next.values[0].set {
			i, found := searchBranch(branches, v)
			if found {
				branches[i].to = c.answerOf(next, branches[i].to)
			} else {
				branches = slices.Insert(branches, i, branch{v, v, answer})
			}
		}
	}
	return c.values(list[0].values[0], branches, other)
}

// candidate answers when every value of the rule is met, and the descriptors are of its classes.
func (c *compiler) candidate(next candidate, machine int, other int32) int32 {
	to := c.answerOf(next, other)
	for _, v := range slices.Backward(next.values) {
		if !v.narrow || machines[machine].narrow {
			to = c.value(next.call, v, machine, to, other)
		}
	}
	return to
}

// answerOf answers when the descriptors are of the rule's classes.
func (c *compiler) answerOf(next candidate, other int32) int32 {
	to := c.answer(next.answer)
	for which, classes := range slices.Backward(next.classes[:]) {
		if classes == 0 || to == other {
			continue
		}
		c.searches[which].recalled = true
		to = c.node(opRecall, uint32(which), c.jump(opSet, classes, to, c.recalled(which, other)), 0)
	}
	return to
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
	return b.values(v, branchesTo(v.set, yes), no)
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

// branchesTo makes branches for a set of values.
func branchesTo(set []uint32, to int32) []branch {
	branches := make([]branch, 0, len(set))
	for _, v := range set {
		if i, found := searchBranch(branches, v); !found {
			branches = slices.Insert(branches, i, branch{v, v, to})
		}
	}
	return branches
}

func searchBranch(branches []branch, v uint32) (i int, found bool) {
	return slices.BinarySearchFunc(branches, v, func(b branch, v uint32) int { return cmp.Compare(b.lo, v) })
}

// compile makes the program for a list of machines. Calls of any other end the process: their numbers mean something else.
func (s *ruleSet) compile(list []int) ([]unix.SockFilter, error) {
	c := newCompiler(s, list)
	defer c.done()
	foreign := c.answer(unix.SECCOMP_RET_KILL_PROCESS)
	c.gather()
	c.divide()
	program := slices.Clone(c.layOut(c.program(foreign)))
	if len(program) > maxInstructions {
		return nil, fmt.Errorf("the filter has %d instructions and the kernel takes %d: guard fewer numbers, "+
			"or numbers that follow each other", len(program), maxInstructions)
	}
	return program, nil
}
