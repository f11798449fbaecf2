package guest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/safeexec/safeexec/seccomp"
)

// A program is what a job of ../guard/programs uses.
type program struct {
	job     string
	clients bool // some of its processes connect to the UNIX socket of another, and are tried under the same guard too
	apart   bool // the job itself gives them guards of their own
}

var allPrograms = []program{{job: "redis", clients: true}, {job: "postgres"}, {job: "python-asyncio"}, {job: "tmux", clients: true, apart: true}}

// programs are those that are here: SAFEEXEC_PROGRAMS names what a guest has, which may be nothing. Elsewhere it is one that every machine
// with tests has; make test-guard runs all on the machine's own kernel.
func programs(t *testing.T) (here []program) {
	t.Helper()
	names, named := os.LookupEnv("SAFEEXEC_PROGRAMS")
	if !named {
		names = "python-asyncio"
	}
	for name := range strings.FieldsSeq(names) {
		i := slices.IndexFunc(allPrograms, func(p program) bool { return p.job == name })
		if i < 0 {
			t.Fatalf("SAFEEXEC_PROGRAMS: no job is called %q", name)
		}
		here = append(here, allPrograms[i])
	}
	return here
}

// TestPrograms: real programs work under a supervised guard of a file. Where Landlock confines named UNIX sockets they need no more than a
// guard in common, and elsewhere that sockets may lead anywhere.
func TestPrograms(t *testing.T) {
	guard := append([]string{binary(t), "--supervise"}, guarding()...)
	anywhere, allowed := slices.Concat(guard, []string{"--fd-passing", "allow", "--"}), "works with --fd-passing allow"
	guard = append(guard, "--")
	confined := seccomp.LandlockABI() >= 9
	for _, p := range programs(t) {
		t.Run(p.job, func(t *testing.T) {
			mustWork(t, p.job, nil, nil)
			switch {
			case !confined:
				mustWork(t, p.job, nil, anywhere)
				tell(t, allowed)
			case p.apart:
				if err := script(t, p.job, nil, guard); err == nil || !strings.Contains(err.Error(), "Permission denied") {
					t.Fatalf("a socket of another guard: %v, want that it is refused", err)
				}
				mustWork(t, p.job, nil, anywhere)
				tell(t, "refused: another guard's socket; "+allowed)
			default:
				mustWork(t, p.job, nil, guard)
				tell(t, "works")
			}
		})
		if !p.clients {
			continue
		}
		t.Run(p.job+", all of it under one guard", func(t *testing.T) {
			front, how := guard, "works"
			if !confined {
				front, how = anywhere, allowed
			}
			mustWork(t, p.job, front, nil)
			tell(t, how)
		})
	}
}

func mustWork(t *testing.T, name string, before, arguments []string) {
	t.Helper()
	if err := script(t, name, before, arguments); err != nil {
		t.Fatal(err)
	}
}

// script runs a job in a directory of its own, with a file as 3, behind the words that are to be before it. Its arguments are what it
// puts before its program.
func script(t *testing.T, name string, before, arguments []string) error {
	t.Helper()
	scripts, err := filepath.Abs("../guard/programs")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "p") // short: a socket's address holds 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // a server may run as somebody else
		t.Fatal(err)
	}
	kept, err := os.Create(filepath.Join(dir, "kept"))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	words := slices.Concat(before, []string{"bash", "-e", filepath.Join(scripts, name+".sh")}, arguments)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SHLVL=9", "PORT="+freePort(t), "PROGRAMS="+scripts)
	cmd.Stdin = strings.NewReader("") // a pipe, as 1 and 2 are
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.ExtraFiles = []*os.File{kept}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, said.String())
	}
	return nil
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}
