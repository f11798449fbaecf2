// Package command runs the real binary, on the real kernel, from callers that hold what real callers hold, and looks at the whole
// of what the command got.
package command

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Helper("table", tableHelper)
	proctest.Helper("filter", filterHelper)
	proctest.Helper("nonblocking", nonblockingHelper)
	proctest.Helper("bare", bareHelper)
	proctest.Main(m)
}

// TestCommand builds the binary once, for all that drives it.
func TestCommand(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	for _, tt := range []struct {
		name string
		test func(*caller, *testing.T)
	}{
		{"EarlyCalls", (*caller).testEarlyCalls},
		{"EarlyLists", (*caller).testEarlyLists},
		{"EarlyCallers", (*caller).testEarlyCallers},
		{"EarlyEnvironments", (*caller).testEarlyEnvironments},
		{"EarlyArguments", (*caller).testEarlyArguments},
		{"List", (*caller).testList},
		{"ListRefuses", (*caller).testListRefuses},
		{"Limits", (*caller).testLimits},
		{"Poller", (*caller).testPoller},
		{"Closed", (*caller).testClosed},
		{"FailedExec", (*caller).testFailedExec},
		{"Process", (*caller).testProcess},
		{"Signals", (*caller).testSignals},
		{"Strings", (*caller).testStrings},
		{"PosixLock", (*caller).testPosixLock},
		{"NoProc", (*caller).testNoProc},
		{"FullTable", (*caller).testFullTable},
		{"FailBefore", (*caller).testFailBefore},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(c.elsewhere(t), t)
		})
	}
}

// A caller is a directory with files to open, and the binary.
type caller struct {
	dir, binary string
	env         []string
}

func newCaller(t *testing.T) *caller {
	// What the tests' own caller let leak is no part of them.
	if err := unix.CloseRange(3, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	c := (&caller{}).elsewhere(t)
	c.binary = proctest.NeedBinary(t, c.dir)
	helper := func(name string) string {
		env := proctest.Environment(name)
		return "env " + env[len(env)-1] + " " + proctest.Program(t)
	}
	c.env = append(os.Environ(),
		"safeexec="+c.binary,
		"table="+helper("table")+" report",
		"filter="+helper("filter"),
		"nonblocking="+helper("nonblocking"),
		"bare="+helper("bare"),
		"python="+python(t))
	return c
}

// elsewhere is the same caller in a directory of its own.
func (c *caller) elsewhere(t *testing.T) *caller {
	other := *c
	other.dir = t.TempDir()
	for _, name := range []string{"in", "a", "b", "c", "d", "e"} {
		if err := os.WriteFile(filepath.Join(other.dir, name), []byte(name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &other
}

// python is the system's where it has one: a version manager's wrapper takes ten times as long.
func python(t *testing.T) string {
	if _, err := os.Stat("/usr/bin/python3"); err == nil {
		return "/usr/bin/python3"
	}
	return proctest.NeedTool(t, "python3")
}

// A result is how a script ended. What it wrote to "report" in its directory is there too.
type result struct {
	stdout, stderr, report string
	status                 int
}

func (r result) String() string {
	return fmt.Sprintf("status %d, stdout %q, stderr %q, report %q", r.status, r.stdout, r.stderr, r.report)
}

// bash runs a script: $safeexec is the binary, $table a command that reports its table, $filter one that installs a seccomp
// filter first.
func (c *caller) bash(t *testing.T, script string) result {
	t.Helper()
	report := filepath.Join(c.dir, "report")
	os.Remove(report)
	os.Remove(filepath.Join(c.dir, "ran"))
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = c.dir
	cmd.Env = c.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(report)
	return result{stdout.String(), stderr.String(), string(text), cmd.ProcessState.ExitCode()}
}

// ran reports whether the last script's command did "touch ran".
func (c *caller) ran() bool {
	_, err := os.Stat(filepath.Join(c.dir, "ran"))
	return err == nil
}

// refused checks that a script's command wasn't run, and that there is one line which says why.
func (c *caller) refused(t *testing.T, r result, status int, contains string) {
	t.Helper()
	if r.status != status || r.report != "" || c.ran() || r.stdout != "" {
		t.Errorf("status %d, want %d; ran %v, report %q, stdout %q, stderr %q", r.status, status, c.ran(), r.report, r.stdout, r.stderr)
	}
	if strings.Count(r.stderr, "\n") != 1 || !strings.HasPrefix(r.stderr, "safeexec: ") || !strings.Contains(r.stderr, contains) {
		t.Errorf("stderr %q isn't one line with %q", r.stderr, contains)
	}
}

// tableHelper writes this process's inherited descriptors to a file: "0 in, 1 out, 3 a".
func tableHelper(args []string) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	var numbers []int
	for _, e := range entries {
		var n int
		fmt.Sscan(e.Name(), &n)
		if flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	var held []string
	for _, n := range numbers {
		target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", n))
		if err != nil {
			panic(err)
		}
		name, _, _ := strings.Cut(filepath.Base(target), ":")
		held = append(held, fmt.Sprintf("%d %s", n, name))
	}
	if err := os.WriteFile(args[0], []byte(strings.Join(held, ", ")), 0o644); err != nil {
		panic(err)
	}
	return 0
}
