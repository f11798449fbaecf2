package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/safeexec/safeexec/fdtable"
)

// A selection is which processes were asked for.
type selection struct {
	pids, trees []int
	cgroups     []string
	all         bool // every process that can be seen
	own         bool // what safeexec itself inherited, and nothing else
}

func parseSelection(c *cli.Context) (s selection, err error) {
	switch {
	case c.Args().Present():
		return s, fmt.Errorf("unexpected argument %q", c.Args().First())
	case c.Bool("json") && c.Bool("dot"):
		return s, errors.New("--json and --dot exclude each other")
	}
	if s.pids, err = parsePIDs("--pid", wordsOf(c, "pid")); err != nil {
		return s, err
	}
	if s.trees, err = parsePIDs("--tree", wordsOf(c, "tree")); err != nil {
		return s, err
	}
	s.cgroups = wordsOf(c, "cgroup")
	if slices.Contains(s.cgroups, "") {
		return s, errors.New("--cgroup: the path is empty")
	}
	none := len(s.pids) == 0 && len(s.trees) == 0 && len(s.cgroups) == 0
	s.all = none && c.Bool("shared")
	s.own = none && !s.all
	return s, nil
}

func parsePIDs(option string, words []string) ([]int, error) {
	var pids []int
	for _, word := range words {
		pid, err := strconv.Atoi(word)
		if err != nil || pid <= 0 {
			return nil, fmt.Errorf("%s %s: not the number of a process", option, fdtable.Printable(word))
		}
		if !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// A listing is one process with its descriptors, or with the reason why they can't be listed.
type listing struct {
	process     fdtable.Process
	why         reason
	descriptors []fdtable.Descriptor
	identities  []fdtable.Identity // instead, until it is known which descriptors matter
	err         error
}

// size is how many descriptors the process has.
func (l listing) size() int { return max(len(l.identities), len(l.descriptors)) }

// A reason is how a process came to be listed: it decides what is worth a complaint.
type reason int

const (
	byNumber reason = iota // must be there, and ours to see
	byGroup                // a tree or a cgroup, whose members come and go, but must be ours to see
	byChance               // every process that can be seen
)

// unseen reports whether a process can't be listed for want of permission, and nobody expected otherwise.
func (l listing) unseen() bool {
	return l.why == byChance && (errors.Is(l.err, syscall.EACCES) || errors.Is(l.err, syscall.EPERM))
}

// left reports whether a process has ended without anyone missing it.
func (l listing) left() bool { return l.why != byNumber && errors.Is(l.err, syscall.ESRCH) }

// list lists what is selected, in the order of the command line, each process once: its descriptors, or their identities only.
func (s selection) list(reader *fdtable.Reader, p *progress, identities bool) ([]listing, error) {
	if s.own {
		own, err := listInherited(reader)
		return []listing{own}, err
	}
	listings, err := s.find(reader)
	if err != nil {
		return nil, err
	}
	read := (*listing).read
	if identities {
		read = (*listing).identify
	}
	p.expect(len(listings))
	err = forEach(reader, listings, func(l *listing, reader *fdtable.Reader) {
		read(l, reader)
		p.done(l.size())
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(listings, listing.left), nil
}

// find looks up which processes there are. It keeps safeexec itself out, which is there only because somebody looks.
func (s selection) find(reader *fdtable.Reader) ([]listing, error) {
	var found []listing
	seen := map[int]bool{}
	add := func(p fdtable.Process, why reason, err error) {
		if !seen[p.PID] {
			seen[p.PID] = true
			found = append(found, listing{process: p, why: why, err: err})
		}
	}
	for _, pid := range s.pids {
		p, err := reader.Process(pid)
		add(p, byNumber, err)
	}
	own, err := reader.Process(0)
	if err != nil {
		return nil, err
	}
	seen[own.PID] = true
	if s.all || len(s.trees) > 0 {
		processes, err := reader.Processes()
		if err != nil {
			return nil, err
		}
		if s.all {
			s.trees = nil
			for _, p := range processes {
				add(p, byChance, nil)
			}
		}
		for _, root := range s.trees {
			tree := fdtable.Tree(processes, root)
			if len(tree) == 0 {
				add(fdtable.Process{PID: root}, byNumber, fmt.Errorf("process %d: %w", root, syscall.ESRCH))
			}
			for _, p := range tree {
				add(p, byGroup, nil)
			}
		}
	}
	for _, path := range s.cgroups {
		pids, err := reader.CgroupProcesses(path)
		if err != nil {
			return nil, err
		}
		for _, pid := range pids {
			p, err := reader.Process(pid)
			add(p, byGroup, err)
		}
	}
	return found, nil
}

// listInherited lists this process's descriptors without close-on-exec: an exec closes those that have it, so they are the
// Go runtime's. (On a 0, 1 or 2 that was closed, the runtime has opened /dev/null before we could look.)
func listInherited(reader *fdtable.Reader) (l listing, err error) {
	if l.process, err = reader.Process(0); err != nil {
		return l, err
	}
	l.descriptors, err = reader.List(0)
	l.descriptors = slices.DeleteFunc(l.descriptors, func(d fdtable.Descriptor) bool { return d.CloseOnExec })
	return l, err
}

// forEach calls a function for all listings, several at a time where there are many. A Reader holds descriptors, so this
// process itself comes before there is a second one.
func forEach(reader *fdtable.Reader, listings []listing, do func(*listing, *fdtable.Reader)) error {
	self := slices.IndexFunc(listings, func(l listing) bool { return l.process.PID == os.Getpid() })
	if self >= 0 {
		do(&listings[self], reader)
	}
	var next atomic.Int64
	work := func(reader *fdtable.Reader) {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(listings) {
				return
			}
			if i != self {
				do(&listings[i], reader)
			}
		}
	}
	const worthAWorker = 32 // processes
	var workers sync.WaitGroup
	defer workers.Wait()
	for range min(runtime.GOMAXPROCS(0), len(listings)/worthAWorker) - 1 {
		another, err := fdtable.NewReader()
		if err != nil {
			next.Store(int64(len(listings)))
			return err
		}
		workers.Go(func() {
			defer another.Close()
			work(another)
		})
	}
	work(reader)
	return nil
}

func (l *listing) read(reader *fdtable.Reader) {
	if l.err == nil {
		l.descriptors, l.err = reader.List(l.process.PID)
	}
}

func (l *listing) identify(reader *fdtable.Reader) {
	if l.err == nil {
		l.identities, l.err = reader.Identities(l.process.PID)
	}
}
