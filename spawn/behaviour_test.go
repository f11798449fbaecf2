package spawn_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/spawn"
)

// A behaviour is one thing that a program may rely on, told as text. Where os/exec does otherwise, exec says what it does,
// and doc.go says that there is a difference.
type behaviour struct {
	name string
	run  func(t *testing.T, l library) string
	want string
	exec string
}

func TestBehaviour(t *testing.T) {
	// What this process has inherited itself would be in os/exec's tables.
	for _, item := range inherited() {
		var fd int
		if fmt.Sscan(item, &fd); fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	for _, b := range behaviours {
		for _, l := range []library{osExec, ours} {
			want := b.want
			if b.exec != "" && l.name == osExec.name {
				want = b.exec
			}
			t.Run(b.name+"/"+l.name, func(t *testing.T) {
				if got := b.run(t, l); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			})
		}
	}
}

var behaviours = slices.Concat(construction, misuse, endings, environments, streaming, contexts, failures, tables)

var construction = []behaviour{
	{name: "command found in PATH", run: func(t *testing.T, l library) string {
		c := l.command("sh", "-c", "true")
		return fmt.Sprint(filepath.IsAbs(*c.Path), *c.Args, *c.Err, c.String() == *c.Path+" -c true")
	}, want: "true [sh -c true] <nil> true"},
	{name: "command not found", run: func(t *testing.T, l library) string {
		c := l.command("no-such-program", "x")
		return show(c.Run()) + " " + c.String()
	}, want: `exec: "no-such-program": executable file not found in $PATH [*exec.Error ErrNotFound] no-such-program x`},
	{name: "command in the current directory", run: func(t *testing.T, l library) string {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "program"), "#!/bin/sh\necho ran\n")
		t.Chdir(dir)
		t.Setenv("PATH", ".")
		c := l.command("program")
		first := show(*c.Err) + " " + c.String()
		*c.Err = nil
		out, err := c.Output()
		return fmt.Sprintf("%s: %s, then %s%v", first, *c.Path, out, err)
	}, want: `exec: "program": cannot run executable found relative to current directory [*exec.Error ErrDot] program: ` +
		"program, then ran\n<nil>"},
	{name: "name with a slash isn't looked for", run: func(t *testing.T, l library) string {
		c := l.command("./no-such-program")
		return fmt.Sprint(*c.Path, " ", *c.Err)
	}, want: "./no-such-program <nil>"},
	{name: "no arguments", run: func(t *testing.T, l library) string {
		c := l.helper(t, "arguments")
		*c.Args = nil
		out, err := c.Output()
		return fmt.Sprint(string(out) == fmt.Sprintf("[%q]", *c.Path), err)
	}, want: "true <nil>"},
	{name: "another argument zero", run: func(t *testing.T, l library) string {
		c := l.helper(t, "arguments")
		*c.Args = []string{"zero", "", "two words"}
		out, err := c.Output()
		return fmt.Sprint(string(out), err)
	}, want: `["zero" "" "two words"]<nil>`},
	{name: "path relative to Dir", run: func(t *testing.T, l library) string {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "program"), "#!/bin/sh\necho ran in $(basename $PWD)\n")
		c := l.command("./program")
		*c.Dir = dir
		out, err := c.Output()
		return strings.ReplaceAll(fmt.Sprint(string(out), err), filepath.Base(dir), "DIR")
	}, want: "ran in DIR\n<nil>"},
	{name: "copied before the start", run: func(t *testing.T, l library) string {
		c := l.shell("exit 4")
		clone := reflect.New(reflect.TypeOf(c.command).Elem())
		clone.Elem().Set(reflect.ValueOf(c.command).Elem())
		return show(c.Run()) + " " + show(of(clone.Interface().(command)).Run())
	}, want: "exit status 4 [*exec.ExitError] exit status 4 [*exec.ExitError]"},
}

