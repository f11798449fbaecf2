package fdtable

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

// start runs a helper until it has said a line, and ends it with the test.
func start(t testing.TB, line any, name string, args ...string) *exec.Cmd {
	t.Helper()
	return startCmd(t, line, proctest.Command(t, name, args...))
}

func startCmd(t testing.TB, line any, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	// Go's runtime would hold files of the cgroup open, and this is about whole tables.
	cmd.Env = append(cmd.Env, "GODEBUG=containermaxprocs=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", cmd.Args, err)
		}
	})
	text, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(text, line)
	}
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return cmd
}

// compare checks one descriptor against what its holder knows of it.
func compare(t *testing.T, w want, d Descriptor, own bool) {
	t.Helper()
	fail := func(what string, got, want any) {
		t.Helper()
		t.Errorf("descriptor %d (%s): %s is %#v, not %#v", w.Number, w.Kind, what, got, want)
	}
	if d.Kind != w.Kind {
		fail("kind", d.Kind, w.Kind)
	}
	if got := d.Flags.Access(); got != w.Access {
		fail("access", got, w.Access)
	}
	flags := slices.DeleteFunc(d.Flags.Names(), func(s string) bool { return s == "O_LARGEFILE" })
	if !slices.Equal(flags, w.Flags) {
		fail("flags", flags, w.Flags)
	}
	if d.CloseOnExec != w.CloExec {
		fail("close-on-exec", d.CloseOnExec, w.CloExec)
	}
	if w.Target != "" && d.Target != w.Target {
		fail("target", d.Target, w.Target)
	}
	deleted := strings.HasSuffix(d.Target, " (deleted)") && d.Kind != KindMemfd && d.Kind != KindMessageQueue
	if d.Deleted != deleted {
		fail("deleted", d.Deleted, deleted)
	}
	if digits := regexp.MustCompile("[0-9]+"); d.Detail != w.Detail && digits.ReplaceAllString(d.Detail, "#") != w.Detail {
		fail("detail", d.Detail, w.Detail)
	}
	var locks []string
	for _, l := range d.Locks {
		locks = append(locks, l.String())
	}
	if !slices.Equal(locks, w.Locks) {
		fail("locks", locks, w.Locks)
	}
	if slices.Contains(w.Flags, "O_APPEND") && d.Offset != 7 {
		fail("offset", d.Offset, 7)
	}
	if w.Socket != nil {
		compareSocket(t, w, d, own, fail)
	}
}

// compareSocket knows what can be seen of another's socket: not its peer when it is a UNIX socket, and nothing but the
// protocol when it has no address yet.
func compareSocket(t *testing.T, w want, d Descriptor, own bool, fail func(string, any, any)) {
	t.Helper()
	if d.Socket == nil {
		fail("socket", nil, *w.Socket)
		return
	}
	want := *w.Socket
	if !own {
		switch {
		case want.Family == "netlink":
			want.Type = ""
		case want.Protocol == "tcp" && want.Local == "":
			want.State = ""
		}
	}
	if *d.Socket != want {
		fail("socket", *d.Socket, want)
	}
}

func TestListAnother(t *testing.T) {
	var report selfReport
	cmd := start(t, &report, "hold", t.TempDir())
	table, err := List(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.ReadFile("/proc/self/fdinfo/0")
	must(err)
	told := strings.Contains(string(info), "\nino:") // since Linux 5.14; nobody looks after an anonymous inode's else
	var st unix.Stat_t
	for _, w := range report.Wants {
		i := slices.IndexFunc(table, func(d Descriptor) bool { return d.Number == w.Number })
		if i < 0 {
			t.Errorf("%+v is missing", w)
			continue
		}
		compare(t, w, table[i], false)
		if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", cmd.Process.Pid, w.Number), &st); err != nil {
			t.Error(err)
		} else if anonymous := strings.HasPrefix(table[i].Target, "anon_inode:"); !told && anonymous && table[i].Inode == 0 {
			continue
		} else if table[i].Device != Device(st.Dev) || table[i].Inode != st.Ino {
			t.Errorf("%+v: device %s inode %d, want %#x %d", w, table[i].Device, table[i].Inode, st.Dev, st.Ino)
		}
	}
	var listed []int
	for _, d := range table {
		listed = append(listed, d.Number)
	}
	if !slices.Equal(listed, report.Open) {
		t.Errorf("listed %v, open are %v", listed, report.Open)
	}
}

