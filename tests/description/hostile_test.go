package description

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

// rounds is how often a race is run: make soak asks for fifty times as many.
func rounds(n int) int {
	if times, err := strconv.Atoi(os.Getenv("SAFEEXEC_ROUNDS")); err == nil {
		return n * times
	}
	return n
}

// swaps puts the guarded description and one of its own under the same number in turns, while other threads change the flags
// of what is there.
func swaps(args []string) int {
	rounds, _ := strconv.Atoi(args[0])
	own, err := os.OpenFile(args[1], os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	const number = 40
	unix.Dup2(int(own.Fd()), number)
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	for range 2 {
		swapping.Go(func() {
			runtime.LockOSThread()
			for {
				select {
				case <-stop:
					return
				default:
				}
				unix.Dup2(3, number)
				unix.Dup2(int(own.Fd()), number)
			}
		})
	}
	var mu sync.Mutex
	answers := map[string]int{}
	var calling sync.WaitGroup
	for range 4 {
		calling.Go(func() {
			for i := range rounds / 4 {
				var err error
				switch i % 4 {
				case 0:
					err = fcntl(number, unix.F_SETFL, unix.O_APPEND)
				case 1:
					err = ioctl(fionbio, 1)(number)
				case 2:
					err = unix.Flock(number, unix.LOCK_SH|unix.LOCK_NB)
				case 3:
					err = fcntl(number, unix.F_SETOWN, os.Getpid())
				}
				mu.Lock()
				answers[fmt.Sprint(err)]++
				mu.Unlock()
			}
		})
	}
	calling.Wait()
	close(stop)
	swapping.Wait()
	fmt.Println(len(answers) == 2 && answers["<nil>"] > 0 && answers["operation not permitted"] > 0, answers)
	return 0
}

func testSwaps(t *testing.T) {
	s := newStage(t)
	n := rounds(20_000)
	stdout, stderr, status := s.run(s.helper("--supervise --guard --keep 3", "swaps", strconv.Itoa(n), s.dir+"/own"))
	if !strings.HasPrefix(stdout, "true") || stderr != "" || status != 0 {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
	t.Logf("%d rounds: %s", n, stdout)
	s.unchanged()
}

// storm starts processes that call and are killed in the middle of it, as its arguments say how many.
func storm(args []string) int {
	if len(args) == 2 {
		for {
			fcntl(3, unix.F_SETFL, unix.O_APPEND)
			unix.Flock(4, unix.LOCK_EX) // 4 is locked by the test: this waits
		}
	}
	n, _ := strconv.Atoi(args[0])
	for range n / 10 {
		var children []*exec.Cmd
		for range 10 {
			cmd := exec.Command("/proc/self/exe", "one", "caller")
			cmd.Env = append(os.Environ(), "SAFEEXEC_TEST_HELPER=storm")
			cmd.ExtraFiles = []*os.File{os.NewFile(3, "shared"), os.NewFile(4, "locked")}
			if err := cmd.Start(); err != nil {
				fmt.Println(err)
				return 1
			}
			children = append(children, cmd)
		}
		time.Sleep(20 * time.Millisecond)
		for _, cmd := range children {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	fmt.Println("done")
	bufio.NewReader(os.Stdin).ReadString('\n')
	return 0
}

// testStorm: callers that die in the middle of a call leave nothing behind in the supervisor, and the lock that they waited for
// isn't held.
func testStorm(t *testing.T) {
	s := newStage(t)
	path := filepath.Join(s.dir, "locked")
	locked, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer locked.Close()
	if err := unix.Flock(int(locked.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	cmd := s.command("--supervise --guard --keep 3", "/bin/sh", "-c", `exec 4<locked; exec "$0" "$@"`, proctest.Program(t), strconv.Itoa(rounds(100)))
	cmd.Env = proctest.Environment("storm")
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "done\n" {
		t.Fatalf("%q, %v", line, err)
	}
	// What is open in the supervisor: its own, and at most what the last dying call still holds.
	deadline := time.Now().Add(10 * time.Second)
	open := 0
	for {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if open = len(entries); open < 20 || time.Now().After(deadline) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if open >= 20 {
		t.Errorf("the supervisor has %d descriptors open", open)
	}
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", cmd.Process.Pid))
	t.Logf("descriptors %d, threads %d", open, len(threads))
	if len(threads) > 100 {
		t.Errorf("the supervisor has %d threads", len(threads))
	}
	unix.Flock(int(locked.Fd()), unix.LOCK_UN)
	time.Sleep(100 * time.Millisecond) // as long as a waiter might take it
	if err := unix.Flock(int(locked.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("somebody dead holds the lock: %v", err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	s.unchanged()
}

// ownTable has a thread with a table of its own, where the guarded description has another number, and the number of the
// guarded one in the process's table is its own file.
func ownTable(args []string) int {
	own, err := os.OpenFile(args[0], os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	unix.Dup2(int(own.Fd()), 40)
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_FILES); err != nil {
			fmt.Println(err)
		}
		unix.Dup2(3, 40)
		unix.Dup2(int(own.Fd()), 3)
		fmt.Println("thread:", fcntl(40, unix.F_SETFL, unix.O_APPEND), fcntl(3, unix.F_SETFL, unix.O_APPEND))
		close(done)
		select {}
	}()
	<-done
	fmt.Println("process:", fcntl(40, unix.F_SETFL, unix.O_APPEND), fcntl(3, unix.F_SETFL, unix.O_APPEND))
	return 0
}

func testOwnTable(t *testing.T) {
	s := newStage(t)
	stdout, stderr, status := s.run(s.helper(guarded, "own-table", s.dir+"/own"))
	want := "thread: operation not permitted <nil>\nprocess: <nil> operation not permitted\n"
	if stdout != want || status != 0 {
		t.Errorf("status %d, %q, want %q; %s", status, stdout, want, stderr)
	}
	s.unchanged()
}

// slowMemory makes calls whose argument lies in memory that is never there: whoever reads it waits for ever. Others must be
// served all the same.
func slowMemory([]string) int {
	uffd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		fmt.Println("userfaultfd:", errno)
		return 1
	}
	api := struct{ api, features, ioctls uint64 }{api: 0xaa}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uffd, 0xc018aa3f, uintptr(unsafe.Pointer(&api))); errno != 0 {
		fmt.Println("UFFDIO_API:", errno)
		return 1
	}
	page, _, errno := unix.Syscall6(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uintptr(0), 0)
	if errno != 0 {
		fmt.Println("mmap:", errno)
		return 1
	}
	register := struct{ start, length, mode, ioctls uint64 }{start: uint64(page), length: 4096, mode: 1}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uffd, 0xc020aa00, uintptr(unsafe.Pointer(&register))); errno != 0 {
		fmt.Println("UFFDIO_REGISTER:", errno)
		return 1
	}
	var pipe [2]int
	unix.Pipe(pipe[:])
	for range 100 {
		go func() {
			runtime.LockOSThread()
			unix.Syscall(unix.SYS_IOCTL, uintptr(pipe[0]), fionbio, page)
		}()
	}
	time.Sleep(200 * time.Millisecond)
	fmt.Println(fcntl(pipe[0], unix.F_SETFL, unix.O_NONBLOCK), flag(unix.O_NONBLOCK)(pipe[0]), fcntl(3, unix.F_SETFL, 0))
	return 0
}

func testSlowMemory(t *testing.T) {
	proctest.NeedRoot(t) // for userfaultfd, as most systems have it
	s := newStage(t)
	stdout, stderr, status := s.run(s.helper(guarded, "slow-memory"))
	if want := "<nil> <nil> true operation not permitted\n"; stdout != want || status != 0 {
		t.Errorf("status %d, %q, want %q; %s", status, stdout, want, stderr)
	}
	s.unchanged()
}

// testNamespaces: callers in other user and PID namespaces are looked at like any other.
func testNamespaces(t *testing.T) {
	s := newStage(t)
	script := `import fcntl, os, socket
def do(fd, command, argument):
	try: return fcntl.fcntl(fd, command, argument)
	except OSError as e: return os.strerror(e.errno)
pair = socket.socketpair()
own = pair[0].fileno()
print(os.getpid() < 10, do(3, fcntl.F_SETFL, os.O_APPEND), do(own, fcntl.F_SETFL, os.O_NONBLOCK))
print(do(own, fcntl.F_SETOWN, os.getpid()), do(own, fcntl.F_GETOWN, 0) == os.getpid())`
	unshare := proctest.NeedTool(t, "unshare")
	stdout, stderr, status := s.run(s.command(guarded, unshare, "-Urpf", "/usr/bin/python3", "-c", script))
	if want := "True Operation not permitted 0\n0 True\n"; stdout != want || status != 0 {
		t.Errorf("status %d, %q, want %q; %s", status, stdout, want, stderr)
	}
	s.unchanged()
}
