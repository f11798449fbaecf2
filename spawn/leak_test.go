package spawn_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHostileParent: C code and other threads open descriptors without close-on-exec while children are started. Each child
// tells its whole table. os/exec must leak here, or else the test would show nothing.
func TestHostileParent(t *testing.T) {
	stop := litter(t)
	defer stop()
	const enough = 5000
	if leaked, starts := spawnAll(t, osExec, enough, true); leaked == 0 {
		t.Errorf("os/exec leaked nothing in %d starts: the test is no test", starts)
	}
	if leaked, starts := spawnAll(t, ours, 150, false); leaked > 0 {
		t.Errorf("%d of %d children have descriptors that nobody gave them", leaked, starts)
	}
}

// litter opens and closes descriptors by raw calls until stop is called.
func litter(t *testing.T) (stop func()) {
	t.Helper()
	var over atomic.Bool
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for !over.Load() {
				var ends [2]int
				if unix.Pipe2(ends[:], 0) != nil {
					continue
				}
				fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
				time.Sleep(20 * time.Microsecond)
				unix.Close(ends[0])
				unix.Close(ends[1])
				if err == nil {
					unix.Close(fd)
				}
			}
		})
	}
	return func() {
		over.Store(true)
		all.Wait()
	}
}

// spawnAll starts children from four goroutines, and counts those that hold more than they were given.
func spawnAll(t *testing.T, l library, starts int64, first bool) (leaked, done int64) {
	t.Helper()
	var all sync.WaitGroup
	var begun, bad atomic.Int64
	for range 4 {
		all.Go(func() {
			for begun.Add(1) <= starts && !(first && bad.Load() > 0) {
				out, err := l.command("/bin/ls", "/proc/self/fd").Output()
				if err != nil {
					t.Error(err)
					return
				}
				// The fourth is the directory that ls has opened itself.
				if table := strings.Join(strings.Fields(string(out)), " "); table != "0 1 2 3" {
					bad.Add(1)
				}
			}
		})
	}
	all.Wait()
	return bad.Load(), begun.Load() - 4
}
