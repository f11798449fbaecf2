package description

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

// waits locks its own file, says so, and holds the lock until its input ends.
func waits(args []string) int {
	f, err := os.OpenFile(args[0], os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("waits")
	start := time.Now()
	if len(args) > 1 {
		err = ofdLock(unix.F_OFD_SETLKW, unix.F_WRLCK)(int(f.Fd()))
	} else {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	fmt.Println(err, time.Since(start) > 100*time.Millisecond)
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// testLocks: a lock that must be waited for is got when it becomes free; a time limit by a signal works; who is killed while it waits
// gets none.
func testLocks(t *testing.T) {
	s := newStage(t)
	for _, kind := range [][]string{{}, {"range"}} {
		path := filepath.Join(s.dir, "file")
		other, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			t.Fatal(err)
		}
		lock := func() error { return unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
		unlock := func() { unix.Flock(int(other.Fd()), unix.LOCK_UN) }
		if len(kind) > 0 {
			lock = func() error { return ofdLock(unix.F_OFD_SETLK, unix.F_WRLCK)(int(other.Fd())) }
			unlock = func() { ofdLock(unix.F_OFD_SETLK, unix.F_UNLCK)(int(other.Fd())) }
		}
		if err := lock(); err != nil {
			t.Fatal(err)
		}
		cmd := s.helper("--supervise --guard --keep 3", "waits", append([]string{path}, kind...)...)
		in, _ := cmd.StdinPipe()
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		lines.ReadString('\n')
		time.Sleep(300 * time.Millisecond)
		unlock()
		if got, err := lines.ReadString('\n'); got != "<nil> true\n" {
			t.Errorf("%q, %v", got, err)
		}
		if err := lock(); err != unix.EAGAIN {
			t.Errorf("the lock that the command has: %v", err)
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if err := lock(); err != nil {
			t.Errorf("the lock that the command had: %v", err)
		}
		other.Close()
	}
	flock := proctest.NeedTool(t, "flock")
	hold, _ := os.Create(filepath.Join(s.dir, "held"))
	defer hold.Close()
	unix.Flock(int(hold.Fd()), unix.LOCK_EX)
	if _, stderr, status := s.run(s.command("--supervise --guard --keep 3", flock, "-w", "0.3", "held", "true")); status != 1 {
		t.Errorf("flock -w: status %d, %s", status, stderr)
	}
	if _, stderr, status := s.run(s.command("--supervise --guard --keep 3", "timeout", "-s", "KILL", "0.3", flock, "held", "true")); status != 128+9 {
		t.Errorf("killed: status %d, %s", status, stderr)
	}
	unix.Flock(int(hold.Fd()), unix.LOCK_UN)
	time.Sleep(100 * time.Millisecond)
	if err := unix.Flock(int(hold.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("somebody dead holds the lock: %v", err)
	}
}

// testLeftBehind: what outlives the command is guarded by a process that outlives safeexec, and ends with the last of them.
func testLeftBehind(t *testing.T) {
	s := newStage(t)
	held, _ := os.Create(filepath.Join(s.dir, "held"))
	defer held.Close()
	unix.Flock(int(held.Fd()), unix.LOCK_EX)
	script := `(
		flock held echo locked >locked 2>&1 &
		while [ ! -e go ]; do sleep 0.05; done
		/usr/bin/python3 -c '
import fcntl, os, socket
def do(fd, command, argument):
	try: return fcntl.fcntl(fd, command, argument)
	except OSError as e: return os.strerror(e.errno)
pair = socket.socketpair()
print(do(3, fcntl.F_SETFL, os.O_APPEND), do(pair[0].fileno(), fcntl.F_SETFL, os.O_NONBLOCK))
' >tried 2>&1
		wait
		mv tried result
	) >/dev/null 2>&1 &
	exit 7`
	// What is left behind waits for a file that isn't there yet: this would never return if safeexec stayed for it.
	if _, stderr, status := s.run(s.command(guarded, "/bin/sh", "-c", script)); status != 7 || stderr != "" {
		t.Errorf("status %d, %s", status, stderr)
	}
	if len(guardProcesses(t)) == 0 {
		t.Error("nobody guards what was left behind")
	}
	unix.Flock(int(held.Fd()), unix.LOCK_UN) // the lock was waited for while the guard changed hands
	os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o666)
	if got, want := s.await("result"), "Operation not permitted 0\n"; got != want {
		t.Errorf("what was left behind saw %q, want %q", got, want)
	}
	if text, _ := os.ReadFile(filepath.Join(s.dir, "locked")); string(text) != "locked\n" {
		t.Errorf("the lock that was waited for: %q", text)
	}
	for len(guardProcesses(t)) > 0 { // it ends with the last
		time.Sleep(20 * time.Millisecond)
	}
	s.unchanged()
}

// guardProcesses are the guards that outlive a safeexec.
func guardProcesses(t *testing.T) (pids []string) {
	t.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range entries {
		text, _ := os.ReadFile(name)
		if strings.TrimRight(string(text), "\x00") == "safeexec (guarding)" {
			link, _ := os.Readlink(filepath.Join(filepath.Dir(name), "exe"))
			if link == built || link == built+" (deleted)" {
				pids = append(pids, filepath.Base(filepath.Dir(name)))
			}
		}
	}
	return pids
}

// testKilled: when the supervisor is gone guarded calls fail, and nothing else does.
func testKilled(t *testing.T) {
	s := newStage(t)
	cmd := s.command(guarded, "/usr/bin/python3", "-c", `import fcntl, os, signal, time
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(0.3)
def do(fd):
	try: return fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
	except OSError as e: return os.strerror(e.errno)
print(do(3), do(os.pipe()[0]), fcntl.fcntl(3, fcntl.F_GETFL) & os.O_APPEND, flush=True)`)
	stdout, _, status := s.run(cmd)
	if want := "Function not implemented Function not implemented 0\n"; stdout != want || status != -1 {
		t.Errorf("status %d, %q, want %q", status, stdout, want)
	}
	s.unchanged()
}

// testNested: one chain of filters has one listener. A guard by number nests.
func testNested(t *testing.T) {
	s := newStage(t)
	for _, test := range []struct{ outer, want string }{
		{guarded, "pidfd_getfd"}, // which no guard lets through
		{"--report=report --keep 3", "asks a supervisor already"},
	} {
		_, stderr, status := s.run(s.command(test.outer, s.safeexec, "--supervise", "--guard", "--keep", "3", "--", "true"))
		if status != 125 || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: status %d, %q", test.outer, status, stderr)
		}
	}
	stdout, stderr, status := s.run(s.command(guarded, s.safeexec, "--guard", "--keep", "3", "--", "echo", "works"))
	if stdout != "works\n" || stderr != "" || status != 0 {
		t.Errorf("by number within: status %d, %q, %q", status, stdout, stderr)
	}
}

// testRefused: what can't be guarded so is refused before anything is started.
func testRefused(t *testing.T) {
	s := newStage(t)
	for _, test := range []struct{ options, want string }{
		{"--supervise --guard=offset --keep 3", "descriptor 3: offset can't be guarded by description"},
		{"--supervise --guard=flags,mode --keep 3", "mode can't be guarded by description"},
		{"--report=/no/such/directory/file", "--report: open /no/such/directory/file: no such file or directory"},
	} {
		stdout, stderr, status := s.run(s.command(test.options, "echo", "started"))
		if status != 125 || stdout != "" || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: status %d, %q, %q", test.options, status, stdout, stderr)
		}
	}
}

// testEnd: the other side of a pipe that is guarded by description sees its end while the supervisor lives.
func testEnd(t *testing.T) {
	s := newStage(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := s.command("--supervise --guard --guard-reopen never --keep 3", "/bin/sh", "-c", "exec >/dev/null 3<&-; read x")
	in, _ := cmd.StdinPipe()
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, r)
		ended <- err
	}()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the pipe's end isn't seen")
	}
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("safeexec is gone: %v", err)
	}
	in.Close()
	cmd.Wait()
}

