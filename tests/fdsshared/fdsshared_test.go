// Package fdsshared has "safeexec fds --shared" find what it has built itself: processes whose descriptors share descriptions
// in a way that is known to the last one.
package fdsshared

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Helper("hold", hold)
	proctest.Helper("churn", churn)
	proctest.Helper("forbidden", forbidden)
	proctest.Main(m)
}

// hold keeps what it got until the end of its standard input.
func hold([]string) int {
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// churn starts processes that end at once, until the end of its standard input.
func churn([]string) int {
	end := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(end)
	}()
	fmt.Println("ready")
	for {
		select {
		case <-end:
			return 0
		default:
			if err := exec.Command("true").Run(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
	}
}

// forbidden becomes a command that may neither compare descriptors of processes nor borrow them, as in many a container.
func forbidden(args []string) int {
	runtime.LockOSThread()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_KCMP, Jt: 1},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_PIDFD_GETFD, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	}
	if err == nil {
		err = unix.Exec(args[0], args, os.Environ())
	}
	fmt.Fprintln(os.Stderr, err)
	return 125
}

// found is what the JSON says, as far as it is looked at here.
type found struct {
	Descriptions []struct {
		Holders []reference
		Kind    string
		Owner   *struct {
			Type   string
			ID     int
			Signal string
		}
	}
	Unknown []struct {
		reference
		Reason string
	}
	Processes []struct {
		PID         int
		Descriptors *int
		Error       string
	}
}

type reference struct {
	PID    int
	Number int
	Closed bool `json:"close_on_exec"`
}

func (r reference) String() string { return fmt.Sprintf("%d.%d", r.PID, r.Number) }

// groups are the holders of each description, each group and all of them in order.
func (f found) groups() []string {
	var groups []string
	for _, d := range f.Descriptions {
		groups = append(groups, group(d.Holders))
	}
	slices.Sort(groups)
	return groups
}

func group(holders []reference) string {
	var names []string
	for _, h := range holders {
		names = append(names, h.String())
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func run(t *testing.T, argv ...string) found {
	t.Helper()
	var f found
	if err := json.Unmarshal(output(t, exec.Command(argv[0], argv[1:]...)), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func output(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.Bytes())
	}
	return out
}

// start starts a helper with descriptors from 3 on, and returns when it is ready.
func start(t *testing.T, helper string, extra ...*os.File) *exec.Cmd {
	t.Helper()
	// What the tests themselves were started with may have leaked: it would be shared by all.
	for n := 3; n < 1024; n++ { // close_range marks from Linux 5.11 on only
		_, _ = unix.FcntlInt(uintptr(n), unix.F_SETFD, unix.FD_CLOEXEC)
	}
	cmd := proctest.Command(t, helper)
	cmd.ExtraFiles, cmd.Stderr = extra, os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open makes n descriptions of all kinds. Of each kind there are many that only a comparison can tell apart: the same file,
// the same device, the same anonymous inode.
func open(t *testing.T, n int) []*os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	var files []*os.File
	add := func(fd int, err error) {
		must(t, err)
		f := os.NewFile(uintptr(fd), "description "+strconv.Itoa(len(files)))
		t.Cleanup(func() { f.Close() })
		files = append(files, f)
	}
	for len(files) < n {
		add(unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600))
		add(unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0))
		add(unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0))
		add(unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0))
		add(unix.Open(filepath.Dir(path), unix.O_DIRECTORY|unix.O_CLOEXEC, 0))
		add(unix.Eventfd(0, unix.EFD_CLOEXEC))
		add(unix.EpollCreate1(unix.EPOLL_CLOEXEC))
		add(unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC))
		add(unix.MemfdCreate("memory", unix.MFD_CLOEXEC))
		var ends [2]int
		must(t, unix.Pipe2(ends[:], unix.O_CLOEXEC))
		add(ends[0], nil)
		add(ends[1], nil)
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		add(pair[0], err)
		add(pair[1], err)
		add(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
	}
	return files[:n]
}

// A world is processes with descriptors, and who holds which description.
type world struct {
	files   []*os.File
	pids    []int
	holders [][]reference // of each file, without this process
	stderr  []reference   // all have this one
}

