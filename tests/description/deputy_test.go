package description

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

// aims has the supervisor set owners, and asks all the while whether it may send signals to one of the supervisor's threads.
func aims([]string) int {
	var pipe [2]int
	unix.Pipe(pipe[:])
	supervisor := os.Getppid()
	var over, mayKill atomic.Bool
	var aiming sync.WaitGroup
	for range 2 {
		aiming.Go(func() {
			for !over.Load() && !mayKill.Load() {
				threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", supervisor))
				for _, thread := range threads {
					tid, _ := strconv.Atoi(thread.Name())
					for range 100 {
						if unix.Tgkill(supervisor, tid, 0) == nil {
							mayKill.Store(true)
						}
					}
				}
			}
		})
	}
	for range 1500 {
		if err := fcntl(pipe[0], unix.F_SETOWN, os.Getpid()); err != nil {
			fmt.Println(err)
		}
	}
	over.Store(true)
	aiming.Wait()
	fmt.Println(mayKill.Load(), get(unix.F_GETOWN)(pipe[0]) == os.Getpid())
	return 0
}

// testAim: while the supervisor acts for another user, that user can't send signals to it.
func testAim(t *testing.T) {
	proctest.NeedRoot(t)
	setpriv := proctest.NeedTool(t, "setpriv")
	s := newStage(t)
	cmd := s.command("--supervise --guard --keep 3", setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups", proctest.Program(t))
	cmd.Env = proctest.Environment("aims")
	if stdout, stderr, status := s.run(cmd); stdout != "false true\n" || status != 0 {
		t.Errorf("status %d, %q; %s", status, stdout, stderr)
	}
	s.unchanged()
}

// testLeases: who takes a lease is told when it is broken, and nobody else.
func testLeases(t *testing.T) {
	s := newStage(t)
	script := `import fcntl, os, signal, time
signal.signal(signal.SIGIO, lambda *_: print("told", flush=True))
f = os.open("leased", os.O_RDWR | os.O_CREAT)
fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print(fcntl.fcntl(f, fcntl.F_GETOWN) == os.getpid(), flush=True)
if os.fork() == 0:
	try: os.open("leased", os.O_RDONLY | os.O_NONBLOCK)
	except OSError: pass
	os._exit(0)
os.wait()
time.sleep(0.1)
fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_UNLCK)
pipe = os.pipe()[0]
fcntl.fcntl(pipe, fcntl.F_SETFL, os.O_ASYNC)
print(fcntl.fcntl(pipe, fcntl.F_GETOWN))
def do(fd, command, argument):
	try: return fcntl.fcntl(fd, command, argument)
	except OSError as e: return os.strerror(e.errno)
print(do(f, fcntl.F_SETSIG, signal.SIGUSR1), do(f, fcntl.F_SETLEASE, fcntl.F_WRLCK), do(pipe, fcntl.F_SETSIG, signal.SIGUSR1))`
	stdout, stderr, status := s.run(s.command("--supervise --guard --keep 3", "/bin/sh", "-c", `/usr/bin/python3 -c "$0"; echo the shell lives`, script))
	want := "True\ntold\n0\n0 Operation not permitted Operation not permitted\nthe shell lives\n"
	if stdout != want || status != 0 {
		t.Errorf("status %d, %q, want %q; %s", status, stdout, want, stderr)
	}
	s.unchanged()
}

// waitsInCrowd has many threads wait for a lock.
func waitsInCrowd(args []string) int {
	var locked atomic.Int32
	var all sync.WaitGroup
	n, _ := strconv.Atoi(args[0])
	for range n {
		all.Go(func() {
			f, err := os.Open("held")
			if err != nil {
				return
			}
			defer f.Close()
			if unix.Flock(int(f.Fd()), unix.LOCK_SH) == nil {
				locked.Add(1)
			}
		})
	}
	all.Wait()
	fmt.Println(locked.Load())
	return 0
}

// testCrowdLeftBehind: any number of calls may be under way when the guard changes hands, and a service manager's signal doesn't
// end it before those that it answers for.
func testCrowdLeftBehind(t *testing.T) {
	const crowd = 900
	s := newStage(t)
	held, err := os.Create(filepath.Join(s.dir, "held"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	unix.Flock(int(held.Fd()), unix.LOCK_EX)
	cmd := s.command("--supervise --guard --keep 3", "/bin/sh", "-c",
		`(trap '' TERM; "$0" `+strconv.Itoa(crowd)+` >tried 2>&1; mv tried result) >/dev/null 2>&1 & sleep 1`, proctest.Program(t))
	cmd.Env = proctest.Environment("waits-in-crowd")
	if _, stderr, status := s.run(cmd); status != 0 || stderr != "" {
		t.Errorf("status %d, %s", status, stderr)
	}
	time.Sleep(100 * time.Millisecond)
	for _, pid := range guardProcesses(t) {
		n, _ := strconv.Atoi(pid)
		unix.Kill(n, syscall.SIGTERM)
	}
	unix.Flock(int(held.Fd()), unix.LOCK_UN)
	if result := s.await("result"); result != strconv.Itoa(crowd)+"\n" {
		t.Errorf("of %d threads that waited for a lock got it: %s", crowd, result)
	}
	s.unchanged()
}

// testLearningLeftBehind: where nothing was guarded, nothing is refused to what outlives the command either.
func testLearningLeftBehind(t *testing.T) {
	s := newStage(t)
	script := `(while [ ! -e go ]; do sleep 0.02; done
		/usr/bin/python3 -c 'import fcntl, os; print(fcntl.fcntl(3, fcntl.F_SETFL, os.O_NONBLOCK))' >tried 2>&1
		mv tried result) >/dev/null 2>&1 &`
	if _, stderr, status := s.run(s.command("--report=report --keep 3", "/bin/sh", "-c", script)); status != 0 || stderr != "" {
		t.Errorf("status %d, %s", status, stderr)
	}
	os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o666)
	if result := s.await("result"); result != "0\n" {
		t.Errorf("what was left behind saw %q", result)
	}
}