var misuse = []behaviour{
	{name: "no command", run: func(t *testing.T, l library) string {
		return show(l.empty().Run())
	}, want: "exec: no command"},
	{name: "started twice", run: func(t *testing.T, l library) string {
		c := l.shell("true")
		return show(c.Run()) + ", " + show(c.Start())
	}, want: "<nil>, exec: already started"},
	{name: "started again after a failure", run: func(t *testing.T, l library) string {
		c := l.command("/no/such/program")
		c.Start()
		return show(c.Start())
	}, want: "exec: already started"},
	{name: "waited for without a start", run: func(t *testing.T, l library) string {
		return show(l.shell("true").Wait())
	}, want: "exec: not started"},
	{name: "waited for twice", run: func(t *testing.T, l library) string {
		c := l.shell("true")
		return show(c.Run()) + ", " + show(c.Wait())
	}, want: "<nil>, exec: Wait was already called"},
	{name: "pipe where something is set", run: func(t *testing.T, l library) string {
		c := l.shell("true")
		*c.Stdin, *c.Stdout, *c.Stderr = strings.NewReader(""), io.Discard, io.Discard
		_, in := c.StdinPipe()
		_, out := c.StdoutPipe()
		_, diag := c.StderrPipe()
		return fmt.Sprint(in, ", ", out, ", ", diag)
	}, want: "exec: Stdin already set, exec: Stdout already set, exec: Stderr already set"},
	{name: "pipe after the start", run: func(t *testing.T, l library) string {
		c := l.shell("true")
		c.Run()
		_, in := c.StdinPipe()
		_, out := c.StdoutPipe()
		_, diag := c.StderrPipe()
		return fmt.Sprint(in, ", ", out, ", ", diag)
	}, want: "exec: StdinPipe after process started, exec: StdoutPipe after process started, " +
		"exec: StderrPipe after process started"},
	{name: "output where something is set", run: func(t *testing.T, l library) string {
		c := l.shell("true")
		*c.Stdout = io.Discard
		_, output := c.Output()
		_, combined := c.CombinedOutput()
		*c.Stdout, *c.Stderr = nil, io.Discard
		_, diag := c.CombinedOutput()
		return fmt.Sprint(output, ", ", combined, ", ", diag)
	}, want: "exec: Stdout already set, exec: Stdout already set, exec: Stderr already set"},
	{name: "nil context", run: func(t *testing.T, l library) (text string) {
		defer func() { text = fmt.Sprint(recover()) }()
		l.context(nil, "true") //nolint:staticcheck // this is what is tested
		return ""
	}, want: "nil Context"},
	{name: "cancel without a context", run: func(t *testing.T, l library) string {
		c := l.shell("true")
		*c.Cancel = func() error { return nil }
		return show(c.Run())
	}, want: "exec: command with a non-nil Cancel was not created with CommandContext"},
	{name: "NUL in an argument", run: func(t *testing.T, l library) string {
		return show(l.command("/bin/true", "a\x00b").Run())
	}, want: "fork/exec /bin/true: invalid argument [*fs.PathError EINVAL]"},
	{name: "NUL in the environment", run: func(t *testing.T, l library) string {
		c := l.command("/bin/true")
		*c.Env = []string{"A=1", "B=\x00", "A=2"}
		return fmt.Sprint(c.Environ(), ", ", show(c.Run()))
	}, want: "[A=2], exec: environment variable contains NUL"},
	{name: "NUL in the directory", run: func(t *testing.T, l library) string {
		c := l.command("/bin/true")
		*c.Dir = "/\x00"
		return show(c.Run())
	}, want: "exec: environment variable contains NUL"},
	{name: "pipes are closed after a failure", run: func(t *testing.T, l library) string {
		c := l.command("/no/such/program")
		in, _ := c.StdinPipe()
		out, _ := c.StdoutPipe()
		c.Start()
		_, read := out.Read(make([]byte, 1))
		_, written := in.Write([]byte("x"))
		return fmt.Sprint(read, ", ", written)
	}, want: "read |0: file already closed, write |1: file already closed"},
}

var endings = []behaviour{
	{name: "exit status", run: func(t *testing.T, l library) string {
		c := l.shell("exit 3")
		err := c.Run()
		var exit *exec.ExitError
		errors.As(err, &exit)
		return fmt.Sprint(show(err), exit.ExitCode(), exit.Stderr, *c.ProcessState, (*c.ProcessState).Pid() == (*c.Process).Pid)
	}, want: "exit status 3 [*exec.ExitError]3 [] exit status 3 true"},
	{name: "signal", run: func(t *testing.T, l library) string {
		c := l.shell("kill -TERM $$")
		err := c.Run()
		status := (*c.ProcessState).Sys().(syscall.WaitStatus)
		return fmt.Sprint(show(err), status.Signal(), (*c.ProcessState).ExitCode(), (*c.ProcessState).SysUsage() != nil)
	}, want: "signal: terminated [*exec.ExitError]terminated -1 true"},
	{name: "process after its end", run: func(t *testing.T, l library) string {
		c := l.shell("true")
		c.Run()
		_, err := (*c.Process).Wait()
		return fmt.Sprint((*c.Process).Kill(), ", ", err)
	}, want: "os: process already finished, wait: no child processes"},
	{name: "process released", run: func(t *testing.T, l library) string {
		c := l.shell("true")
		c.Start()
		pid := (*c.Process).Pid
		(*c.Process).Release()
		err := c.Wait()
		syscall.Wait4(pid, nil, 0, nil)
		return show(err)
	}, want: "invalid argument [EINVAL]"},
	{name: "somebody else waited", run: func(t *testing.T, l library) string {
		c := l.shell("true")
		c.Start()
		syscall.Wait4((*c.Process).Pid, nil, 0, nil)
		return show(c.Wait())
	}, want: "waitid: no child processes"},
	{name: "process has a handle", run: func(t *testing.T, l library) string {
		c := l.shell("read x")
		in, _ := c.StdinPipe()
		c.Start()
		var signal error
		err := (*c.Process).WithHandle(func(handle uintptr) { signal = unix.PidfdSendSignal(int(handle), 0, nil, 0) })
		in.Close()
		return fmt.Sprint(err, signal, show(c.Wait()))
	}, want: "<nil> <nil>exit status 1 [*exec.ExitError]"},
}

