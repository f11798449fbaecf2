package spawn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/safeexec/safeexec/spawn"
)

// soakVariable says how many starts TestSoak makes; without it there are a few.
const soakVariable = "SAFEEXEC_SOAK"

// TestSoak starts from eight goroutines, with cancellations, failing execs and a collector that never rests, and looks
// whether anything is left behind.
func TestSoak(t *testing.T) {
	starts := int64(2000)
	if text := os.Getenv(soakVariable); text != "" {
		fmt.Sscan(text, &starts)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	ways := soakWays(t)
	soak(t, ways, max(starts/10, 500)) // until pools, threads and the heap have their size
	before := take(t)
	soak(t, ways, starts)
	after := take(t)
	t.Logf("%d starts: %v, then %v", starts, before, after)

	if !slices.Equal(before.descriptors, after.descriptors) {
		t.Errorf("descriptors: %v, then %v", before.descriptors, after.descriptors)
	}
	if after.goroutines > before.goroutines {
		t.Errorf("goroutines: %d, then %d", before.goroutines, after.goroutines)
	}
	if after.threads > before.threads+8 {
		t.Errorf("threads: %d, then %d", before.threads, after.threads)
	}
	if after.heap > before.heap+1<<20 || after.resident > before.resident*5/4+8<<20 {
		t.Errorf("memory: %v, then %v", before, after)
	}
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("a child was left: %d, %v", pid, err)
	}
}

func soak(t *testing.T, ways []func() error, starts int64) {
	t.Helper()
	var all, collector sync.WaitGroup
	var begun atomic.Int64
	over := make(chan struct{})
	collector.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				runtime.GC()
			}
		}
	})
	for range 8 {
		all.Go(func() {
			for n := begun.Add(1); n <= starts; n = begun.Add(1) {
				if err := ways[n%int64(len(ways))](); err != nil {
					t.Errorf("start %d: %v", n, err)
				}
			}
		})
	}
	all.Wait()
	close(over)
	collector.Wait()
}

// soakWays are the ways to start something, each of which returns what shouldn't have happened.
func soakWays(t *testing.T) []func() error {
	t.Helper()
	program, sleeper := tiny(t), tinySleep(t)
	file, err := os.CreateTemp(t.TempDir(), "file")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	r, w := pipe(t)
	return []func() error{
		func() error { return spawn.Command(program).Run() },
		func() error {
			out, err := spawn.Command(program).CombinedOutput()
			if len(out) > 0 {
				return fmt.Errorf("%q", out)
			}
			return err
		},
		func() error {
			cmd := spawn.Command(program)
			cmd.Stdin = strings.NewReader("text")
			cmd.Stdout, cmd.Stderr = r, w
			return cmd.Run()
		},
		func() error {
			cmd := spawn.Command(program)
			cmd.Pass = []spawn.Descriptor{
				{Number: 9, File: file, Mode: spawn.Private, Writing: 1},
				{Number: 5, File: r},
				{Number: 3, File: file},
			}
			return cmd.Run()
		},
		func() error { return unless(fs.ErrNotExist, spawn.Command("/no/such/program").Run()) },
		func() error {
			cmd := spawn.Command(program)
			cmd.Dir = filepath.Join(program, "no-directory")
			cmd.Stdout = io.Discard
			return unless(syscall.ENOTDIR, cmd.Run())
		},
		func() error {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			cmd := spawn.CommandContext(ctx, sleeper)
			cmd.Stdout = io.Discard
			if err := cmd.Start(); err != nil {
				return err
			}
			cancel()
			var exit *spawn.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() {
				return fmt.Errorf("cancelled: %w", err)
			}
			return nil
		},
		func() error {
			cmd := spawn.Command(program)
			in, err := cmd.StdinPipe()
			if err != nil {
				return err
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				return err
			}
			if err := cmd.Start(); err != nil {
				return err
			}
			in.Close()
			io.Copy(io.Discard, out)
			return cmd.Wait()
		},
	}
}

// unless is nil for an error that was to be expected.
func unless(expected, err error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return fmt.Errorf("not %w but %w", expected, err)
}

// A stock is what a process can leave behind.
type stock struct {
	descriptors         []string
	goroutines, threads int
	heap, resident      uint64
}

func (s stock) String() string {
	return fmt.Sprintf("%d descriptors, %d goroutines, %d threads, %d KiB of heap, %d KiB resident",
		len(s.descriptors), s.goroutines, s.threads, s.heap>>10, s.resident>>10)
}

func take(t *testing.T) (s stock) {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory() // runs finalizers, too
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, resident uint64
	fmt.Sscan(string(statm), &size, &resident)
	return stock{open(t), runtime.NumGoroutine(), len(threads), memory.HeapAlloc, resident * uint64(os.Getpagesize())}
}
