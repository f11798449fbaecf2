package forkexec

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Helper("exec", func(args []string) int {
		err := Exec(&Attr{Path: args[0], Argv: args, Env: os.Environ(), Moves: []fdtable.Move{{From: 0, To: 0}, {From: 1, To: 1}, {From: 2, To: 2}}})
		fmt.Println("failed:", err)
		return 9
	})
	proctest.Main(m)
}

func TestExec(t *testing.T) {
	out, err := proctest.Command(t, "exec", "/bin/sh", "-c", "ls -l /proc/self/fd; grep -E 'Sig|FDSize' /proc/self/status; ulimit -n; echo $$ $PPID").CombinedOutput()
	t.Logf("%s %v %d", out, err, os.Getpid())
	out, err = proctest.Command(t, "exec", "/nope").CombinedOutput()
	t.Logf("%s %v", out, err)
}

func TestStart(t *testing.T) {
	r, w, _ := os.Pipe()
	_, _ = r, w
	pid, err := Start(&Attr{Path: "/bin/sh", Argv: []string{"sh", "-c", "ls -l /proc/self/fd; grep -E 'Sig|FDSize' /proc/self/status; ulimit -n"}, Moves: []fdtable.Move{{From: -1, To: 0}, {From: int(w.Fd()), To: 1}, {From: 2, To: 2}}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var ws syscall.WaitStatus
	syscall.Wait4(pid, &ws, 0, nil)
	b := make([]byte, 10000)
	n, _ := r.Read(b)
	t.Log(string(b[:n]), ws)
	_, err = Start(&Attr{Path: "/nope", Moves: []fdtable.Move{{From: -1, To: 0}}})
	t.Log(err)
	if !strings.Contains(err.Error(), "no such") {
		t.Fatal(err)
	}
}
