package spawn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/safeexec/safeexec/internal/relay"
	"github.com/safeexec/safeexec/seccomp"
)

// What programs compare with, assert or hand on is os/exec's own, so that a program may use both packages at once.
type (
	// Error is what LookPath returns.
	Error = exec.Error
	// ExitError reports a command that ended without success.
	ExitError = exec.ExitError
)

// The errors of os/exec, for errors.Is.
var (
	// ErrDot: the program was found by a PATH entry that is relative to the current directory.
	ErrDot = exec.ErrDot
	// ErrNotFound: no directory of PATH has the program.
	ErrNotFound = exec.ErrNotFound
	// ErrWaitDelay: the command succeeded, but WaitDelay ran out before its pipes were closed.
	ErrWaitDelay = exec.ErrWaitDelay
)

// LookPath is os/exec's: it looks for an executable file in the directories of PATH.
func LookPath(file string) (string, error) { return exec.LookPath(file) }

// A Cmd is a command to be started, or one that was. The fields that os/exec's Cmd has, and the methods, mean the same; a
// Cmd can be started once.
type Cmd struct {
	// Path is the program, relative to Dir where it isn't absolute. Nothing else must be set.
	Path string
	// Args are the arguments, the program's name first. When empty, it is {Path}.
	Args []string
	// Env is the environment, of which the last value of each name counts. When nil, it is the caller's, with PWD as Dir says.
	Env []string
	// Dir is where the command works. When empty, it is where the caller works.
	Dir string

	// Stdin is what the command reads: an *os.File directly, anything else through a pipe that a goroutine fills. When
	// nil, it is /dev/null.
	Stdin io.Reader
	// Stdout and Stderr are what the command writes to: an *os.File directly, anything else through a pipe that a goroutine
	// empties, the same one where both are equal. When nil, it is /dev/null.
	Stdout io.Writer
	Stderr io.Writer
	// ExtraFiles[i] becomes descriptor 3+i; a nil entry leaves that number closed.
	ExtraFiles []*os.File
	// Pass are more descriptors that the command is given, at numbers of their own.
	Pass []Descriptor

	// SysProcAttr are the attributes of package syscall. All fields are heeded.
	SysProcAttr *syscall.SysProcAttr
	// NoNewPrivs keeps the command from gaining privileges by execve(2): PR_SET_NO_NEW_PRIVS, in the child alone.
	NoNewPrivs bool
	// Filter restricts the command and all that it starts (package seccomp), its Landlock domain included. It is put in place
	// in the child alone, as the last act before execve(2), and implies NoNewPrivs. One filter serves any number of commands.
	Filter *seccomp.Filter
	// Guard keeps operations off the caller's descriptions. Its filter is in place before Filter.
	Guard *Guard

	// Process is the process, once started.
	Process *os.Process
	// ProcessState is how the process ended, once Wait or Run has seen it.
	ProcessState *os.ProcessState
	// Err is what looking for the program came to. Start returns it.
	Err error

	// Cancel is called when the context of CommandContext is done. It is Process.Kill unless set otherwise; nil does nothing.
	// What it returns is what Wait reports of a command that succeeded nevertheless: the context's error for nil, nothing for
	// os.ErrProcessDone.
	Cancel func() error
	// WaitDelay, if not zero, is the time from the context's end, or from the process's if that was earlier, after which
	// Wait kills the process and closes the pipes of the copying goroutines.
	WaitDelay time.Duration

	ctx     context.Context
	started int32

	// The pipes' ends: the child's are closed when the start is over, ours when the command is.
	theirs, ours []*os.File
	copies       []func() error
	copying      *copying
	relays       *relay.Set
	watcher      *watcher
}

// Command returns a Cmd that runs the program with the arguments. A name without a slash is looked for in PATH; what
// that came to is in Path and Err.
func Command(name string, arg ...string) *Cmd {
	found := exec.Command(name, arg...)
	return &Cmd{Path: found.Path, Args: found.Args, Err: found.Err}
}

// CommandContext is Command with a context, whose end kills the process, or does what Cancel and WaitDelay say.
func CommandContext(ctx context.Context, name string, arg ...string) *Cmd {
	if ctx == nil {
		panic("nil Context")
	}
	c := Command(name, arg...)
	c.ctx = ctx
	c.Cancel = func() error { return c.Process.Kill() }
	return c
}

// like is what os/exec knows of the command: enough to ask it for texts.
func (c *Cmd) like() *exec.Cmd {
	return &exec.Cmd{Path: c.Path, Args: c.Args, Env: c.Env, Dir: c.Dir, SysProcAttr: c.SysProcAttr, Err: c.Err}
}

// String is the command for a human reader. It isn't fit for a shell.
func (c *Cmd) String() string { return c.like().String() }

// Environ returns the environment that the command would be started with.
func (c *Cmd) Environ() []string { return c.like().Environ() }

// Run starts the command and waits for its end: nil after exit status 0, *ExitError after any other end.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and returns what it wrote to its standard output. If Stderr wasn't set, an *ExitError carries
// what it wrote there, or the beginning and the end of it.
func (c *Cmd) Output() ([]byte, error) {
	if c.Stdout != nil {
		return nil, errors.New("exec: Stdout already set")
	}
	var out bytes.Buffer
	c.Stdout = &out
	var said clip
	capture := c.Stderr == nil
	if capture {
		c.Stderr = &said
	}
	err := c.Run()
	if failed, ok := err.(*ExitError); ok && capture {
		failed.Stderr = said.bytes()
	}
	return out.Bytes(), err
}

// CombinedOutput runs the command and returns what it wrote to its standard output and error, in the order of writing.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	switch {
	case c.Stdout != nil:
		return nil, errors.New("exec: Stdout already set")
	case c.Stderr != nil:
		return nil, errors.New("exec: Stderr already set")
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}
