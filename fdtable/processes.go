package fdtable

import (
	"bytes"
	"strconv"
	"strings"
)

// A Process is one line of the process list.
type Process struct {
	PID    int
	Parent int    // 0 for one that has none, or none that can be seen
	Name   string // the thread's name, as set by itself: up to 15 raw bytes; see Printable

	// Started is when it began, in clock ticks since the machine started: what has the same number and another start is
	// another process.
	Started uint64

	Session int // the session's number (setsid(2)); 0 of one that began outside of what can be seen
}

// parseStat reads the beginning of /proc/PID/stat: number, name in parentheses, state, parent, and the start further on. The
// name may hold anything, also parentheses and blanks: it ends at the last parenthesis.
func parseStat(data []byte) (Process, bool) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return Process{}, false
	}
	pid, err1 := strconv.Atoi(strings.TrimSpace(string(data[:open])))
	fields := strings.Fields(string(data[end+1:]))
	if err1 != nil || len(fields) < 2 {
		return Process{}, false
	}
	parent, err2 := strconv.Atoi(fields[1])
	p := Process{PID: pid, Parent: parent, Name: string(data[open+1 : end])}
	const session, started = 6 - 3, 22 - 3 // fields 6 and 22 of proc(5), where the state is field 3
	if len(fields) > session {
		p.Session, _ = strconv.Atoi(fields[session])
	}
	if len(fields) > started {
		p.Started, _ = strconv.ParseUint(fields[started], 10, 64)
	}
	return p, err2 == nil
}

// Tree picks the process with the number and all that descend from it, parents before children; nothing where there is no
// such process.
func Tree(processes []Process, root int) []Process {
	children := map[int][]Process{}
	var tree []Process
	for _, p := range processes {
		children[p.Parent] = append(children[p.Parent], p)
		if p.PID == root {
			tree = append(tree, p)
		}
	}
	for i := 0; i < len(tree); i++ {
		pid := tree[i].PID
		tree = append(tree, children[pid]...)
		delete(children, pid) // numbers that were reused during the listing could make a circle
	}
	return tree
}
