package fdtable

import (
	"slices"
	"strconv"
	"strings"
)

// A cgroupMount is where a hierarchy of cgroups can be seen.
type cgroupMount struct {
	directory string // the mount point
	root      string // the cgroup that is mounted there
	unified   bool   // version 2
}

// parseCgroupMounts picks the hierarchies out of /proc/PID/mountinfo (proc(5)), version 2 first: where there is one, systemd
// keeps its processes there too.
//
//	36 35 98:0 /root /mount/point rw,noatime master:1 - cgroup2 source rw
func parseCgroupMounts(data []byte) []cgroupMount {
	var mounts []cgroupMount
	for line := range strings.Lines(string(data)) {
		before, after, _ := strings.Cut(line, " - ")
		fields, system := strings.Fields(before), strings.Fields(after)
		if len(fields) < 5 || len(system) < 1 || system[0] != "cgroup" && system[0] != "cgroup2" {
			continue
		}
		mounts = append(mounts, cgroupMount{unescapeMount(fields[4]), unescapeMount(fields[3]), system[0] == "cgroup2"})
	}
	slices.SortStableFunc(mounts, func(a, b cgroupMount) int {
		switch {
		case a.unified == b.unified:
			return 0
		case a.unified:
			return -1
		}
		return 1
	})
	return mounts
}

// unescapeMount undoes the octal escapes of blanks, newlines and backslashes.
func unescapeMount(field string) string {
	var text []byte
	for i := 0; i < len(field); i++ {
		if field[i] == '\\' && i+3 < len(field) {
			if code, err := strconv.ParseUint(field[i+1:i+4], 8, 8); err == nil {
				text = append(text, byte(code))
				i += 3
				continue
			}
		}
		text = append(text, field[i])
	}
	return string(text)
}

// directoryOf is where the cgroup with a name (as /proc/PID/cgroup has it) would be under the mount.
func (m cgroupMount) directoryOf(name string) (string, bool) {
	below, ok := strings.CutPrefix(name, strings.TrimSuffix(m.root, "/"))
	if !ok || below != "" && below[0] != '/' {
		return "", false
	}
	return m.directory + below, true
}

// parsePIDLines reads cgroup.procs: a number on each line, 0 for a process that this PID namespace doesn't have.
func parsePIDLines(pids []int, data []byte) []int {
	for line := range strings.Lines(string(data)) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}
