package behind

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/notify"
	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/spawn"
)

func TestMain(m *testing.M) {
	if _, helper := os.LookupEnv("SAFEEXEC_TEST_HELPER"); helper || os.Geteuid() == 0 { // no test here is for another user
		Register()
		proctest.Helper("outsider", outsider)
		proctest.Helper("stays", stays)
		proctest.Helper("listens", listens)
	}
	RegisterRestricted()
	proctest.Main(m)
}

const nobody = 65534

// What is left behind is guarded as ever, with every option that has something to do with the end, for root without the
// capability and for an ordinary user.
func TestGuarded(t *testing.T) {
	safeexec := proctest.NeedBinary(t, Open(t))
	for _, uid := range []int{0, nobody} {
		for _, options := range []string{
			"--supervise --guard", "--supervise --guard=flags,owner,lock,seek --forward-to-group", "--restore --guard", "--die-with-parent --supervise --guard",
			"--relay 1,2 --guard",
		} {
			t.Run(fmt.Sprintf("%d %s", uid, strings.ReplaceAll(options, "=", " ")), func(t *testing.T) {
				Guarded(t, Restricted(t, uid), safeexec, nil, true, strings.Fields(options)...)
			})
		}
	}
}

// Where nothing restricts, a process of its own guards.
func TestUnrestricted(t *testing.T) {
	proctest.NeedRoot(t)
	Guarded(t, nil, proctest.NeedBinary(t, t.TempDir()), nil, false, "--supervise", "--guard")
}

// outsider tries to take a descriptor of its parent, which isn't its descendant.
func outsider([]string) int {
	pidfd, err := unix.PidfdOpen(os.Getppid(), 0)
	if err == nil {
		_, err = unix.PidfdGetfd(pidfd, 0, 0)
	}
	fmt.Println(err)
	return 0
}

