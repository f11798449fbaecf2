package description

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// interrupted has threads do what is permitted to files of their own, while signals come to them and to the supervisor all the time.
func interrupted(args []string) int {
	rounds, _ := strconv.Atoi(args[0])
	const threads = 4
	started, stop := make(chan int, threads), make(chan struct{})
	var calling, signalling sync.WaitGroup
	var mu sync.Mutex
	wrong := map[string]int{}
	for i := range threads {
		calling.Go(func() {
			runtime.LockOSThread()
			started <- unix.Gettid()
			fd, err := unix.Open(fmt.Sprintf("%s-%d", args[1], i), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
			if err != nil {
				panic(err)
			}
			defer unix.Close(fd)
			note := func(what string, err any) {
				mu.Lock()
				wrong[fmt.Sprint(what, ": ", err)]++
				mu.Unlock()
			}
			at := int64(0)
			for range rounds {
				now, err := unix.Seek(fd, 1, io.SeekCurrent)
				if err != nil {
					note("seek", err)
				} else if now <= at { // further on isn't wrong: a signal that crosses with an answer makes the kernel ask again
					note("seek", fmt.Sprintf("from %d to %d", at, now))
				}
				at = now
				if err := ioctl(fionbio, 0)(fd); err != nil {
					note("FIONBIO", err)
				}
				if err := ofdLock(unix.F_OFD_SETLK, unix.F_WRLCK)(fd); err != nil {
					note("F_OFD_SETLK", err)
				}
			}
		})
	}
	for range threads {
		tid := <-started
		signalling.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
				unix.Kill(os.Getppid(), unix.SIGURG)
				unix.Nanosleep(&unix.Timespec{Nsec: 50_000}, nil)
			}
		})
	}
	calling.Wait()
	close(stop)
	signalling.Wait()
	if len(wrong) > 0 {
		fmt.Println(wrong)
	}
	return 0
}

// testInterrupted: a signal, to the caller or to the supervisor, has nothing refused that is permitted.
func testInterrupted(t *testing.T) {
	s := newStage(t)
	n := rounds(300)
	stdout, stderr, status := s.run(s.helper(guarded, "interrupted", strconv.Itoa(n), filepath.Join(s.dir, "own")))
	if status != 0 || strings.TrimSpace(stdout+stderr) != "" {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
	s.unchanged()
}
