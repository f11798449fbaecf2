package notify

import (
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/seccomp"
)

// What was done for a caller who no longer waits is undone.
func TestUndo(t *testing.T) {
	dir := t.TempDir()
	open := func(path string, flags int) int {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	file, directory := open(dir+"/file", unix.O_RDWR|unix.O_CREAT), open(dir, unix.O_RDONLY)
	if _, err := unix.Seek(file, 3, unix.SEEK_SET); err != nil {
		t.Fatal(err)
	}
	audit := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	memory := make([]byte, 4096)
	address := uint64(uintptr(unsafe.Pointer(&memory[0])))
	for _, c := range []struct {
		name string
		fd   int
		deed deed
		call seccomp.Call
	}{
		{"lseek", file, seek, seccomp.Call{Number: unix.SYS_LSEEK, Audit: audit, Arguments: [6]uint64{0, 5, unix.SEEK_CUR}}},
		{"getdents64", directory, readDirectory, seccomp.Call{Number: unix.SYS_GETDENTS64, Audit: audit, Arguments: [6]uint64{0, address, 4096}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, _ := unix.Seek(c.fd, 0, unix.SEEK_CUR)
			j := &job{caller: caller{os.Getpid(), make(moves, 1), func() bool { return true }}, deed: c.deed, call: c.call, fd: c.fd}
			if value, errno, again := j.perform(); value == 0 || errno != 0 || again {
				t.Fatalf("%d, %v, %v", value, errno, again)
			}
			if now, _ := unix.Seek(c.fd, 0, unix.SEEK_CUR); now == before {
				t.Fatal("nothing moved")
			}
			j.undo(0)
			if now, _ := unix.Seek(c.fd, 0, unix.SEEK_CUR); now != before {
				t.Errorf("the offset was %d, and is %d", before, now)
			}
		})
	}
}

// A turn is a thread's: who holds it is told that the thread asks again, and after that comes the new question's.
func TestTurn(t *testing.T) {
	const nobody = 1 << 30 // no thread has such a number
	g := &Guard{listener: -1}
	if err := g.prepare(); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(g.stop)
	first := &question{id: 1, tid: nobody, over: make(chan struct{})}
	other, again := &question{id: 2, tid: nobody + 1}, &question{id: 3, tid: nobody}
	if !g.turn(first) || !g.turn(other) {
		t.Fatal("no turn for threads that have asked nothing else")
	}
	if g.turn(&question{id: 4, tid: nobody}) || g.turn(again) {
		t.Fatal("two turns for one thread")
	}
	select {
	case <-first.over:
	default:
		t.Error("who has the turn wasn't told")
	}
	g.learning = true // everything is permitted, by a listener that isn't there
	g.closed(first)
	g.mu.Lock()
	for g.workers > 0 {
		g.fewer.Wait()
	}
	g.mu.Unlock()
	if len(g.turns) != 1 || g.turns[nobody+1] != other {
		t.Errorf("turns are left: %v", g.turns)
	}
}
