// Package container runs the static binary as the entrypoint of containers, under the runtimes themselves: runc and crun
// with bundles that the tests make, and podman with an image that it builds. There is no registry: the root file system is
// safeexec, busybox, and a program that tells what it finds inside.
package container

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	// What the tests' own caller let leak is no part of them.
	if err := unix.CloseRange(3, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "container")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	// The containers' ordinary users have to get at their root file system.
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	scratch = dir
	return m.Run()
}

// scratch is a directory for all tests.
var scratch string

// programs is a directory with what goes into a container: safeexec, busybox and inside, all static.
func programs(t *testing.T) string {
	t.Helper()
	proctest.NeedRoot(t)
	busybox := proctest.NeedTool(t, "busybox")
	if !static(t, busybox) {
		t.Fatalf("%s wants a dynamic loader: the package is busybox-static", busybox)
	}
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var build = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(scratch, "programs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	return dir, errors.Join(
		copyFile(filepath.Join(dir, "busybox"), busybox),
		buildStatic("../..", "./cmd/safeexec", filepath.Join(dir, "safeexec")),
		buildStatic(".", "./inside", filepath.Join(dir, "inside")))
})

func buildStatic(module, name, target string) error {
	build := exec.Command("go", "build", "-trimpath", "-tags", "urfave_cli_no_docs", "-o", target, name)
	build.Dir = module
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func copyFile(target, source string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// static reports whether a program does without a dynamic loader.
func static(t *testing.T, path string) bool {
	t.Helper()
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}

// TestStatic: FROM scratch there is nothing that a dynamic binary could load.
func TestStatic(t *testing.T) {
	if path := filepath.Join(programs(t), "safeexec"); !static(t, path) {
		t.Errorf("%s wants a dynamic loader", path)
	}
}

// found is what inside printed.
type found map[string]string

func read(t *testing.T, output []byte) found {
	t.Helper()
	var f found
	if err := json.Unmarshal(output, &f); err != nil {
		t.Fatalf("%v in %q", err, output)
	}
	return f
}

// want checks one thing that inside found.
func (f found) want(t *testing.T, what, value string) {
	t.Helper()
	if got := f[what]; got != value {
		t.Errorf("%s: %q, want %q", what, got, value)
	}
}

// wantAll checks several.
func (f found) wantAll(t *testing.T, all found) {
	t.Helper()
	for what, value := range all {
		f.want(t, what, value)
	}
}
