package fdtable

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func TestParseCgroupMounts(t *testing.T) {
	text := "24 1 0:22 / / rw - ext4 /dev/vda rw\n" +
		"30 24 0:26 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n" +
		"31 24 0:27 /docker/x /sys/fs/a\\040b ro shared:4 master:1 - cgroup2 cgroup2 rw\n" +
		"rubbish\n"
	want := []cgroupMount{{"/sys/fs/a b", "/docker/x", true}, {"/sys/fs/cgroup/pids", "/", false}}
	got := parseCgroupMounts([]byte(text))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	for _, c := range []struct {
		mount     cgroupMount
		name      string
		directory string
		ok        bool
	}{
		{got[0], "/docker/x", "/sys/fs/a b", true},
		{got[0], "/docker/x/y", "/sys/fs/a b/y", true},
		{got[0], "/docker/xy", "", false},
		{got[0], "/", "", false},
		{got[1], "/a/b", "/sys/fs/cgroup/pids/a/b", true},
		{got[1], "/", "/sys/fs/cgroup/pids/", true},
	} {
		if directory, ok := c.mount.directoryOf(c.name); directory != c.directory || ok != c.ok {
			t.Errorf("%s in %+v: %q %v", c.name, c.mount, directory, ok)
		}
	}
}

func TestUnescapeMount(t *testing.T) {
	for in, want := range map[string]string{`a\040b`: "a b", `\134`: `\`, `a\`: `a\`, `\999`: `\999`, `\777x`: `\777x`, "": ""} {
		if got := unescapeMount(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func FuzzCgroup(f *testing.F) {
	f.Add([]byte("31 24 0:27 /docker/x /sys/fs/a\\040b ro shared:4 master:1 - cgroup2 cgroup2 rw\n"))
	f.Add([]byte("1\n0\n77\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range parseCgroupMounts(data) {
			if m.directory == "" || m.root == "" {
				t.Errorf("%q: %+v", data, m)
			}
			if directory, ok := m.directoryOf("/a"); ok && !strings.HasPrefix(directory, m.directory) {
				t.Errorf("%+v: %q", m, directory)
			}
		}
		for _, pid := range parsePIDLines(nil, data) {
			if pid <= 0 {
				t.Errorf("%q: %d", data, pid)
			}
		}
	})
}

// cgroupOf is the name of this process's cgroup in the first hierarchy that can be seen.
func cgroupOf(t *testing.T, r *Reader) (name string, mounts []cgroupMount) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	mounts = parseCgroupMounts(data)
	if len(mounts) == 0 {
		proctest.Skip(t, "a mounted cgroup hierarchy")
	}
	data, err = os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	last := strings.SplitN(lines[len(lines)-1], ":", 3) // version 2 comes last
	return last[2], mounts
}

func TestCgroupOfOurOwn(t *testing.T) {
	r, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	name, _ := cgroupOf(t, r)
	pids, err := r.CgroupProcesses(name)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(pids, os.Getpid()) || !slices.IsSorted(pids) {
		t.Errorf("%d is missing in %s: %v", os.Getpid(), name, pids)
	}
}

func TestCgroupErrors(t *testing.T) {
	r, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for name, want := range map[string]error{
		"/no/such/cgroup": unix.ENOENT, "/etc/passwd": unix.ENOTDIR, t.TempDir(): unix.ENOTDIR,
	} {
		if pids, err := r.CgroupProcesses(name); !errors.Is(err, want) {
			t.Errorf("%q: %v, %v", name, pids, err)
		}
	}
}

// A cgroup with one below it, each with a process: both are listed, by the directory and by the name.
func TestCgroupTree(t *testing.T) {
	proctest.NeedRoot(t)
	r, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, mounts := cgroupOf(t, r)
	for _, m := range mounts {
		name := fmt.Sprint("safeexec-test-", os.Getpid())
		top, below := m.directory+"/"+name, m.directory+"/"+name+"/below"
		if err := os.Mkdir(top, 0o755); err != nil {
			continue // a hierarchy for looking only
		}
		t.Cleanup(func() { os.Remove(top) })
		if err := os.Mkdir(below, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(below) })
		var want []int
		for _, directory := range []string{below, top} {
			var n int
			cmd := start(t, &n, "many", "0")
			if err := os.WriteFile(directory+"/cgroup.procs", []byte(fmt.Sprint(cmd.Process.Pid)), 0); err != nil {
				proctest.Skip(t, fmt.Sprintf("a cgroup that takes processes: %v", err))
			}
			want = append(want, cmd.Process.Pid)
		}
		slices.Sort(want)
		for _, path := range []string{top, top + "/", strings.TrimSuffix(m.root, "/") + "/" + name} {
			pids, err := r.CgroupProcesses(path)
			if err != nil || !slices.Equal(pids, want) {
				t.Errorf("%s: %v, want %v (%v)", path, pids, want, err)
			}
		}
		return // one hierarchy is enough
	}
	proctest.Skip(t, "a cgroup hierarchy that may be written")
}