var environments = []behaviour{
	{name: "nil environment", run: func(t *testing.T, l library) string {
		t.Setenv("SPAWN_TEST", "inherited")
		c := l.shell("echo $SPAWN_TEST")
		out, err := c.Output()
		return fmt.Sprint(string(out), err, slices.Contains(c.Environ(), "SPAWN_TEST=inherited"))
	}, want: "inherited\n<nil> true"},
	{name: "empty environment", run: func(t *testing.T, l library) string {
		c := l.command("/usr/bin/env")
		*c.Env = []string{}
		out, err := c.Output()
		return fmt.Sprintf("%q %v %q", out, err, c.Environ())
	}, want: `"" <nil> []`},
	{name: "last value counts", run: func(t *testing.T, l library) string {
		c := l.command("/usr/bin/env")
		*c.Env = []string{"A=1", "odd", "B=2", "A=3", "", "=x", "=x=y"}
		out, err := c.Output()
		return fmt.Sprintf("%q %v %q", out, err, c.Environ())
	}, want: `"odd\nB=2\nA=3\n=x\n=x=y\n" <nil> ["odd" "B=2" "A=3" "=x" "=x=y"]`},
	{name: "directory in PWD", run: func(t *testing.T, l library) string {
		real := t.TempDir()
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(real, link); err != nil {
			t.Fatal(err)
		}
		c := l.command("/usr/bin/env")
		*c.Dir = link
		out, _ := c.Output()
		named := strings.Contains(string(out), "PWD="+link+"\n")
		c = l.command("/usr/bin/env")
		*c.Dir, *c.Env = link, []string{"A=1"}
		out, err := c.Output()
		return fmt.Sprint(named, string(out), err)
	}, want: "trueA=1\n<nil>"},
}