// The tests above are about something: where there is Yama, it restricts.
func TestRestricts(t *testing.T) {
	before := Restricted(t, 0)
	proctest.Environment("outsider")
	if _, err := os.Stat(yama); err != nil {
		t.Skip("Yama isn't in this kernel; the suite also runs on some that have it (make test-kernels)")
	}
	script := `SAFEEXEC_TEST_HELPER=outsider "$0"; :`
	out, err := exec.Command(before[0], append(before[1:], proctest.NeedTool(t, "sh"), "-c", script, proctest.Program(t))...).CombinedOutput()
	if string(out) != "operation not permitted\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// Behind a front everything is said, once, and ends as without.
func TestSame(t *testing.T) {
	safeexec := proctest.NeedBinary(t, t.TempDir())
	restricted := Restricted(t, 0)
	dir := t.TempDir()
	for _, words := range []string{
		"-- sh", "-- /no/such/command", "-- /etc/passwd", "--verbose -- true", "--verbose --leaks warn -- true", "--leaks error -- true",
		"--report -- true", "--report=report.json -- true", "--restore -- true", "--keep 9 -- true", "--guard=mode -- true",
		"--json-status-fd 4 -- sh", "--json-status-fd 4 -- /no/such/command", "--close 0 --private 3@append -- cat",
		"-- sh -c kill${IFS}-USR1${IFS}$$",
	} {
		t.Run(strings.ReplaceAll(words, "=", " "), func(t *testing.T) {
			run := func(before []string) string {
				command := append(slices.Clone(before), safeexec, "--supervise", "--guard")
				command = slices.Concat(command, Unheld(), strings.Fields(words))
				return outcome(t, dir, command)
			}
			want := run([]string{"env"})
			if got := run(restricted); got != want {
				t.Errorf("behind a front:\n%s\nwithout:\n%s", got, want)
			}
		})
	}
}

// outcome runs something with a file as descriptor 3 and a pipe as 4, and returns all that can be seen of it, without PIDs.
func outcome(t *testing.T, dir string, command []string) string {
	t.Helper()
	shared, err := os.Create(filepath.Join(dir, "shared"))
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Stdin, cmd.ExtraFiles = dir, strings.NewReader("exit 3\n"), []*os.File{shared, w}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	w.Close()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	lines, _ := io.ReadAll(r)
	all := fmt.Sprintf("status %d\n%s%s%s", cmd.ProcessState.ExitCode(), &stdout, &stderr, lines)
	return varies.ReplaceAllString(all, "...")
}

// varies is what differs from run to run, or with what the user may look at.
var varies = regexp.MustCompile(`pipe:\[\d+\]|inherited from .*|"child-pid":\d+`)

// stays says who it is and who its parent is, and then each signal that it gets, and what it may do to descriptor 3.
func stays([]string) int {
	got := make(chan os.Signal, 8)
	signal.Notify(got, unix.SIGTERM, unix.SIGUSR1)
	fmt.Println(os.Getpid())
	fmt.Println(os.Getppid())
	for sig := range got {
		_, err := unix.FcntlInt(3, unix.F_SETFL, unix.O_APPEND)
		fmt.Println(unix.SignalName(sig.(unix.Signal)), err)
	}
	return 0
}

// A running is a command under a supervisor, with a front before that.
type running struct {
	cmd                 *exec.Cmd
	lines               *bufio.Reader
	command, supervisor int
}

func start(t *testing.T, options ...string) *running {
	t.Helper()
	safeexec := proctest.NeedBinary(t, t.TempDir())
	shared, err := os.Create(filepath.Join(t.TempDir(), "shared"))
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	proctest.Environment("stays")
	words := slices.Concat(Restricted(t, 0), []string{safeexec, "--supervise", "--guard", "--keep", "3"}, Unheld(), options)
	words = append(words, "--", "env", "SAFEEXEC_TEST_HELPER=stays", proctest.Program(t))
	r := &running{cmd: exec.Command(words[0], words[1:]...)}
	r.cmd.ExtraFiles = []*os.File{shared}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.lines = bufio.NewReader(out)
	r.command, _ = strconv.Atoi(r.line())
	r.supervisor, _ = strconv.Atoi(r.line())
	t.Cleanup(func() {
		if r.command > 0 {
			unix.Kill(r.command, unix.SIGKILL)
		}
		r.cmd.Wait()
	})
	if r.command <= 0 || r.supervisor == r.cmd.Process.Pid {
		t.Fatalf("there is no front: command %d, supervisor %d", r.command, r.supervisor)
	}
	return r
}

// line is the next line that the command writes, or empty at the end.
func (r *running) line() string {
	line, _ := r.lines.ReadString('\n')
	return strings.TrimSuffix(line, "\n")
}

// Signals go through both.
func TestSignals(t *testing.T) {
	r := start(t)
	for _, want := range []unix.Signal{unix.SIGTERM, unix.SIGUSR1} {
		if err := unix.Kill(r.cmd.Process.Pid, want); err != nil {
			t.Fatal(err)
		}
		if got := r.line(); got != unix.SignalName(want)+" operation not permitted" {
			t.Errorf("%v: %q", want, got)
		}
	}
}

// When the front is killed, the guard holds.
func TestFrontKilled(t *testing.T) {
	r := start(t)
	r.cmd.Process.Kill()
	r.cmd.Process.Wait()
	unix.Kill(r.command, unix.SIGTERM)
	if got := r.line(); got != "SIGTERM operation not permitted" {
		t.Errorf("%q", got)
	}
}

// With --die-with-parent nobody outlives it.
func TestDieWithParent(t *testing.T) {
	r := start(t, "--die-with-parent")
	r.cmd.Process.Kill()
	if got := r.line(); got != "" { // the command had the pipe
		t.Errorf("%q", got)
	}
}

// When the supervisor is killed, guarded calls fail, and the front ends as safeexec would have.
func TestSupervisorKilled(t *testing.T) {
	r := start(t)
	unix.Kill(r.supervisor, unix.SIGKILL)
	r.cmd.Process.Wait()
	unix.Kill(r.command, unix.SIGTERM)
	if got := r.line(); got != "SIGTERM function not implemented" {
		t.Errorf("%q", got)
	}
}

// listens says whether it is meant by LISTEN_PID.
func listens([]string) int {
	fmt.Println(os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()), os.Getenv("LISTEN_FDS"))
	return 0
}