// build lets processes hold descriptions: each description has a few holders, or one, or none, and a process may hold one twice.
func build(t *testing.T, descriptions, processes int) *world {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SAFEEXEC_TEST_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		must(t, err)
	}
	t.Logf("SAFEEXEC_TEST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	w := &world{files: open(t, descriptions), holders: make([][]reference, descriptions)}
	tables := make([][]int, processes) // the descriptions of each
	for d := range descriptions {
		for range random.IntN(6) {
			p := random.IntN(processes)
			tables[p] = append(tables[p], d)
		}
	}
	for _, table := range tables {
		random.Shuffle(len(table), func(i, j int) { table[i], table[j] = table[j], table[i] })
		var extra []*os.File
		for _, d := range table {
			extra = append(extra, w.files[d])
		}
		pid := start(t, "hold", extra...).Process.Pid
		w.pids = append(w.pids, pid)
		w.stderr = append(w.stderr, reference{PID: pid, Number: 2})
		for i, d := range table {
			w.holders[d] = append(w.holders[d], reference{PID: pid, Number: 3 + i})
		}
	}
	return w
}

func (w *world) arguments() []string {
	var args []string
	for _, pid := range w.pids {
		args = append(args, "--pid", strconv.Itoa(pid))
	}
	return args
}

// groups are the descriptions that several descriptors of the processes refer to.
func (w *world) groups() []string {
	groups := []string{group(w.stderr)}
	for _, holders := range w.holders {
		if len(holders) > 1 {
			groups = append(groups, group(holders))
		}
	}
	slices.Sort(groups)
	return groups
}

func (w *world) own(d int) reference {
	connection, _ := w.files[d].SyscallConn()
	own := reference{PID: os.Getpid()}
	_ = connection.Control(func(fd uintptr) { own.Number = int(fd) })
	return own
}