var streaming = []behaviour{
	{name: "output", run: func(t *testing.T, l library) string {
		out, err := l.shell("echo out; echo diag >&2; exit 1").Output()
		return fmt.Sprintf("%q %v %q", out, err, err.(*exec.ExitError).Stderr)
	}, want: `"out\n" exit status 1 "diag\n"`},
	{name: "output with Stderr set", run: func(t *testing.T, l library) string {
		c := l.shell("echo diag >&2; exit 1")
		*c.Stderr = io.Discard
		_, err := c.Output()
		return fmt.Sprintf("%v %q", err, err.(*exec.ExitError).Stderr)
	}, want: `exit status 1 ""`},
	{name: "long Stderr is shortened", run: func(t *testing.T, l library) string {
		_, err := l.shell("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done >&2; exit 1").Output()
		kept := err.(*exec.ExitError).Stderr
		head, rest, _ := bytes.Cut(kept, []byte("\n... "))
		said, tail, _ := bytes.Cut(rest, []byte(" ...\n"))
		return fmt.Sprintf("%d %q %s %d %q", len(head), head[:14], said, len(tail), tail[len(tail)-11:])
	}, want: `32768 "line 0\nline 1\n" omitting 143354 bytes 32768 "line 19999\n"`},
	{name: "Stderr that just fits", run: func(t *testing.T, l library) string {
		_, err := l.shell("head -c 65536 /dev/zero >&2; exit 1").Output()
		return fmt.Sprint(len(err.(*exec.ExitError).Stderr))
	}, want: "65536"},
	{name: "Stderr of one byte too many", run: func(t *testing.T, l library) string {
		_, err := l.shell("head -c 65537 /dev/zero >&2; exit 1").Output()
		return fmt.Sprintf("%q", bytes.Trim(err.(*exec.ExitError).Stderr, "\x00"))
	}, want: `"\n... omitting 1 bytes ...\n"`},
	{name: "combined output", run: func(t *testing.T, l library) string {
		out, err := l.shell("echo 1; echo 2 >&2; echo 3").CombinedOutput()
		return fmt.Sprintf("%q %v", out, err)
	}, want: `"1\n2\n3\n" <nil>`},
	{name: "equal writers share a pipe", run: func(t *testing.T, l library) string {
		var out bytes.Buffer
		c := l.shell("[ /proc/self/fd/1 -ef /proc/self/fd/2 ] && echo same")
		*c.Stdout, *c.Stderr = &out, &out
		return fmt.Sprintf("%v %q", c.Run(), &out)
	}, want: `<nil> "same\n"`},
	{name: "writers that can't be compared", run: func(t *testing.T, l library) string {
		var out bytes.Buffer
		w := uncomparable{[]io.Writer{&out}}
		c := l.shell("[ /proc/self/fd/1 -ef /proc/self/fd/2 ] || echo different")
		*c.Stdout, *c.Stderr = w, w
		return fmt.Sprintf("%v %q", c.Run(), &out)
	}, want: `<nil> "different\n"`},
	{name: "input from a reader", run: func(t *testing.T, l library) string {
		c := l.command("/bin/cat")
		*c.Stdin = strings.NewReader(strings.Repeat("x", 1<<20))
		out, err := c.Output()
		return fmt.Sprint(len(out), err)
	}, want: "1048576 <nil>"},
	{name: "input that isn't read", run: func(t *testing.T, l library) string {
		c := l.shell("exec true")
		*c.Stdin = strings.NewReader(strings.Repeat("x", 1<<20))
		return show(c.Run())
	}, want: "<nil>"},
	{name: "input that fails", run: func(t *testing.T, l library) string {
		c := l.command("/bin/cat")
		*c.Stdin = io.MultiReader(strings.NewReader("some"), broken{})
		out, err := c.Output()
		return fmt.Sprintf("%q %v", out, err)
	}, want: `"some" broken`},
	{name: "input that fails of a command that fails", run: func(t *testing.T, l library) string {
		c := l.shell("cat; exit 2")
		*c.Stdin = broken{}
		return show(c.Run())
	}, want: "exit status 2 [*exec.ExitError]"},
	{name: "output that can't be written", run: func(t *testing.T, l library) string {
		c := l.shell("echo x; trap '' PIPE; sleep 0.01; echo y 2>/dev/null; exit 0")
		*c.Stdout = broken{}
		return show(c.Run())
	}, want: "broken"},
	{name: "pipes", run: func(t *testing.T, l library) string {
		c := l.shell("read x; echo out $x; echo diag $x >&2")
		in, _ := c.StdinPipe()
		out, _ := c.StdoutPipe()
		diag, _ := c.StderrPipe()
		start := c.Start()
		fmt.Fprintln(in, "line")
		one, _ := io.ReadAll(out)
		two, _ := io.ReadAll(diag)
		end := c.Wait()
		_, after := out.Read(make([]byte, 1))
		return fmt.Sprintf("%v %q %q %v, %v, %v", start, one, two, end, after, in.Close())
	}, want: `<nil> "out line\n" "diag line\n" <nil>, read |0: file already closed, close |1: file already closed`},
	{name: "pipe that is closed early", run: func(t *testing.T, l library) string {
		c := l.command("/bin/cat")
		in, _ := c.StdinPipe()
		var out bytes.Buffer
		*c.Stdout = &out
		c.Start()
		io.WriteString(in, "text")
		first := in.Close()
		return fmt.Sprintf("%v %v %q", first, c.Wait(), &out)
	}, want: `<nil> <nil> "text"`},
	{name: "pipes are files", run: func(t *testing.T, l library) string {
		c := l.shell("true")
		in, _ := c.StdinPipe()
		out, _ := c.StdoutPipe()
		text := fmt.Sprintf("%T %T %T %T", in, out, *c.Stdin, *c.Stdout)
		c.Run()
		return text
	}, want: "*os.File *os.File *os.File *os.File"},
	{name: "files reach the command directly", run: func(t *testing.T, l library) string {
		file, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		c := l.shell("echo one; echo two >&2")
		*c.Stdout, *c.Stderr = file, file
		run := c.Run()
		offset, _ := file.Seek(0, io.SeekCurrent)
		return fmt.Sprint(run, offset)
	}, want: "<nil> 8"},
}

