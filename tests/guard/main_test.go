// Package guard runs real programs under the real binary's guard and denials, and tries on the kernel what a guard promises.
package guard

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/seccomp"
)

// safeexec is the binary under test.
var safeexec string

// landlock is the version of its interface that the kernel has. Without any, real programs run under --guard-steal off.
var landlock = seccomp.LandlockABI()

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // for the helpers, which would take a second each to end
	proctest.Helper("go-program", goProgram)
	proctest.Helper("clean", clean)
	proctest.Helper("try", tryAll)
	proctest.Helper("sandbox", sandbox)
	os.Exit(build(m))
}

// build makes the binary as make build does. SAFEEXEC_BINARY names a binary that has been built already, for a user who has
// no Go. Helpers need none.
func build(m *testing.M) int {
	if _, helper := os.LookupEnv("SAFEEXEC_TEST_HELPER"); helper {
		proctest.Main(m)
	}
	if landlock == 0 && os.Getenv("SAFEEXEC_MUST_RUN") != "1" {
		fmt.Println("wanting: Landlock (Linux 5.13), without which a guard is refused: none but TestPrograms runs, unless -run names others")
		flag.Set("test.run", "^TestPrograms$") // the command line is read later, and comes first
	}
	dir, err := os.MkdirTemp("", "guard")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755) // other users run it too
	if safeexec, err = proctest.Binary(dir); err != nil {
		panic(err)
	}
	return m.Run()
}
