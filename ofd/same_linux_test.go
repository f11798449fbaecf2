package ofd

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSame runs each case on both ways of asking.
func TestSame(t *testing.T) {
	path := fileWith(t, "content")
	fd := open(t, path, unix.O_RDONLY)
	const closed = 1 << 20 // high enough never to be used again
	pathOnly := open(t, path, unix.O_PATH)
	cases := []struct {
		name string
		a, b int
		same bool
		err  error
	}{
		{"itself", fd, fd, true, nil},
		{"a duplicate", fd, dup(t, fd), true, nil},
		{"the file opened again", fd, open(t, path, unix.O_RDONLY), false, nil},
		{"another file", fd, open(t, "/dev/null", unix.O_RDONLY), false, nil},
		{"O_PATH duplicates", pathOnly, dup(t, pathOnly), true, nil},
		{"O_PATH and the file", pathOnly, fd, false, nil},
		{"the first is closed", closed, fd, false, unix.EBADF},
		{"the second is closed", fd, closed, false, unix.EBADF},
		{"both are closed", closed, closed, false, unix.EBADF},
		{"negative", fd, -1, false, unix.EBADF},
	}
	ways := map[string]func(a, b int) (bool, error){"whole": Same, "kcmp": sameByKcmp, "F_DUPFD_QUERY": sameByQuery}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_QUERY, fd); errors.Is(err, unix.EINVAL) {
		delete(ways, "F_DUPFD_QUERY") // before Linux 6.10 it isn't there, and the whole falls back
	}
	for way, same := range ways {
		for _, c := range cases {
			t.Run(way+"/"+c.name, func(t *testing.T) {
				got, err := same(c.a, c.b)
				if got != c.same || !errors.Is(err, c.err) {
					t.Errorf("got %v, %v; want %v, %v", got, err, c.same, c.err)
				}
			})
		}
	}
}

func TestSameIn(t *testing.T) {
	file, err := os.Open(fileWith(t, "content"))
	must(t, err)
	fd := number(t, file)
	child := startOther(t, file)
	mine := Ref{PID: os.Getpid(), FD: fd}

	same, err := SameIn(mine, child.ref())
	if !same || err != nil {
		t.Errorf("inherited: %v, %v", same, err)
	}
	same, err = SameIn(Ref{PID: os.Getpid(), FD: open(t, "/dev/null", unix.O_RDONLY)}, child.ref())
	if same || err != nil {
		t.Errorf("another: %v, %v", same, err)
	}
	if _, err = SameIn(mine, Ref{PID: child.ref().PID, FD: 99}); !errors.Is(err, unix.EBADF) {
		t.Errorf("not open there: %v", err)
	}
	child.end()
	if _, err = SameIn(mine, child.ref()); !errors.Is(err, unix.ESRCH) {
		t.Errorf("gone: %v", err)
	}
}

// stranger makes the puppet run as another user than the test, so that the kernel refuses to tell: as root the test
// steps down in a thread of its own, otherwise init's descriptors are out of reach anyway.
func stranger(t *testing.T) Ref {
	t.Helper()
	if os.Geteuid() != 0 {
		return Ref{PID: 1, FD: 0}
	}
	child := startOther(t, nil)
	return Ref{PID: child.ref().PID, FD: 0}
}

// asNobody runs f without the right to trace anybody else's process.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan error)
	go func() {
		done <- dropAndRun(f)
	}()
	must(t, <-done)
}

func TestNoRightToAsk(t *testing.T) {
	foreign := stranger(t)
	file, err := os.Open(fileWith(t, "content"))
	must(t, err)
	fd := number(t, file)
	asNobody(t, func() {
		if _, err := SameIn(Ref{PID: os.Getpid(), FD: fd}, foreign); !errors.Is(err, unix.EPERM) {
			t.Errorf("SameIn: %v, want EPERM", err)
		}
		ids, errs := Group([]Ref{foreign, foreign})
		if ids[0] != -1 || ids[1] != -1 || !errors.Is(errs[0], unix.EPERM) || !errors.Is(errs[1], unix.EPERM) {
			t.Errorf("Group: %v, %v, want -1 and EPERM", ids, errs)
		}
		if _, err := StateIn(foreign); !errors.Is(err, unix.EPERM) {
			t.Errorf("StateIn: %v, want EPERM", err)
		}
	})
}

