package spawn_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/ofd"
	"github.com/safeexec/safeexec/seccomp"
	"github.com/safeexec/safeexec/spawn"
)

func helper(t testing.TB, name string, arg ...string) *spawn.Cmd {
	t.Helper()
	cmd := spawn.Command(proctest.Program(t), arg...)
	cmd.Env = proctest.Environment(name)
	return cmd
}

func output(t testing.TB, cmd *spawn.Cmd) string {
	t.Helper()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestPass(t *testing.T) {
	r, w := pipe(t)
	dir, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	var raw int
	conn, _ := dir.SyscallConn()
	conn.Control(func(fd uintptr) { raw = int(fd) })

	cmd := helper(t, "table")
	cmd.ExtraFiles = []*os.File{dir}
	cmd.Pass = []spawn.Descriptor{
		{Number: 9, File: r},
		{Number: 200, File: w},
		{Number: 7, FD: raw},
		{Number: 8},
		{Number: 5, FD: spawn.DevNull},
		{Number: 12, File: socket(t)},
	}
	in, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd.Stdin = in
	const want = "0:/etc/passwd,r 1:pipe,w 12:socket,rw,nonblock 2:pipe,w 200:pipe,w 3:/,r 5:/dev/null,w 7:/,r 8:%s 9:pipe,r"
	if got := output(t, cmd); got != fmt.Sprintf(want, describe(0)) {
		t.Errorf("got  %s", got)
	}
	if !nonblocking(r) || !nonblocking(w) {
		t.Error("the caller's pipe isn't non-blocking any more")
	}
}

// TestPassAcross: numbers that are each other's, in cycles and chains.
func TestPassAcross(t *testing.T) {
	var fds [4]int
	for i := range fds {
		f, err := os.Create(filepath.Join(t.TempDir(), fmt.Sprint("file", i)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if fds[i], err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 50); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[i])
	}
	cmd := helper(t, "table")
	cmd.Pass = []spawn.Descriptor{
		{Number: fds[0], FD: fds[1]},
		{Number: fds[1], FD: fds[0]},
		{Number: fds[3], FD: fds[2]},
		{Number: fds[3] + 1, FD: fds[3]},
		{Number: fds[3] + 2, FD: fds[3]},
	}
	var got []string
	for item := range strings.FieldsSeq(output(t, cmd)) {
		number, path, _ := strings.Cut(item, ":")
		if strings.HasPrefix(filepath.Base(path), "file") {
			got = append(got, number+" "+filepath.Base(path)[:5])
		}
	}
	want := fmt.Sprintf("[%d file1 %d file0 %d file2 %d file3 %d file3]", fds[0], fds[1], fds[3], fds[3]+1, fds[3]+2)
	if fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
}

func TestPassRefused(t *testing.T) {
	r, _ := pipe(t)
	closed, _ := pipe(t)
	closed.Close()
	for _, test := range []struct {
		name  string
		extra []*os.File
		pass  []spawn.Descriptor
		want  string
		is    error
	}{
		{name: "negative", pass: []spawn.Descriptor{{Number: -1, File: r}}, want: "-1: no descriptor can have this number"},
		{name: "too large", pass: []spawn.Descriptor{{Number: 1 << 40, File: r}}, want: "1099511627776: no descriptor can have this number"},
		{name: "stdin", pass: []spawn.Descriptor{{File: r}}, want: "0: it is the number of Stdin"},
		{name: "stderr", pass: []spawn.Descriptor{{Number: 2, File: r}}, want: "2: it is the number of Stderr"},
		{name: "extra", extra: []*os.File{nil}, pass: []spawn.Descriptor{{Number: 3, File: r}}, want: "3: it is the number of ExtraFiles[0]"},
		{name: "twice", pass: []spawn.Descriptor{{Number: 8, File: r}, {Number: 8, File: r}}, want: "8: two elements of Pass have this number"},
		{name: "mode", pass: []spawn.Descriptor{{Number: 8, File: r, Mode: 9}}, want: "8: there is no Mode 9"},
		{name: "negative FD", pass: []spawn.Descriptor{{Number: 8, FD: -7}}, want: "8: it has no File, and its FD is -7"},
		{name: "FD not open", pass: []spawn.Descriptor{{Number: 8, FD: 1 << 20}}, want: "8: bad file descriptor", is: unix.EBADF},
		{name: "closed", pass: []spawn.Descriptor{{Number: 8, File: closed}}, want: "8: file already closed", is: fs.ErrClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := spawn.Command("/bin/true")
			cmd.ExtraFiles, cmd.Pass = test.extra, test.pass
			err := cmd.Start()
			if want := "spawn: /bin/true: pass descriptor " + test.want; err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			var start *spawn.StartError
			if !errors.As(err, &start) || start.Number != test.pass[0].Number {
				t.Errorf("%#v doesn't name the number", err)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v isn't %v", err, test.is)
			}
			if cmd.Process != nil {
				t.Error("there is a process")
			}
		})
	}
}

func TestPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, "0123456789")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Seek(4, io.SeekStart)
	second, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(second)

	cmd := spawn.Command("/bin/sh", "-c", "head -c 2 <&5; head -c 2 <&6; head -c 2 <&7")
	cmd.Pass = []spawn.Descriptor{
		{Number: 5, File: f, Mode: spawn.Private},
		{Number: 6, FD: second, Mode: spawn.Private}, // shares the private one
		{Number: 7, File: f},
	}
	if got := output(t, cmd); got != "456745" {
		t.Errorf("the command read %q", got)
	}
	if at, _ := f.Seek(0, io.SeekCurrent); at != 6 {
		t.Errorf("the caller's offset is %d", at)
	}
}

func TestPrivateWritable(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("caller ")
	start := func(writing ofd.Writing) error {
		cmd := spawn.Command("/bin/sh", "-c", "echo command >&3")
		cmd.Pass = []spawn.Descriptor{{Number: 3, File: f, Mode: spawn.Private, Writing: writing}}
		return cmd.Run()
	}
	if err := start(ofd.Refuse); !errors.Is(err, ofd.ErrWritable) {
		t.Errorf("not refused: %v", err)
	}
	for _, writing := range []ofd.Writing{ofd.Append, ofd.Offset} {
		if err := start(writing); err != nil {
			t.Error(err)
		}
	}
	if got, _ := os.ReadFile(f.Name()); string(got) != "caller command\n" && string(got) != "caller command\ncommand\n" {
		t.Errorf("the file holds %q", got)
	}
	if at, _ := f.Seek(0, io.SeekCurrent); at != 7 {
		t.Errorf("the caller's offset is %d", at)
	}
}

// TestOneForBoth: two numbers of a non-blocking pipe share the private description that the command gets.
func TestOneForBoth(t *testing.T) {
	r, w := pipe(t)
	second, err := unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.SetNonblock(second, true)
	cmd := helper(t, "same", "1", "2", "5", "6")
	cmd.Stdout, cmd.Stderr = w, w
	cmd.Pass = []spawn.Descriptor{{Number: 5, FD: second}, {Number: 6, File: w, Mode: spawn.Private}}
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	if flags, _ := unix.FcntlInt(uintptr(second), unix.F_GETFL, 0); flags&unix.O_NONBLOCK == 0 {
		t.Error("the caller's pipe isn't non-blocking any more")
	}
	w.Close()
	unix.Close(second)
	if said, _ := io.ReadAll(r); string(said) != "same" {
		t.Errorf("%s", said)
	}
}

// TestHungUp: a pipe whose other side is gone can't be opened again, and is made blocking as os/exec does.
func TestHungUp(t *testing.T) {
	r, w := pipe(t)
	w.WriteString("last words")
	w.Close()
	cmd := spawn.Command("/bin/cat")
	cmd.Stdin = r
	if got := output(t, cmd); got != "last words" {
		t.Errorf("the command read %q", got)
	}
}

func TestNoNewPrivs(t *testing.T) {
	for _, set := range []bool{false, true} {
		cmd := spawn.Command("/bin/grep", "NoNewPrivs", "/proc/self/status")
		cmd.NoNewPrivs = set
		if got := strings.Fields(output(t, cmd))[1]; (got == "1") != set {
			t.Errorf("NoNewPrivs %v: the command has %s", set, got)
		}
	}
	if own, _ := os.ReadFile("/proc/thread-self/status"); !strings.Contains(string(own), "NoNewPrivs:\t0") {
		t.Error("the caller has it too")
	}
}

func TestFilter(t *testing.T) {
	deny := seccomp.Flags
	if seccomp.LandlockABI() > 0 { // Linux 5.13; without it this can't be denied
		deny |= seccomp.Steal
	}
	filter, err := seccomp.Compile(seccomp.Policy{Deny: deny, Landlock: seccomp.LandlockABI()})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // it serves any number
		cmd := helper(t, "setfl")
		cmd.Filter = filter
		if got := output(t, cmd); got != "operation not permitted; table 0 1 2" {
			t.Errorf("under the filter: %s", got)
		}
		if got := output(t, helper(t, "setfl")); got != "<nil>; table 0 1 2" {
			t.Errorf("without: %s", got)
		}
	}
	cmd := spawn.Command("/no/such/program")
	cmd.Filter = filter
	if err := cmd.Run(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the filter hides the error: %v", err)
	}
}
