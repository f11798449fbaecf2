package spawn

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/forkexec"
	"github.com/safeexec/safeexec/ofd"
)

// The kernel copies the table for the child up to the highest descriptor that the child is given, and a busy server's
// fresh pipe has a high number. So a few low numbers are kept, and sources are duplicated onto them for the time of the
// start. They hold nothing but the read end of a pipe that has no other, close-on-exec.
const (
	lowEnough = 64  // copying so much costs less than avoiding it
	slotCount = 8   // two pipes for each of four goroutines that start something at once
	slotLimit = 256 // what is higher isn't worth keeping
)

// A slotPool is the numbers that this process keeps. A program may close descriptors that it doesn't know (daemons do, in a
// loop), and then have something else there: a slot is only written to after a look that it holds what it should.
type slotPool struct {
	mu     sync.Mutex
	tried  bool
	filler fileID // what every slot holds while it isn't lent
	master int    // a slot that is never lent, so that the others can be refilled from it
	free   []int
	lent   int
}

// A fileID tells a pipe's end or a socket from all others, and other files from all but those of the same inode.
type fileID struct {
	dev, ino uint64
	access   int
}

var keptSlots = slotPool{master: -1}

// lower moves the sources of a start onto slots where they are high, until giveBack is called. Where that can't be done,
// the start is slower and nothing else.
func (p *slotPool) lower(a *forkexec.Attr) (giveBack func()) {
	if forkexec.WhyProc() != nil { // the whole table is copied anyway
		return func() {}
	}
	high := highSources(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tried && len(high) == 0 {
		return func() {}
	}
	p.tried = true
	p.fill()
	loans, ok := p.lend(high)
	if !ok {
		return func() {}
	}
	for i := range a.Moves {
		a.Moves[i].From = lowered(loans, a.Moves[i].From)
	}
	for i := range a.Landlock {
		a.Landlock[i] = lowered(loans, a.Landlock[i])
	}
	return func() { p.giveBack(loans) }
}

// highSources are the distinct sources that aren't low enough.
func highSources(a *forkexec.Attr) (high []int) {
	for _, m := range a.Moves {
		high = append(high, m.From)
	}
	high = append(high, a.Landlock...)
	slices.Sort(high)
	high = slices.Compact(high)
	first, _ := slices.BinarySearch(high, lowEnough)
	return high[first:]
}

// A loan is a slot that a source was duplicated onto.
type loan struct {
	source, slot int
	file         fileID
}

func lowered(loans []loan, source int) int {
	for _, l := range loans {
		if l.source == source {
			return l.slot
		}
	}
	return source
}

// lend duplicates all sources, or none: the highest that remained would decide what is copied.
func (p *slotPool) lend(sources []int) ([]loan, bool) {
	if len(sources) == 0 || len(sources) > len(p.free) || slices.ContainsFunc(sources, mustStay) {
		return nil, false
	}
	var loans []loan
	for _, source := range sources {
		l := loan{source: source, slot: p.free[0]}
		var ok bool
		if l.file, ok = identify(source); !ok || unix.Dup3(source, l.slot, unix.O_CLOEXEC) != nil {
			p.takeBack(loans)
			return nil, false
		}
		p.free = p.free[1:]
		p.lent++
		loans = append(loans, l)
	}
	return loans, true
}

// mustStay knows what has to be told that one of its descriptors is closed: POSIX locks go with any of them, and the
// watches of fcntl(2)'s F_NOTIFY.
func mustStay(fd int) bool {
	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) != nil {
		return true
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFSOCK:
		return false
	case unix.S_IFREG, unix.S_IFCHR:
		held, err := ofd.HoldsPOSIX(fd)
		return held || err != nil
	}
	return true
}

func (p *slotPool) giveBack(loans []loan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takeBack(loans)
}

func (p *slotPool) takeBack(loans []loan) {
	for _, l := range loans {
		p.lent--
		switch {
		case !p.holds(l.slot, l.file): // somebody has closed it, and perhaps opened something else
		case p.holds(p.master, p.filler) && unix.Dup3(p.master, l.slot, unix.O_CLOEXEC) == nil:
			p.free = append(p.free, l.slot)
		default:
			unix.Close(l.slot)
		}
	}
	slices.Sort(p.free)
}

// fill takes the lowest free numbers, as far as they are low and some are wanting.
func (p *slotPool) fill() {
	if !p.holds(p.master, p.filler) && !p.begin() {
		return
	}
	p.free = slices.DeleteFunc(p.free, func(slot int) bool { return !p.holds(slot, p.filler) })
	for len(p.free)+p.lent < slotCount {
		slot, err := unix.FcntlInt(uintptr(p.master), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return
		}
		if slot >= slotLimit {
			unix.Close(slot)
			return
		}
		p.free = append(p.free, slot)
	}
	slices.Sort(p.free)
}

// begin makes the first slot. There may be older ones, if their master was closed: what is theirs is given up.
func (p *slotPool) begin() bool {
	for _, slot := range p.free {
		if p.holds(slot, p.filler) {
			unix.Close(slot)
		}
	}
	p.free, p.master = nil, -1
	var ends [2]int
	if unix.Pipe2(ends[:], unix.O_CLOEXEC) != nil {
		return false
	}
	defer unix.Close(ends[1])
	defer unix.Close(ends[0])
	master, err := unix.FcntlInt(uintptr(ends[0]), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return false
	}
	if id, ok := identify(master); ok && master < slotLimit {
		p.master, p.filler = master, id
		return true
	}
	unix.Close(master)
	return false
}

func (p *slotPool) holds(fd int, want fileID) bool {
	id, ok := identify(fd)
	return ok && id == want
}

func identify(fd int) (id fileID, ok bool) {
	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) != nil {
		return id, false
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return fileID{uint64(stat.Dev), stat.Ino, flags & unix.O_ACCMODE}, err == nil
}