// TestGroupOfProcesses builds a known sharing among processes, and has it found without a miss.
func TestGroupOfProcesses(t *testing.T) {
	const descriptions, processes = 40, 12
	random := rand.New(rand.NewPCG(seed(t), 0))
	var files []*os.File
	for range descriptions {
		f, err := os.Open("/dev/null")
		must(t, err)
		number(t, f)
		files = append(files, f)
	}
	var refs []Ref
	var want []int
	for range processes {
		var extra []*os.File
		var which []int
		for range 30 {
			n := random.IntN(descriptions)
			extra, which = append(extra, files[n]), append(which, n)
		}
		child := startOther(t, nil, func(cmd *exec.Cmd) { cmd.ExtraFiles = extra })
		for at, n := range which {
			refs, want = append(refs, Ref{PID: child.ref().PID, FD: 3 + at}), append(want, n)
		}
	}
	// Two that aren't there: they must disturb nothing.
	refs, want = append(refs, Ref{PID: os.Getpid(), FD: 1 << 20}, Ref{PID: 1 << 30, FD: 3}), append(want, -1, -1)
	random.Shuffle(len(refs), func(i, j int) {
		refs[i], refs[j], want[i], want[j] = refs[j], refs[i], want[j], want[i]
	})
	ids, errs := Group(refs)
	checkGrouping(t, ids, want)
	for i, err := range errs {
		if (err != nil) != (want[i] == -1) {
			t.Errorf("reference %d of %d: error %v", i, want[i], err)
		}
	}
}

// checkGrouping compares two groupings that may number differently.
func checkGrouping(t *testing.T, ids, want []int) {
	t.Helper()
	there, back := map[int]int{-1: -1}, map[int]int{-1: -1}
	for i := range ids {
		if to, known := there[ids[i]]; known && to != want[i] {
			t.Fatalf("reference %d: group %d holds descriptions %d and %d", i, ids[i], to, want[i])
		}
		if from, known := back[want[i]]; known && from != ids[i] {
			t.Fatalf("reference %d: description %d is in groups %d and %d", i, want[i], from, ids[i])
		}
		there[ids[i]], back[want[i]] = want[i], ids[i]
	}
}

// TestGroupWhileProcessesGo groups descriptors of processes that end meanwhile.
func TestGroupWhileProcessesGo(t *testing.T) {
	null, err := os.Open("/dev/null")
	must(t, err)
	number(t, null)
	extra := make([]*os.File, 200)
	for i := range extra {
		extra[i] = null
	}
	var refs []Ref
	var children []*other
	for range 8 {
		child := startOther(t, nil, func(cmd *exec.Cmd) { cmd.ExtraFiles = extra })
		children = append(children, child)
		for at := range extra {
			refs = append(refs, Ref{PID: child.ref().PID, FD: 3 + at})
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, child := range children[1:] {
			child.cmd.Process.Kill()
			time.Sleep(time.Millisecond)
		}
	}()
	ids, errs := Group(refs)
	<-done
	first := ids[0]
	for i := range refs {
		switch {
		case errs[i] == nil && ids[i] != first:
			t.Fatalf("reference %d: group %d, want %d", i, ids[i], first)
		case errs[i] != nil && (ids[i] != -1 || i < len(extra)):
			t.Fatalf("reference %d: group %d, %v", i, ids[i], errs[i])
		case errs[i] != nil && !errors.Is(errs[i], unix.ESRCH) && !errors.Is(errs[i], unix.EBADF):
			t.Fatalf("reference %d: %v", i, errs[i])
		}
	}
}

// dropAndRun gives up root in a thread that isn't used for anything else afterwards.
func dropAndRun(f func()) error {
	lockThreadForGood()
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
		return errno
	}
	f()
	return nil
}

func BenchmarkSame(b *testing.B) {
	fd := open(b, "/dev/null", unix.O_RDONLY)
	second := dup(b, fd)
	for way, same := range map[string]func(a, b int) (bool, error){"query": sameByQuery, "kcmp": sameByKcmp} {
		b.Run(way, func(b *testing.B) {
			for b.Loop() {
				if ok, err := same(fd, second); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

// BenchmarkGroup asks for 100,000 references as a busy machine has them: many on few inodes, most on their own.
func BenchmarkGroup(b *testing.B) {
	const n = 100_000
	var fds []int
	for range 100 {
		fds = append(fds, open(b, "/dev/null", unix.O_RDONLY))
	}
	refs := make([]Ref, n)
	for i := range refs {
		refs[i] = Ref{PID: os.Getpid(), FD: fds[i%len(fds)], Key: strconv.Itoa(i % 1000 * (i % 3))}
	}
	for b.Loop() {
		ids, errs := Group(refs)
		if ids[0] < 0 || errs[0] != nil {
			b.Fatal(errs[0])
		}
	}
}