var contexts = []behaviour{
	{name: "context that is over", run: func(t *testing.T, l library) string {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		c := l.context(ctx, "/bin/true")
		return fmt.Sprint(show(c.Run()), *c.Process)
	}, want: "context canceled [Canceled]<nil>"},
	{name: "context that ends", run: func(t *testing.T, l library) string {
		return show(endContext(l, nil, "exec sleep 1000"))
	}, want: "signal: killed [*exec.ExitError]"},
	{name: "context that never ends", run: func(t *testing.T, l library) string {
		return show(l.context(context.Background(), "/bin/true").Run())
	}, want: "<nil>"},
	{name: "cancelled by a pipe, successfully", run: func(t *testing.T, l library) string {
		return show(endContext(l, func(c subject, in io.Closer) {
			*c.Cancel = in.Close
		}, "cat"))
	}, want: "context canceled [Canceled]"},
	{name: "cancelled by a pipe, without success", run: func(t *testing.T, l library) string {
		return show(endContext(l, func(c subject, in io.Closer) {
			*c.Cancel = in.Close
		}, "cat; exit 5"))
	}, want: "exit status 5 [*exec.ExitError]"},
	{name: "Cancel fails", run: func(t *testing.T, l library) string {
		return show(endContext(l, func(c subject, in io.Closer) {
			*c.Cancel = func() error { in.Close(); return errBroken }
		}, "cat"))
	}, want: "exec: canceling Cmd: broken [broken]"},
	{name: "Cancel comes too late", run: func(t *testing.T, l library) string {
		return show(endContext(l, func(c subject, in io.Closer) {
			*c.Cancel = func() error { in.Close(); return os.ErrProcessDone }
		}, "cat"))
	}, want: "<nil>"},
	{name: "no Cancel but WaitDelay", run: func(t *testing.T, l library) string {
		return show(endContext(l, func(c subject, in io.Closer) {
			*c.Cancel, *c.WaitDelay = nil, time.Millisecond
		}, "exec sleep 1000"))
	}, want: "signal: killed [*exec.ExitError]"},
	{name: "neither Cancel nor WaitDelay", run: func(t *testing.T, l library) string {
		return show(endContext(l, func(c subject, in io.Closer) {
			*c.Cancel = nil
			time.AfterFunc(time.Millisecond, func() { in.Close() })
		}, "cat"))
	}, want: "<nil>"},
	{name: "ignored signal, then WaitDelay", run: func(t *testing.T, l library) string {
		return show(endContext(l, func(c subject, in io.Closer) {
			*c.Cancel = func() error { return (*c.Process).Signal(syscall.SIGTERM) }
			*c.WaitDelay = time.Millisecond
		}, "trap '' TERM; echo ready; while :; do sleep 0.05; done"))
	}, want: "signal: killed [*exec.ExitError]"},
	{name: "WaitDelay cuts off a descendant", run: func(t *testing.T, l library) string {
		var out bytes.Buffer
		c := l.shell("sleep 1000 & echo $!")
		*c.Stdout, *c.WaitDelay = &out, 20*time.Millisecond
		err := c.Run()
		var pid int
		fmt.Sscan(out.String(), &pid)
		syscall.Kill(pid, syscall.SIGKILL)
		return show(err)
	}, want: "exec: WaitDelay expired before I/O complete [ErrWaitDelay]"},
	{name: "WaitDelay that isn't needed", run: func(t *testing.T, l library) string {
		c := l.shell("echo x")
		*c.WaitDelay = time.Hour
		out, err := c.Output()
		return fmt.Sprint(string(out), err)
	}, want: "x\n<nil>"},
	{name: "context and WaitDelay cut off a descendant", run: func(t *testing.T, l library) string {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		c := l.context(ctx, "/bin/sh", "-c", "sleep 1000 & echo $!; wait")
		*c.Cancel, *c.WaitDelay = nil, 20*time.Millisecond
		r, w := io.Pipe()
		*c.Stdout = w
		c.Start()
		var pid int
		fmt.Fscan(r, &pid)
		go io.Copy(io.Discard, r)
		cancel()
		err := c.Wait()
		syscall.Kill(pid, syscall.SIGKILL)
		return show(err)
	}, want: "signal: killed [*exec.ExitError]"},
}

