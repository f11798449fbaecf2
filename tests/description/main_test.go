// Package description drives the real binary as the supervisor of a guard by description.
package description

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Helper("tries", tries)
	proctest.Helper("swaps", swaps)
	proctest.Helper("storm", storm)
	proctest.Helper("own-table", ownTable)
	proctest.Helper("interrupted", interrupted)
	proctest.Helper("waits", waits)
	proctest.Helper("waits-in-crowd", waitsInCrowd)
	if os.Geteuid() == 0 || os.Getenv("SAFEEXEC_TEST_HELPER") != "" { // their tests are for root
		proctest.Helper("slow-memory", slowMemory)
		proctest.Helper("aims", aims)
	}
	proctest.Main(m)
}

// A stage is a directory, and descriptions that commands are started with.
type stage struct {
	t        *testing.T
	dir      string
	safeexec string
	shared   *os.File // a regular file, opened for reading and writing
	before   string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, dir: t.TempDir(), safeexec: built}
	if err := os.Chmod(s.dir, 0o777); err != nil { // for commands of another user
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "shared"), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	f.WriteString("what the caller has in its file\n")
	f.Seek(5, 0)
	s.shared = f
	s.before = s.state()
	return s
}

var built string

func TestDescription(t *testing.T) {
	built = proctest.NeedBinary(t, t.TempDir())
	for _, test := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"operations", testOperations},
		{"another user", testOtherUser},
		{"shells", testShells},
		{"actions", testActions},
		{"swaps", testSwaps},
		{"storm", testStorm},
		{"interrupted", testInterrupted},
		{"a thread's own table", testOwnTable},
		{"slow memory", testSlowMemory},
		{"namespaces", testNamespaces},
		{"aim", testAim},
		{"leases", testLeases},
		{"locks", testLocks},
		{"left behind", testLeftBehind},
		{"a crowd left behind", testCrowdLeftBehind},
		{"learning left behind", testLearningLeftBehind},
		{"killed", testKilled},
		{"nested", testNested},
		{"refused", testRefused},
		{"end of file", testEnd},
		{"report", testReport},
	} {
		t.Run(test.name, test.run)
	}
}

// await returns what a file says that is moved into the stage's directory when it is complete.
func (s *stage) await(name string) string {
	for {
		text, err := os.ReadFile(filepath.Join(s.dir, name))
		if err == nil {
			return string(text)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// state is what the shared description looks like.
func (s *stage) state() string {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", s.shared.Fd()))
	if err != nil {
		s.t.Fatal(err)
	}
	owner, err := unix.FcntlInt(s.shared.Fd(), unix.F_GETOWN, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("%sowner %d", info, owner)
}

// unchanged fails the test when the description isn't as it was.
func (s *stage) unchanged() {
	s.t.Helper()
	if now := s.state(); now != s.before {
		s.t.Errorf("the shared description was\n%s\nand is now\n%s", s.before, now)
	}
}

// command is safeexec with options and a command; the shared file is its descriptor 3.
func (s *stage) command(options string, command ...string) *exec.Cmd {
	cmd := exec.Command(s.safeexec, append(append(strings.Fields(options), "--"), command...)...)
	cmd.Dir = s.dir
	cmd.ExtraFiles = []*os.File{s.shared}
	return cmd
}

// helper is the same with a helper of the test's as the command.
func (s *stage) helper(options, name string, args ...string) *exec.Cmd {
	cmd := s.command(options, append([]string{proctest.Program(s.t)}, args...)...)
	cmd.Env = proctest.Environment(name)
	return cmd
}

// run runs it, and returns what it wrote and how it ended.
func (s *stage) run(cmd *exec.Cmd) (stdout, stderr string, status int) {
	s.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

const guarded = "--supervise --guard=flags,owner,lock,seek --keep 3"