// 50 processes and 500 descriptions: every description with several holders is found with all of them, and no other.
func TestNoneIsMissed(t *testing.T) {
	safeexec := proctest.NeedBinary(t, t.TempDir())
	w := build(t, 500, 50)
	f := run(t, append([]string{safeexec, "fds", "--shared", "--json"}, w.arguments()...)...)
	if got, want := f.groups(), w.groups(); !slices.Equal(got, want) {
		t.Errorf("got %d groups, want %d:\n%s\nwant\n%s", len(got), len(want), strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(f.Unknown) > 0 || len(f.Processes) != len(w.pids) {
		t.Errorf("unknown: %v, %d processes", f.Unknown, len(f.Processes))
	}
}

// The same by the tree below this process, which holds every description too: what has a holder is shared.
func TestTree(t *testing.T) {
	safeexec := proctest.NeedBinary(t, t.TempDir())
	w := build(t, 150, 20)
	f := run(t, safeexec, "fds", "--shared", "--json", "--tree", strconv.Itoa(os.Getpid()))
	groups := map[string]string{}
	for _, d := range f.Descriptions {
		for _, h := range d.Holders {
			groups[h.String()] = group(d.Holders)
			if h.PID == os.Getpid() && h.Number > 2 && !h.Closed {
				t.Errorf("%v: close-on-exec isn't seen", h)
			}
			if slices.Contains(w.pids, h.PID) && h.Number > 2 && h.Closed {
				t.Errorf("%v: close-on-exec", h)
			}
		}
	}
	for d, holders := range w.holders {
		own := w.own(d)
		want := ""
		if len(holders) > 0 {
			want = group(append(slices.Clone(holders), own))
		}
		if got := groups[own.String()]; got != want {
			t.Errorf("%s: got %q, want %q", w.files[d].Name(), got, want)
		}
	}
}

// Without a selection it is every process, and among them are ours.
func TestEverything(t *testing.T) {
	safeexec := proctest.NeedBinary(t, t.TempDir())
	w := build(t, 50, 5)
	start(t, "churn")
	for range 5 {
		f := run(t, safeexec, "fds", "--shared", "--json")
		groups := map[string]bool{}
		for _, d := range f.Descriptions {
			ours := slices.DeleteFunc(slices.Clone(d.Holders), func(h reference) bool { return !slices.Contains(w.pids, h.PID) })
			groups[group(ours)] = true
		}
		for _, want := range w.groups() {
			if !groups[want] {
				t.Errorf("%s is missing", want)
			}
		}
	}
}

// Where comparing is forbidden, everything that may be shared is unknown; nothing is claimed either way.
func TestForbidden(t *testing.T) {
	safeexec := proctest.NeedBinary(t, t.TempDir())
	w := build(t, 60, 8)
	list := func(options ...string) *exec.Cmd {
		args := append([]string{safeexec, "fds", "--shared"}, append(options, w.arguments()...)...)
		return proctest.Command(t, "forbidden", args...)
	}
	var f found
	must(t, json.Unmarshal(output(t, list("--json")), &f))
	if len(f.Descriptions) > 0 {
		t.Errorf("shared: %v", f.groups())
	}
	unknown := map[string]string{}
	for _, u := range f.Unknown {
		unknown[u.String()] = u.Reason
	}
	for _, holders := range w.holders {
		for _, h := range holders {
			if len(holders) > 1 && unknown[h.String()] != "EPERM" {
				t.Errorf("%v: %q, want EPERM", h, unknown[h.String()])
			}
		}
	}
	text := string(output(t, list()))
	if !strings.Contains(text, "unknown: whether these are shared, and with whom\n") || !strings.Contains(text, "operation not permitted") ||
		strings.Contains(text, "descriptions are shared") || !strings.Contains(text, "\n0 descriptions are known to be shared among ") {
		t.Errorf("%s", text)
	}
	if picture := string(output(t, list("--dot"))); !strings.Contains(picture, "unknown whether shared") || !strings.Contains(picture, "dashed") {
		t.Errorf("%s", picture)
	}
}

// The owner of a description's signals, and the absence of one.
func TestOwner(t *testing.T) {
	safeexec := proctest.NeedBinary(t, t.TempDir())
	r, wr, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer wr.Close()
	pid := start(t, "hold", r, r, wr, wr).Process.Pid
	control, err := r.SyscallConn()
	must(t, err)
	must(t, control.Control(func(fd uintptr) {
		if _, err = unix.FcntlInt(fd, unix.F_SETOWN, -syscall.Getpgrp()); err == nil {
			_, err = unix.FcntlInt(fd, unix.F_SETSIG, int(unix.SIGUSR2))
		}
	}))
	must(t, err)
	f := run(t, safeexec, "fds", "--shared", "--json", "--pid", strconv.Itoa(pid))
	owners := map[string]string{}
	for _, d := range f.Descriptions {
		if d.Owner == nil {
			t.Fatalf("%s: the owner isn't known", group(d.Holders))
		}
		owners[group(d.Holders)] = fmt.Sprint(d.Owner.Type, " ", d.Owner.ID, " ", d.Owner.Signal)
	}
	for holders, want := range map[string]string{
		fmt.Sprintf("%d.3 %[1]d.4", pid): fmt.Sprint("process-group ", syscall.Getpgrp(), " SIGUSR2"),
		fmt.Sprintf("%d.5 %[1]d.6", pid): "nobody 0 SIGIO",
	} {
		if owners[holders] != want {
			t.Errorf("%s: %q, want %q", holders, owners[holders], want)
		}
	}
}

// A cgroup is selected with all that are below it, by its directory.
func TestCgroup(t *testing.T) {
	proctest.NeedRoot(t)
	safeexec := proctest.NeedBinary(t, t.TempDir())
	for _, hierarchy := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/freezer", "/sys/fs/cgroup/pids"} {
		if _, err := os.Stat(filepath.Join(hierarchy, "cgroup.procs")); err != nil {
			continue // hierarchies of version 1 are in a directory that is none
		}
		top := filepath.Join(hierarchy, fmt.Sprint("safeexec,test-", os.Getpid()))
		below := filepath.Join(top, "below")
		if os.Mkdir(top, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(top) })
		if os.Mkdir(below, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(below) })
		w := build(t, 40, 6)
		for i, pid := range w.pids {
			directory := []string{top, below}[i%2]
			if err := os.WriteFile(filepath.Join(directory, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
				proctest.Skip(t, fmt.Sprintf("a cgroup that takes processes: %v", err))
			}
		}
		f := run(t, safeexec, "fds", "--shared", "--json", "--cgroup", top)
		if got, want := f.groups(), w.groups(); !slices.Equal(got, want) || len(f.Processes) != len(w.pids) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		return
	}
	proctest.Skip(t, "a cgroup hierarchy that may be written")
}