var failures = []behaviour{
	{name: "program missing", run: func(t *testing.T, l library) string {
		err := l.command("/no/such/program").Run()
		return fmt.Sprint(show(err), os.IsNotExist(err), isPathError(err))
	}, want: "fork/exec /no/such/program: no such file or directory [*fs.PathError ENOENT ErrNotExist]true true"},
	{name: "program not executable", run: func(t *testing.T, l library) string {
		return show(l.command("/etc/passwd").Run())
	}, want: "fork/exec /etc/passwd: permission denied [*fs.PathError EACCES ErrPermission]"},
	{name: "program is a directory", run: func(t *testing.T, l library) string {
		return show(l.command("/etc").Run())
	}, want: "fork/exec /etc: permission denied [*fs.PathError EACCES ErrPermission]"},
	{name: "program of no known format", run: func(t *testing.T, l library) string {
		path := filepath.Join(t.TempDir(), "program")
		write(t, path, "\x01\x02\x03")
		return strings.ReplaceAll(show(l.command(path).Run()), path, "PROGRAM")
	}, want: "fork/exec PROGRAM: exec format error [*fs.PathError ENOEXEC]"},
	{name: "interpreter missing", run: func(t *testing.T, l library) string {
		path := filepath.Join(t.TempDir(), "program")
		write(t, path, "#!/no/such/interpreter\n")
		return strings.ReplaceAll(show(l.command(path).Run()), path, "PROGRAM")
	}, want: "fork/exec PROGRAM: no such file or directory [*fs.PathError ENOENT ErrNotExist]"},
	{name: "program open for writing", run: func(t *testing.T, l library) string {
		path := filepath.Join(t.TempDir(), "program")
		write(t, path, "#!/bin/sh\n")
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return strings.ReplaceAll(show(l.command(path).Run()), path, "PROGRAM")
	}, want: "fork/exec PROGRAM: text file busy [*fs.PathError ETXTBSY]"},
	{name: "too many arguments", run: func(t *testing.T, l library) string {
		return show(l.command("/bin/true", strings.Repeat("x", 200_000)).Run())
	}, want: "fork/exec /bin/true: argument list too long [*fs.PathError E2BIG]"},
	{
		name: "directory missing",
		run: func(t *testing.T, l library) string {
			c := l.command("/bin/true")
			*c.Dir = "/no/such/directory"
			err := c.Run()
			return fmt.Sprint(show(err), os.IsNotExist(err), isPathError(err))
		},
		want: "spawn: /bin/true: change directory to /no/such/directory: no such file or directory " +
			"[*spawn.StartError *fs.PathError ENOENT ErrNotExist]false false",
		exec: "chdir /no/such/directory: no such file or directory [*fs.PathError ENOENT ErrNotExist]true true",
	},
	{
		name: "directory missing, as the error that os/exec reports",
		run: func(t *testing.T, l library) string {
			c := l.command("/bin/true")
			*c.Dir = "/no/such/directory"
			var at *fs.PathError
			errors.As(c.Run(), &at)
			return at.Error()
		},
		want: "chdir /no/such/directory: no such file or directory",
	},
	{
		name: "directory missing, with attributes",
		run: func(t *testing.T, l library) string {
			c := l.command("/bin/true")
			*c.Dir, *c.SysProcAttr = "/no/such/directory", &syscall.SysProcAttr{}
			return show(c.Run())
		},
		want: "spawn: /bin/true: change directory to /no/such/directory: no such file or directory " +
			"[*spawn.StartError *fs.PathError ENOENT ErrNotExist]",
		exec: "fork/exec /bin/true: no such file or directory [*fs.PathError ENOENT ErrNotExist]",
	},
	{
		name: "directory isn't one",
		run: func(t *testing.T, l library) string {
			c := l.command("/bin/true")
			*c.Dir = "/etc/passwd"
			return show(c.Run())
		},
		want: "spawn: /bin/true: change directory to /etc/passwd: not a directory [*spawn.StartError *fs.PathError ENOTDIR]",
		exec: "fork/exec /bin/true: not a directory [*fs.PathError ENOTDIR]",
	},
	{name: "contradictory attributes", run: func(t *testing.T, l library) string {
		c := l.command("/bin/true")
		*c.SysProcAttr = &syscall.SysProcAttr{Setctty: true, Foreground: true}
		first := show(c.Run())
		c = l.command("/bin/true")
		*c.SysProcAttr = &syscall.SysProcAttr{Setctty: true, Ctty: 9}
		return first + ", " + show(c.Run())
	}, want: "fork/exec /bin/true: both Setctty and Foreground set in SysProcAttr [*fs.PathError], " +
		"fork/exec /bin/true: Setctty set but Ctty not valid in child [*fs.PathError]"},
}

