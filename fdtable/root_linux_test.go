package fdtable

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

// jailHelper opens the directories and the file that its arguments name, goes into the last of them as its root where it is
// told to, opens that root as well, and says which numbers they have.
func jailHelper(args []string) int {
	jail, paths := args[0] == "jail", args[1:]
	var numbers []int
	open := func(path string) {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		must(err)
		numbers = append(numbers, fd)
	}
	for _, path := range paths {
		open(path)
	}
	if jail {
		must(unix.Chroot(paths[len(paths)-1]))
		must(unix.Chdir("/"))
		open("/")
	}
	return tell(numbers)
}

func TestOutside(t *testing.T) {
	directory := t.TempDir()
	jail := filepath.Join(directory, "jail")
	below := filepath.Join(jail, "below")
	must(os.MkdirAll(below, 0o700))
	paths := []string{"/", directory, below, jail}
	for _, c := range []struct {
		how  string
		want []bool
	}{
		{"free", []bool{false, false, false, false}},
		{"jail", []bool{true, true, false, false, false}},
	} {
		if c.how == "jail" && os.Geteuid() != 0 {
			continue // chroot(2) is root's
		}
		var numbers []int
		cmd := start(t, &numbers, "jail", append([]string{c.how}, paths...)...)
		if got := outside(t, cmd.Process.Pid, numbers); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.how, got, c.want)
		}
	}
}

func outside(t *testing.T, pid int, numbers []int) (answers []bool) {
	t.Helper()
	r, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, n := range numbers {
		answer, err := r.Outside(pid, n)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, answer)
	}
	return answers
}

// A directory of another mount namespace, as in CVE-2024-21626: what leaks into a container.
func TestOutsideMounts(t *testing.T) {
	proctest.NeedRoot(t)
	ours, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	cmd := proctest.Command(t, "jail", "free", "/")
	cmd.ExtraFiles = []*os.File{ours}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	var numbers []int
	pid := startCmd(t, &numbers, cmd).Process.Pid
	if got, want := outside(t, pid, append(numbers, 3)), []bool{false, true}; !slices.Equal(got, want) {
		t.Errorf("its own root and ours: %v, want %v", got, want)
	}
}

func TestOutsideErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(os.WriteFile(file, nil, 0o600))
	var numbers []int
	pid := start(t, &numbers, "jail", "free", file).Process.Pid
	r, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, c := range []struct {
		pid, number int
		want        error
	}{
		{pid, numbers[0], unix.ENOTDIR},
		{pid, 999999, unix.ENOENT},
		{1 << 30, 0, unix.ESRCH},
	} {
		if _, err := r.Outside(c.pid, c.number); !errors.Is(err, c.want) {
			t.Errorf("descriptor %d of %d: %v, want %v", c.number, c.pid, err, c.want)
		}
	}
}
