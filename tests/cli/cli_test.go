// Package cli drives the real binary by the scripts in testdata/cli, each a testscript of
// github.com/rogpeppe/go-internal that runs in a directory of its own with safeexec in its PATH.
package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

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

// buildCommand builds the binary as make build does. SAFEEXEC_BINARY names a binary that has been built already, for a user
// who has no Go.
func buildCommand(t *testing.T, target string) {
	if built := os.Getenv("SAFEEXEC_BINARY"); built != "" {
		if err := os.Symlink(built, target); err != nil {
			t.Fatal(err)
		}
		return
	}
	build := exec.Command("go", "build", "-tags", "urfave_cli_no_docs", "-o", target, "./cmd/safeexec")
	build.Dir = "../.." // the main module
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