var tables = []behaviour{
	{name: "nothing set", run: func(t *testing.T, l library) string {
		out, err := l.helper(t, "table").Output()
		return fmt.Sprint(string(out), err)
	}, want: "0:/dev/null,r 1:pipe,w 2:pipe,w<nil>"},
	{name: "nothing set at all", run: func(t *testing.T, l library) string {
		r, w := pipe(t)
		c := l.helper(t, "table-to", "3")
		*c.ExtraFiles = []*os.File{w}
		return run(c, w, r)
	}, want: "0:/dev/null,r 1:/dev/null,w 2:/dev/null,w 3:pipe,w<nil>"},
	{name: "extra files with a gap", run: func(t *testing.T, l library) string {
		r, _ := pipe(t)
		dir, _ := os.Open("/")
		defer dir.Close()
		c := l.helper(t, "table")
		*c.ExtraFiles = []*os.File{r, nil, dir, r}
		out, err := c.Output()
		return fmt.Sprint(string(out), err)
	}, want: "0:/dev/null,r 1:pipe,w 2:pipe,w 3:pipe,r 5:/,r 6:pipe,r<nil>"},
	{name: "a nil file leaves the number closed", run: func(t *testing.T, l library) string {
		c := l.shell("[ -e /proc/self/fd/0 ] || echo closed")
		*c.Stdin = (*os.File)(nil)
		out, err := c.Output()
		return fmt.Sprint(string(out), err)
	}, want: "closed\n<nil>"},
	{
		name: "a closed file",
		run: func(t *testing.T, l library) string {
			r, _ := pipe(t)
			r.Close()
			c := l.shell("[ -e /proc/self/fd/3 ] || echo closed")
			*c.ExtraFiles = []*os.File{r}
			out, err := c.Output()
			return fmt.Sprint(string(out), show(err))
		},
		want: "spawn: /bin/sh: pass descriptor 3: file already closed [*spawn.StartError *fs.PathError ErrClosed]",
		exec: "closed\n<nil>",
	},
	{
		name: "a descriptor without close-on-exec",
		run: func(t *testing.T, l library) string {
			fd, err := unix.FcntlInt(0, unix.F_DUPFD, 100)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			out, err := l.helper(t, "table").Output()
			return fmt.Sprint(strings.Contains(string(out), fmt.Sprintf(" %d:", fd)), err)
		},
		want: "false <nil>",
		exec: "true <nil>",
	},
	{
		name: "a pipe that Go made non-blocking",
		run: func(t *testing.T, l library) string {
			r, w := pipe(t)
			c := l.helper(t, "table")
			*c.Stdin, *c.ExtraFiles = r, []*os.File{w}
			out, err := c.Output()
			return fmt.Sprint(string(out), err, nonblocking(r), nonblocking(w))
		},
		want: "0:pipe,r 1:pipe,w 2:pipe,w 3:pipe,w<nil> true true",
		exec: "0:pipe,r 1:pipe,w 2:pipe,w 3:pipe,w<nil> false false",
	},
	{name: "a socket that Go made non-blocking", run: func(t *testing.T, l library) string {
		f := socket(t)
		before := nonblocking(f)
		c := l.helper(t, "table")
		*c.ExtraFiles = []*os.File{f}
		out, err := c.Output()
		return fmt.Sprint(before, string(out), err, nonblocking(f))
	}, want: "true0:/dev/null,r 1:pipe,w 2:pipe,w 3:socket,rw<nil> false"},
	{name: "a socket that was non-blocking before", run: func(t *testing.T, l library) string {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[1])
		f := os.NewFile(uintptr(fds[0]), "socket")
		defer f.Close()
		c := l.helper(t, "table")
		*c.ExtraFiles = []*os.File{f}
		out, err := c.Output()
		return fmt.Sprint(string(out), err, nonblocking(f))
	}, want: "0:/dev/null,r 1:pipe,w 2:pipe,w 3:socket,rw,nonblock<nil> true"},
	{name: "signals", run: func(t *testing.T, l library) string {
		out, err := l.command("/bin/cat", "/proc/self/status").Output()
		fields := strings.Fields(string(out))
		value := func(name string) string { return fields[slices.Index(fields, name)+1] }
		return fmt.Sprint(value("SigBlk:"), " ", value("SigCgt:"), err)
	}, want: "0000000000000000 0000000000000000<nil>"},
	{name: "ignored signals", run: func(t *testing.T, l library) string {
		signal.Ignore(syscall.SIGUSR1)
		defer signal.Reset(syscall.SIGUSR1)
		ignored := func(status []byte) string {
			fields := strings.Fields(string(status))
			return fields[slices.Index(fields, "SigIgn:")+1]
		}
		out, err := l.command("/bin/cat", "/proc/self/status").Output()
		own, _ := os.ReadFile("/proc/self/status") // whoever started the tests may ignore some
		n, perr := strconv.ParseUint(ignored(out), 16, 64)
		return fmt.Sprint(n>>(unix.SIGUSR1-1)&1, ignored(out) == ignored(own), perr, err)
	}, want: "1 true <nil> <nil>"},
	{name: "a handle of the caller's", run: func(t *testing.T, l library) string {
		fd := -1
		c := l.shell("read x")
		in, _ := c.StdinPipe()
		*c.SysProcAttr = &syscall.SysProcAttr{PidFD: &fd}
		c.Start()
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		signal := unix.PidfdSendSignal(fd, syscall.SIGKILL, nil, 0)
		end := c.Wait()
		in.Close()
		return fmt.Sprint(fd >= 0, flags == unix.FD_CLOEXEC, err, signal, end, unix.Close(fd))
	}, want: "true true <nil> <nil> signal: killed <nil>"},
}

