package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/tests/behind"
)

func TestMain(m *testing.M) {
	proctest.Helper("sockets", helpSockets)
	proctest.Helper("clients", helpClients)
	proctest.Helper("files", helpFiles)
	proctest.Helper("mount", helpMount)
	proctest.Helper("escapes", helpEscapes)
	proctest.Helper("starts", helpStarts)
	proctest.Helper("reader", helpReader)
	if _, helper := os.LookupEnv("SAFEEXEC_TEST_HELPER"); helper {
		proctest.Main(m)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	scratch = dir
	return m.Run()
}

// found is what a helper saw: for each thing that it tried, ok or the error's name.
type found map[string]string

// try notes the outcome of one attempt.
func (f found) try(what string, err error) {
	var errno unix.Errno
	switch {
	case err == nil:
		f[what] = "ok"
	case errors.As(err, &errno):
		f[what] = unix.ErrnoName(errno)
	default:
		f[what] = err.Error()
	}
}

func (f found) print() int {
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		return 1
	}
	return 0
}

// binary is the command, built once where SAFEEXEC_BINARY names none.
func binary(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var build = sync.OnceValues(func() (string, error) { return proctest.Binary(scratch) })

// scratch is a directory for all tests.
var scratch string

// under returns a command that runs a helper under safeexec with the options, and with a regular file as descriptor 3.
func under(t *testing.T, safeexec string, options []string, helper string, args ...string) *exec.Cmd {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "shared"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	words := slices.Concat(options, []string{"--", proctest.Program(t)}, args)
	cmd := exec.Command(safeexec, words...)
	cmd.Env = proctest.Environment(helper)
	cmd.ExtraFiles = []*os.File{file}
	return cmd
}

// ask runs the command and reads what the helper found.
func ask(t *testing.T, cmd *exec.Cmd) found {
	t.Helper()
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, said.String())
	}
	var f found
	if err := json.Unmarshal(out, &f); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return f
}

// guarding are the options for a guard. Without Landlock there is none against stealing, and that has to be said.
func guarding(options ...string) []string {
	return slices.Concat([]string{"--guard", "--keep", "3"}, options, behind.Unheld())
}

// An expectation says what a thing must come to here, and in words what that means.
type expectation struct{ what, want, how string }

// hold checks expectations, each as a test of its own.
func (f found) hold(t *testing.T, all []expectation) {
	for _, e := range all {
		t.Run(e.what, func(t *testing.T) {
			if got := f[e.what]; got != e.want {
				t.Fatalf("%q, want %q", got, e.want)
			}
			tell(t, e.how)
		})
	}
	if len(f) != len(all) {
		t.Errorf("tried %d things, expected %d: %v", len(f), len(all), f)
	}
}

// tell puts how something passed into the results.
func tell(t *testing.T, how string) {
	t.Helper()
	t.Attr("how", how)
}

func refusedWith(errno string) string { return fmt.Sprintf("refused: %s", errno) }

func sortExpectations(all []expectation) {
	slices.SortFunc(all, func(a, b expectation) int { return strings.Compare(a.what, b.what) })
}