func TestListen(t *testing.T) {
	safeexec := proctest.NeedBinary(t, t.TempDir())
	proctest.Environment("listens")
	words := append(Restricted(t, 0), proctest.NeedTool(t, "sh"), "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"`, "sh",
		safeexec, "--supervise", "--guard", "--keep-listen")
	words = append(append(words, Unheld()...), "--", "env", "SAFEEXEC_TEST_HELPER=listens", proctest.Program(t))
	cmd := exec.Command(words[0], words[1:]...)
	f, err := os.Create(filepath.Join(t.TempDir(), "listening"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.ExtraFiles = []*os.File{f}
	if out, err := cmd.CombinedOutput(); string(out) != "true 1\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// What is left behind may end before the guard has begun. Then the one in front may see that this has ended before it hears with which
// status the command has.
func TestStatus(t *testing.T) {
	safeexec := proctest.NeedBinary(t, t.TempDir())
	guard, err := notify.New(nil, notify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer guard.Close()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	listener := pipe[0]
	unix.Close(pipe[1]) // so that poll(2) tells what it tells of a listener when nobody is left
	guard.Listen(listener)
	state, err := guard.HandOver()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(path, state, 0o600); err != nil {
		t.Fatal(err)
	}
	reading, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(reading)
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ends[0])
	cmd := spawn.Command(safeexec)
	cmd.Args = []string{"safeexec (guarding)"}
	cmd.Env = []string{fmt.Sprintf("SAFEEXEC_GUARD=%d %d 7", reading, ends[1])}
	for _, fd := range []int{listener, reading, ends[1]} {
		cmd.Pass = append(cmd.Pass, spawn.Descriptor{Number: fd, FD: fd})
	}
	cmd.Run()
	unix.Close(ends[1])
	said := make([]byte, 3)
	n, err := unix.Read(ends[0], said)
	if status := cmd.ProcessState.ExitCode(); status != 7 || string(said[:max(n, 0)]) != "g\x07" {
		t.Errorf("status %d, said %q, %v", status, said[:max(n, 0)], err)
	}
}

// Where nobody can look into anything there is no guard by description, and nobody is told that there is one.
func TestRefused(t *testing.T) {
	safeexec := proctest.NeedBinary(t, t.TempDir())
	before := scoped(t, 0, 2)
	for _, test := range []struct {
		words  string
		status int
		said   string
	}{
		{"--supervise --guard --keep 3 -- true", 125, "guard: kernel.yama.ptrace_scope is 2"},
		{"--report -- true", 125, "guard: kernel.yama.ptrace_scope is 2"},
		{"--supervise -- true", 0, ""},
		{"--guard --keep 3 -- true", 0, ""},
	} {
		words := strings.Fields(strings.ReplaceAll(test.words, "--guard", strings.Join(append([]string{"--guard"}, Unheld()...), " ")))
		got := outcome(t, t.TempDir(), slices.Concat(before, []string{safeexec}, words))
		if lines := strings.Count(got, "\n"); !strings.HasPrefix(got, fmt.Sprintf("status %d\n", test.status)) ||
			!strings.Contains(got, test.said) || test.said == "" && lines != 1 || lines > 2 {
			t.Errorf("%s: %s", test.words, got)
		}
	}
	if got := outcome(t, t.TempDir(), append(before, safeexec, "check", "--json")); !strings.HasPrefix(got, "status 1\n") ||
		!strings.Contains(got, `"reason": "kernel.yama.ptrace_scope is 2`) {
		t.Error(got)
	}
}

// With PID 1 everything ends: it needs no front.
func TestInit(t *testing.T) {
	safeexec := proctest.NeedBinary(t, t.TempDir())
	words := append(Restricted(t, 0), proctest.NeedTool(t, "unshare"), "--pid", "--fork", safeexec, "--supervise", "--guard")
	words = append(append(words, Unheld()...), "--", "sh", "-c", "echo $PPID")
	if got := outcome(t, t.TempDir(), words); got != "status 0\n1\n" {
		t.Error(got)
	}
}