// show is an error's text, with what programs look for in it.
func show(err error) string {
	text := fmt.Sprint(err)
	var found []string
	note := func(ok bool, name string) {
		if ok {
			found = append(found, name)
		}
	}
	var start *spawn.StartError
	var path *fs.PathError
	var exit *exec.ExitError
	var lookup *exec.Error
	note(errors.As(err, &start), "*spawn.StartError")
	note(errors.As(err, &path), "*fs.PathError")
	note(errors.As(err, &exit), "*exec.ExitError")
	note(errors.As(err, &lookup), "*exec.Error")
	for _, sentinel := range []struct {
		err  error
		name string
	}{
		{exec.ErrDot, "ErrDot"},
		{exec.ErrNotFound, "ErrNotFound"},
		{exec.ErrWaitDelay, "ErrWaitDelay"},
		{syscall.ENOENT, "ENOENT"},
		{syscall.EACCES, "EACCES"},
		{syscall.EINVAL, "EINVAL"},
		{syscall.ENOEXEC, "ENOEXEC"},
		{syscall.ENOTDIR, "ENOTDIR"},
		{syscall.ETXTBSY, "ETXTBSY"},
		{syscall.E2BIG, "E2BIG"},
		{fs.ErrNotExist, "ErrNotExist"},
		{fs.ErrPermission, "ErrPermission"},
		{fs.ErrClosed, "ErrClosed"},
		{context.Canceled, "Canceled"},
		{errBroken, "broken"},
	} {
		note(err != sentinel.err && errors.Is(err, sentinel.err) || err == sentinel.err && err != errBroken, sentinel.name)
	}
	if len(found) == 0 {
		return text
	}
	return text + " [" + strings.Join(found, " ") + "]"
}

func isPathError(err error) bool {
	_, ok := err.(*fs.PathError)
	return ok
}

var errBroken = errors.New("broken")

// A broken stream fails at once.
type broken struct{}

func (broken) Read([]byte) (int, error)  { return 0, errBroken }
func (broken) Write([]byte) (int, error) { return 0, errBroken }

// An uncomparable writer makes == panic.
type uncomparable struct{ to []io.Writer }

func (u uncomparable) Write(p []byte) (int, error) { return u.to[0].Write(p) }

// endContext runs a script that reads a pipe, ends its context once it runs, and returns what Wait said.
func endContext(l library, set func(c subject, in io.Closer), script string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := l.context(ctx, "/bin/sh", "-c", "echo ready; "+script)
	in, _ := c.StdinPipe()
	out, _ := c.StdoutPipe()
	if set != nil {
		set(c, in)
	}
	if err := c.Start(); err != nil {
		return err
	}
	io.ReadFull(out, make([]byte, 6))
	if strings.Contains(script, "ready") {
		io.ReadFull(out, make([]byte, 6))
	}
	cancel()
	return c.Wait()
}

// run runs the command, which writes to w, and returns what can be read from r.
func run(c subject, w, r *os.File) string {
	err := c.Run()
	w.Close()
	out, _ := io.ReadAll(r)
	return fmt.Sprint(string(out), err)
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// socket returns a file as package net gives it out.
func socket(t *testing.T) *os.File {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); f.Close() })
	return f
}

func nonblocking(f *os.File) (set bool) {
	conn, err := f.SyscallConn()
	if err != nil {
		panic(err)
	}
	conn.Control(func(fd uintptr) {
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		if err != nil {
			panic(err)
		}
		set = flags&unix.O_NONBLOCK != 0
	})
	return set
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}
