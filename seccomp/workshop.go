package seccomp

import (
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// idle is a compiler that is done, for the next filter: its lists are as long as they got, unless that is longer than any filter
// that the kernel takes makes them.
var idle atomic.Pointer[compiler]

// A workshop is a compiler with room for a small filter: in one piece, because the memory of a program that
// has just started costs more than all else.
type workshop struct {
	compiler
	builder    builder
	nodes      [128]node
	places     [128]int32
	out        [128]unix.SockFilter
	rules      [28]callRules
	calls      [callCount]tableCall
	candidates [48]candidate
	branches   [callCount + 1]branch
}

func newWorkshop() *compiler {
	w := &workshop{}
	w.builder = builder{nodes: w.nodes[:0], places: w.places[:0], out: w.out[:0]}
	w.compiler = compiler{
		builder: &w.builder, rules: w.rules[:0], calls: w.calls[:0], candidates: w.candidates[:0], branches: w.branches[:0],
	}
	return &w.compiler
}

// newCompiler takes a compiler, and makes room for what most sets need.
func newCompiler(s *ruleSet, machines []int) *compiler {
	c := idle.Swap(nil)
	if c == nil {
		c = newWorkshop()
	}
	search := 5 * len(s.spans) / 4 // few tests and one that halves
	size := (1+2*len(machines))*len(s.rules) + 8*len(s.classes) + search
	c.nodes = slices.Grow(c.nodes, size)
	c.places = slices.Grow(c.places, size)
	c.out = slices.Grow(c.out, size+search)
	c.candidates = slices.Grow(c.candidates, len(machines)*(32+5*len(s.classes)))
	c.branches = slices.Grow(c.branches, max(len(s.spans), int(callCount)+1))
	c.set, c.machines = s, machines
	return c
}

// done leaves the compiler to the next, without what it knows of this filter.
func (c *compiler) done() {
	clear(c.rules)
	clear(c.candidates)
	clear(c.tables)
	*c.builder = builder{nodes: c.nodes[:0], places: c.places[:0], out: c.out[:0], returns: c.returns[:0]}
	*c = compiler{
		builder: c.builder, rules: c.rules[:0], tables: c.tables[:0], calls: c.calls[:0],
		candidates: c.candidates[:0], branches: c.branches[:0],
	}
	if cap(c.nodes) <= 4*maxInstructions {
		idle.Store(c)
	}
}
