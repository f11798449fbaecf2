package ofd

import "sync"

// A Ref names a descriptor of a process. PID is as seen from the caller's PID namespace, and may also be the ID of a
// thread that has a table of its own.
type Ref struct {
	PID int
	FD  int
	// Key narrows what Group compares: only references with equal keys are asked about. It must hold nothing that
	// can differ between two descriptors of one description: device, inode and access mode serve, flags and offset
	// don't, because they may change between two looks.
	Key string
}

// cluster is a set of references, by index, that are known to refer to one description. The first is asked for all.
type cluster []int

// grouping is one run of Group: merge sort, in which what is equal melts together.
type grouping struct {
	refs     []Ref
	errs     []error
	answered []bool // by index: whether a comparison with another has succeeded
	compare  func(a, b Ref) (int, error)
}

func newGrouping(refs []Ref, compare func(a, b Ref) (int, error)) *grouping {
	return &grouping{refs, make([]error, len(refs)), make([]bool, len(refs)), compare}
}

// run sorts the references of each key and numbers the descriptions that it found.
func (g *grouping) run() (ids []int) {
	ids = make([]int, len(g.refs))
	next := 0
	number := func(c cluster) {
		for _, i := range c {
			ids[i] = next
		}
		next++
	}
	for _, bucket := range buckets(g.refs) {
		if len(bucket) == 1 {
			number(bucket)
			continue
		}
		for _, c := range g.sort(singles(bucket)) {
			number(c)
		}
		g.askTheRest(bucket)
	}
	for i, err := range g.errs {
		if err != nil {
			ids[i] = -1
		}
	}
	return ids
}

// buckets gathers the references of each key, in the order of their first appearance.
func buckets(refs []Ref) []cluster {
	where := make(map[string]int)
	var all []cluster
	for i, ref := range refs {
		at, known := where[ref.Key]
		if !known {
			at = len(all)
			where[ref.Key] = at
			all = append(all, nil)
		}
		all[at] = append(all[at], i)
	}
	return all
}

// singles makes a cluster of each.
func singles(bucket cluster) []cluster {
	list := make([]cluster, len(bucket))
	for at := range bucket {
		list[at] = bucket[at : at+1 : at+1]
	}
	return list
}

// askTheRest finds the errors of those that had nobody to be compared with, because all others had gone.
func (g *grouping) askTheRest(bucket cluster) {
	for _, i := range bucket {
		if g.errs[i] == nil && !g.answered[i] {
			g.errs[i] = g.ask(i)
		}
	}
}

// ask compares a reference with itself: what remains is whether it is there, and whether one may know.
func (g *grouping) ask(i int) error {
	_, err := g.compare(g.refs[i], g.refs[i])
	return err
}

// sort does the halves of a long list side by side: nearly all of the time is the kernel's.
func (g *grouping) sort(list []cluster) []cluster {
	const long = 512
	if len(list) < 2 {
		return list
	}
	middle := len(list) / 2
	left, right := list[:middle:middle], list[middle:]
	if len(list) < long {
		return g.merge(g.sort(left), g.sort(right))
	}
	var other sync.WaitGroup
	other.Go(func() { left = g.sort(left) })
	right = g.sort(right)
	other.Wait()
	return g.merge(left, right)
}

func (g *grouping) merge(a, b []cluster) []cluster {
	merged := make([]cluster, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		order := g.order(&a[0], &b[0])
		switch {
		case len(a[0]) == 0:
			a = a[1:]
		case len(b[0]) == 0:
			b = b[1:]
		case order < 0:
			merged, a = append(merged, a[0]), a[1:]
		case order > 0:
			merged, b = append(merged, b[0]), b[1:]
		default:
			merged = append(merged, append(a[0], b[0]...))
			a, b = a[1:], b[1:]
		}
	}
	return append(append(merged, a...), b...)
}

// order compares two clusters by their first members. A member that has gone meanwhile gets its error and leaves its
// cluster, and the next one speaks for it; a cluster that comes out empty has nobody left to ask.
func (g *grouping) order(a, b *cluster) int {
	for len(*a) > 0 && len(*b) > 0 {
		first, second := (*a)[0], (*b)[0]
		order, err := g.compare(g.refs[first], g.refs[second])
		if err == nil {
			g.answered[first], g.answered[second] = true, true
			return order
		}
		if !g.dropDead(a) && !g.dropDead(b) {
			// Both answer alone but not together: a process that was just changing. Without an answer nothing may be
			// claimed about it.
			g.errs[(*b)[0]] = err
			*b = (*b)[1:]
		}
	}
	return 0
}

// dropDead takes the first member out of the cluster if it doesn't answer any more.
func (g *grouping) dropDead(c *cluster) bool {
	first := (*c)[0]
	g.errs[first] = g.ask(first)
	if g.errs[first] == nil {
		return false
	}
	*c = (*c)[1:]
	return true
}