func TestListSelf(t *testing.T) {
	var report selfReport
	start(t, &report, "hold", t.TempDir(), "self")
	var listed []int
	for _, d := range report.Listed {
		listed = append(listed, d.Number)
	}
	if !slices.Equal(listed, report.Open) {
		t.Errorf("listed %v, open are %v", listed, report.Open)
	}
	byNumber := func(table []Descriptor, n int) Descriptor {
		return table[slices.IndexFunc(table, func(d Descriptor) bool { return d.Number == n })]
	}
	for _, w := range report.Wants {
		compare(t, w, byNumber(report.Listed, w.Number), true)
		compare(t, w, byNumber(report.Inspected, w.Number), true)
	}
	if report.NoProc != 0 {
		t.Errorf("%d inspections failed", report.NoProc)
	}
}

// Without procfs only what the descriptor itself tells is known, and anonymous inodes are unknown rather than harmless.
func TestInspectWithoutProc(t *testing.T) {
	proctest.NeedRoot(t)
	var report selfReport
	start(t, &report, "hold", t.TempDir(), "noproc")
	if report.NoProc != len(report.Open) {
		t.Errorf("%d of %d inspections said that there is no procfs", report.NoProc, len(report.Open))
	}
	for _, w := range report.Wants {
		i := slices.IndexFunc(report.Inspected, func(d Descriptor) bool { return d.Number == w.Number })
		got := report.Inspected[i]
		switch w.Kind {
		case KindMemfd:
			w.Kind = KindFile
		case KindEventfd, KindEpoll, KindTimerfd, KindSignalfd, KindInotify, KindFanotify, KindUserfaultfd, KindIOUring,
			KindPerfEvent, KindBPFMap, KindBPFProgram, KindSeccompListener, "landlock-ruleset", "fs-context":
			w.Kind = KindUnknown
		case KindPidfd:
			if got.Kind == KindUnknown { // before pidfs, Linux 6.9
				w.Kind = KindUnknown
			}
		}
		w.Target, w.Detail, w.Locks = "", "", nil
		compare(t, w, got, true)
	}
}

func TestInspectNotOpen(t *testing.T) {
	for _, fd := range []int{-1, 1 << 20, 1<<31 - 1} {
		if _, err := Inspect(fd); !errors.Is(err, unix.EBADF) {
			t.Errorf("Inspect(%d): %v", fd, err)
		}
	}
	// Nor are the numbers that a look takes for itself.
	var free []int
	for fd := 3; len(free) < 6; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			free = append(free, fd)
		}
	}
	descriptors, errs := InspectEach(free)
	for i, fd := range free {
		if !errors.Is(errs[i], unix.EBADF) {
			t.Errorf("InspectEach: %d, of %v which are free, is %v, %v", fd, free, descriptors[i], errs[i])
		}
	}
}

func TestListErrors(t *testing.T) {
	gone := proctest.Command(t, "hold")
	gone.Args = gone.Args[:1]
	gone.Env = append(os.Environ(), "PATH=") // not the helper: the test binary with nothing to do
	gone.Args = append(gone.Args, "-test.run=^$")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := List(gone.Process.Pid); !errors.Is(err, unix.ESRCH) {
		t.Errorf("a process that is gone: %v", err)
	}
	if _, err := List(-1); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a negative number: %v", err)
	}
	if os.Geteuid() != 0 {
		if _, err := List(1); !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ESRCH) {
			t.Errorf("somebody else's process: %v", err)
		}
	}
}

// lookHelper lists in a mount namespace of its own: with a tmpfs on /proc, or on the directory of one process.
func lookHelper(args []string) int {
	runtime.LockOSThread()
	must(unix.Unshare(unix.CLONE_NEWNS))
	must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	switch args[0] {
	case "unmounted":
		must(unix.Unmount("/proc", unix.MNT_DETACH))
	default:
		must(unix.Mount("tmpfs", args[0], "tmpfs", 0, ""))
	}
	_, err := List(os.Getpid())
	fmt.Println(strconv.Quote(fmt.Sprint(err, errors.Is(err, ErrNoProc), errors.Is(err, errors.ErrUnsupported))))
	return 0
}

func TestListWithoutProc(t *testing.T) {
	look := func(where string) *exec.Cmd { return proctest.Command(t, "look", where) }
	look("") // an ordinary user's run knows the helper too
	proctest.NeedRoot(t)
	for _, c := range []struct{ where, want string }{
		{"/proc", "/proc doesn't show this process: it isn't procfs true true"},
		{"/proc/thread-self/fd", ": /proc doesn't show this process: it isn't procfs true true"},
		{"/proc/thread-self/fdinfo", ": /proc doesn't show this process: it isn't procfs true true"},
		{"unmounted", "/proc doesn't show this process: it isn't procfs true true"},
	} {
		out, err := look(c.where).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := strconv.Unquote(strings.TrimSpace(string(out))); err != nil || !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: %s", c.where, out)
		}
	}
}

