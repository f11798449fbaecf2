// Package cli drives the real binary by the scripts in testdata/cli, each a testscript of
// github.com/rogpeppe/go-internal that runs in a directory of its own with safeexec in its PATH.
package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

func TestScripts(t *testing.T) {
	// What the tests' own caller let leak is no part of the scripts.
	if err := unix.CloseRange(3, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	buildCommand(t, filepath.Join(bin, "safeexec"))
	testscript.Run(t, testscript.Params{
		Dir: "../../testdata/cli",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			env.Setenv("PYTHON", python())
			return nil
		},
		Condition: func(condition string) (bool, error) {
			if condition == "pids" { // as the machine counts them, those of the dead too
				namespace, err := os.Readlink("/proc/self/ns/pid")
				return namespace == "pid:[4026531836]", err
			}
			return condition == "root" && os.Geteuid() == 0, nil
		},
		RequireUniqueNames: true,
	})
}

// python is the system's where it has one: a version manager's wrapper takes long, and wants a home.
func python() string {
	if _, err := os.Stat("/usr/bin/python3"); err == nil {
		return "/usr/bin/python3"
	}
	return "python3"
}

// buildCommand makes the binary at the target.
func buildCommand(t *testing.T, target string) {
	if built := proctest.NeedBinary(t, filepath.Dir(target)); built != target {
		if err := os.Symlink(built, target); err != nil {
			t.Fatal(err)
		}
	}
}