// testReport: what was done is told, in text and in JSON, and what would keep it off.
func testReport(t *testing.T) {
	s := newStage(t)
	script := `import fcntl, os
for i in range(2): fcntl.fcntl(3, fcntl.F_SETFL, os.O_APPEND)
fcntl.fcntl(3, fcntl.F_SETFL, 0)
os.lseek(3, 0, 0)`
	_, stderr, status := s.run(s.command("--report --keep 3", "/usr/bin/python3", "-c", script))
	for _, want := range []string{
		"safeexec: report: descriptor 3 (file " + s.dir + "/shared): offset moved from 5 to 0\n",
		" (python3): fcntl(3, F_SETFL, 1024) on the description of 3: carried out, 2 times\n",
		" (python3): fcntl(3, F_SETFL, 0) on the description of 3: carried out\n",
		"safeexec: report: this would keep it off: --guard=flags,seek\n",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("status %d: no %q in\n%s", status, want, stderr)
		}
	}
	s.shared.Seek(5, 0)
	file := filepath.Join(s.dir, "report.json")
	_, stderr, status = s.run(s.command(guarded+" --report="+file, "/usr/bin/python3", "-c",
		strings.ReplaceAll(script, "fcntl.fcntl(", "pass; (lambda *a: None)(")+"\n"))
	if status == 0 || !strings.Contains(stderr, "PermissionError") { // lseek was refused
		t.Errorf("status %d, %s", status, stderr)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Command  []string
		ExitCode int `json:"exit_code"`
		Attempts []struct {
			Call, Result string
			Operations   []string
			Count        int
		}
		Advice *string
	}
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if len(report.Attempts) != 1 || report.Attempts[0].Call != "lseek(3, 0, SEEK_SET)" ||
		report.Attempts[0].Result != "refused with EPERM" || report.ExitCode != status || report.Advice != nil {
		t.Errorf("status %d, %s", status, text)
	}
	s.unchanged()
	if _, stderr, _ := s.run(s.command("--report --keep 3", "true")); strings.Contains(stderr, "keep it off") {
		t.Errorf("advice without need: %s", stderr)
	}
}