// manyHelper holds as many descriptors as it is told.
func manyHelper(args []string) int {
	n, err := strconv.Atoi(args[0])
	must(err)
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(n) + 64, Max: uint64(n) + 64}))
	for i := range n {
		switch i % 4 {
		case 0:
			_, err = unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		case 1:
			_, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		case 2:
			_, err = unix.Eventfd(0, unix.EFD_CLOEXEC)
		case 3:
			_, err = unix.Dup(1)
		}
		must(err)
	}
	fmt.Println(n)
	io.Copy(io.Discard, os.Stdin)
	return 0
}

func TestListMany(t *testing.T) {
	var n int
	cmd := start(t, &n, "many", "900")
	r, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 2 { // the second time from what the Reader remembers
		table, err := r.List(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		count := map[Kind]int{}
		for _, d := range table {
			count[d.Kind]++
			if d.Kind == KindSocket && *d.Socket != (Socket{Family: FamilyUNIX, Type: "dgram", State: "unconnected"}) {
				t.Errorf("descriptor %d: %+v", d.Number, *d.Socket)
			}
		}
		// The Go runtime's own poller may hold one epoll set and one eventfd more.
		if count[KindDirectory] != 225 || count[KindSocket] != 225 || count[KindEventfd] < 225 || count[KindPipe] < 225 {
			t.Errorf("%v", count)
		}
	}
}

// Sockets are looked for in the network namespace of their process, whatever the Reader has read before.
func TestListOtherNamespace(t *testing.T) {
	proctest.NeedRoot(t)
	var n int
	r, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, flags := range []uintptr{0, unix.CLONE_NEWNET, unix.CLONE_NEWNET} {
		cmd := proctest.Command(t, "many", "8")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		table, err := r.List(startCmd(t, &n, cmd).Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, d := range table {
			if d.Kind == KindSocket && d.Socket.State == "unconnected" {
				found++
			}
		}
		if found != 2 {
			t.Errorf("%d of 2 sockets found with flags %#x: %+v", found, flags, table)
		}
	}
	if len(r.namespaces) != 3 {
		t.Errorf("%d namespaces were read", len(r.namespaces))
	}
}

// One that runs while tables change: what is listed is whole, and nothing but an end of the process is an error.
func TestListChanging(t *testing.T) {
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			var ends [2]int
			must(unix.Pipe2(ends[:], unix.O_CLOEXEC))
			must(unix.Close(ends[0]))
			must(unix.Close(ends[1]))
		}
	}()
	for range 200 {
		table, err := List(0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range table {
			if d.Kind == "" || d.Target == "" {
				t.Fatalf("%+v", d)
			}
		}
	}
	close(stop)
	<-done
}

func TestProcesses(t *testing.T) {
	var n int
	cmd := start(t, &n, "many", "0")
	r, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all, err := r.Processes()
	if err != nil {
		t.Fatal(err)
	}
	tree := Tree(all, os.Getpid())
	if len(tree) == 0 || tree[0].PID != os.Getpid() || tree[0].Parent != os.Getppid() {
		t.Fatalf("%+v", tree)
	}
	if !slices.ContainsFunc(tree, func(p Process) bool { return p.PID == cmd.Process.Pid && p.Parent == os.Getpid() }) {
		t.Errorf("the helper %d is missing in %+v", cmd.Process.Pid, tree)
	}
}

// The listing costs a few system calls for each descriptor, and reads the sockets of a namespace once.
func BenchmarkList(b *testing.B) {
	var n int
	cmd := start(b, &n, "many", "1000")
	for b.Loop() {
		table, err := List(cmd.Process.Pid)
		if err != nil || len(table) < n {
			b.Fatal(len(table), err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/descriptor")
}

// TestOnThread: a look that ended on another thread than it began on is done again, on one.
func TestOnThread(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	for range 2 * runtime.GOMAXPROCS(0) { // who take the place of a thread that waits
		go func() {
			for {
				select {
				case <-stop:
					return
				default:
					runtime.Gosched()
				}
			}
		}()
	}
	var threads [][2]int
	onThread(func() {
		before := unix.Gettid()
		for i := 0; len(threads) == 0 && unix.Gettid() == before || len(threads) == 1 && i < 100; i++ {
			pause := unix.NsecToTimespec(int64(time.Millisecond)) // in the kernel, where a thread loses its place
			unix.Nanosleep(&pause, nil)
		}
		threads = append(threads, [2]int{before, unix.Gettid()})
	})
	if len(threads) != 2 || threads[1][0] != threads[1][1] {
		t.Errorf("looks began and ended on threads %v", threads)
	}
}
