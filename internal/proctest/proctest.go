// Package proctest is what the tests of the other packages share: helper processes and requirements.
//
// A test of what the kernel does needs a second process whose descriptors are known to the last one. The helpers are
// functions of the test binary itself, registered by name and run by starting the binary again:
//
//	func TestMain(m *testing.M) {
//		proctest.Helper("table", func(args []string) int { ...; return 0 })
//		proctest.Main(m)
//	}
//
//	cmd := proctest.Command(t, "table", "-v")
package proctest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sort"
	"sync"
	"syscall"
	"testing"
)

// helperVariable names, in the environment, the helper that a re-executed test binary is to be.
const helperVariable = "SAFEEXEC_TEST_HELPER"

// mustRunVariable turns every skip into a failure: CI sets it, so that a job can't be green because it skipped.
const mustRunVariable = "SAFEEXEC_MUST_RUN"

var (
	helpers = map[string]func(args []string) int{}

	usedMu sync.Mutex
	used   = map[string]bool{}
)

// Helper registers a helper process under a name. It is called from TestMain, before Main.
func Helper(name string, run func(args []string) int) {
	if _, taken := helpers[name]; taken {
		panic("proctest: helper " + name + " is registered twice")
	}
	helpers[name] = run
}

// Main runs the tests, or the helper that the environment names, and ends the process. A whole run that leaves a
// registered helper unused fails: a helper without a test is dead code.
func Main(m *testing.M) {
	if name, ok := os.LookupEnv(helperVariable); ok {
		run, known := helpers[name]
		if !known {
			fmt.Fprintf(os.Stderr, "proctest: no helper is called %q\n", name)
			os.Exit(125)
		}
		os.Unsetenv(helperVariable)
		os.Exit(run(os.Args[1:]))
	}
	dontPassOn(syscall.SIGHUP, syscall.SIGINT)
	code := m.Run()
	if code == 0 && wholeRun() {
		for _, name := range unused() {
			fmt.Fprintf(os.Stderr, "proctest: helper %q is used by no test\n", name)
			code = 1
		}
	}
	os.Exit(code)
}

// dontPassOn has children start with the default action of signals that whoever runs the tests ignores, as nohup and a shell's & do.
// What a process catches, the programs that it starts have by default.
func dontPassOn(sigs ...os.Signal) {
	for _, sig := range sigs {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
}

// Environment returns the caller's environment with what makes the test binary become the helper.
func Environment(name string) []string {
	usedMu.Lock()
	used[name] = true
	usedMu.Unlock()
	return append(os.Environ(), helperVariable+"="+name)
}

// Program is the path of the running test binary.
func Program(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Command returns a command, not yet started, that runs the helper with the arguments.
func Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(Program(t), args...)
	cmd.Env = Environment(name)
	return cmd
}

// Skip skips the test for want of something that this machine can't offer, a kernel feature above all; where
// SAFEEXEC_MUST_RUN=1 is set the test fails instead.
func Skip(t testing.TB, wanting string) {
	t.Helper()
	if os.Getenv(mustRunVariable) == "1" {
		t.Fatalf("wanting: %s (and %s=1 permits no skip)", wanting, mustRunVariable)
	}
	t.Skipf("wanting: %s", wanting)
}

// NeedRoot skips a test that only root can run, in every mode: the suite runs as an ordinary user as well.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("this test needs root; the suite also runs as root")
	}
}

// NeedTool returns the path of a program that the test drives, and fails the test where it isn't installed.
func NeedTool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v (make test installs it)", err)
	}
	return path
}

func unused() []string {
	usedMu.Lock()
	defer usedMu.Unlock()
	var names []string
	for name := range helpers {
		if !used[name] {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// wholeRun reports whether every test of the package ran: no filter, no listing, no short cut.
func wholeRun() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.bench", "test.fuzz"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	if f := flag.Lookup("test.short"); f != nil && f.Value.String() == "true" {
		return false
	}
	return true
}

// Binary makes the command in a directory as make build does, and returns its path. It is for tests in a package two levels below the
// main module's root. SAFEEXEC_BINARY names one that has been built already, for a user who has no Go.
func Binary(dir string) (string, error) {
	if built := os.Getenv("SAFEEXEC_BINARY"); built != "" {
		return built, nil
	}
	path := filepath.Join(dir, "safeexec")
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "urfave_cli_no_docs", "-o", path, "./cmd/safeexec")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
}

// NeedBinary is Binary for a test that can't do without.
func NeedBinary(t testing.TB, dir string) string {
	t.Helper()
	path, err := Binary(dir)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
