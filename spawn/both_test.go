package spawn_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/spawn"
)

// The suite runs one table of behaviours over both types. A command is what their methods have in common, and a subject
// adds the fields.
type command interface {
	Start() error
	Wait() error
	Run() error
	Output() ([]byte, error)
	CombinedOutput() ([]byte, error)
	StdinPipe() (io.WriteCloser, error)
	StdoutPipe() (io.ReadCloser, error)
	StderrPipe() (io.ReadCloser, error)
	Environ() []string
	String() string
}

// A subject is a command with pointers to its fields.
type subject struct {
	command

	Path         *string
	Args         *[]string
	Env          *[]string
	Dir          *string
	Stdin        *io.Reader
	Stdout       *io.Writer
	Stderr       *io.Writer
	ExtraFiles   *[]*os.File
	SysProcAttr  **syscall.SysProcAttr
	Process      **os.Process
	ProcessState **os.ProcessState
	Err          *error
	Cancel       *func() error
	WaitDelay    *time.Duration
}

func of(c command) subject {
	s := subject{command: c}
	pointers, fields := reflect.ValueOf(&s).Elem(), reflect.ValueOf(c).Elem()
	for i := 1; i < pointers.NumField(); i++ {
		name := pointers.Type().Field(i).Name
		pointers.Field(i).Set(fields.FieldByName(name).Addr())
	}
	return s
}

// A library is os/exec or this package.
type library struct {
	name    string
	empty   func() subject
	command func(name string, arg ...string) subject
	context func(ctx context.Context, name string, arg ...string) subject
}

var osExec = library{
	"os/exec",
	func() subject { return of(&exec.Cmd{}) },
	func(name string, arg ...string) subject { return of(exec.Command(name, arg...)) },
	func(ctx context.Context, name string, arg ...string) subject {
		return of(exec.CommandContext(ctx, name, arg...))
	},
}

var ours = library{
	"spawn",
	func() subject { return of(&spawn.Cmd{}) },
	func(name string, arg ...string) subject { return of(spawn.Command(name, arg...)) },
	func(ctx context.Context, name string, arg ...string) subject {
		return of(spawn.CommandContext(ctx, name, arg...))
	},
}

// helper returns a command that runs a helper of this test binary.
func (l library) helper(t testing.TB, name string, arg ...string) subject {
	t.Helper()
	c := l.command(proctest.Program(t), arg...)
	*c.Env = proctest.Environment(name)
	return c
}

func (l library) shell(script string, arg ...string) subject {
	return l.command("/bin/sh", append([]string{"-c", script, "sh"}, arg...)...)
}
