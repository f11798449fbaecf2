package spawn_test

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/spawn"
)

// startChild runs a helper with its output in a pipe, and returns what it wrote and its PID.
func startChild(t *testing.T, attr *spawn.ChildAttr, env []string, args ...string) (out string, pid int) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	attr.Pass = append(attr.Pass, spawn.Descriptor{Number: 1, File: w})
	child, err := spawn.StartChild(args[0], args, env, attr)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	pid = child.PID
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || status != 0 {
		t.Errorf("wait: %v, status %#x", err, status)
	}
	return strings.TrimSpace(string(text)), pid
}

func TestStartChild(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	attr := &spawn.ChildAttr{Terminal: -1}
	attr.Pass = []spawn.Descriptor{{Number: 0, File: null}, {Number: 9, File: null}, {Number: 2, FD: spawn.DevNull}}
	out, _ := startChild(t, attr, proctest.Environment("table"), proctest.Program(t))
	if want := "0:/dev/null,r 1:pipe,w,nonblock 2:/dev/null,w 9:/dev/null,r"; out != want {
		t.Errorf("the child has %q, want %q", out, want)
	}
}

func TestStartChildGroup(t *testing.T) {
	attr := &spawn.ChildAttr{Group: true, Terminal: -1, OwnPID: "MINE"}
	env := []string{"PATH=" + os.Getenv("PATH"), "OTHER=MINE=", "MINE=will be replaced", "LAST=1"}
	script := "echo $$ $MINE $(cut -d' ' -f5 /proc/$$/stat) $OTHER $LAST"
	out, pid := startChild(t, attr, env, "/bin/sh", "-c", script)
	if want := fmt.Sprintf("%d %d %d MINE= 1", pid, pid, pid); strings.Join(strings.Fields(out), " ") != want {
		t.Errorf("the child says %q, want %q", out, want)
	}
}

func TestStartChildRefused(t *testing.T) {
	_, err := spawn.StartChild("/nonexistent", []string{"x"}, nil, &spawn.ChildAttr{Terminal: -1})
	var refused *spawn.StartError
	if !asStart(err, &refused) || refused.Stage != "execute" || refused.Err != unix.ENOENT {
		t.Errorf("got %v", err)
	}
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("something is left of it: %d, %v", pid, err)
	}
}

func asStart(err error, target **spawn.StartError) bool {
	e, ok := err.(*spawn.StartError)
	*target = e
	return ok
}
