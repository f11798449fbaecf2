package spawn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/safeexec/safeexec/internal/forkexec"
)

// stagePass is the stage before all of package forkexec's.
const stagePass = "pass descriptor"

// stageGuard is what a guard takes before them.
const stageGuard = "guard"

// A StartError is a start that was refused: by the kernel, between fork and exec, or before that for what it asks.
// errors.Is finds the kernel's error in it, and errors.As an *fs.PathError with the operation and path that os/exec reports.
type StartError struct {
	Path   string // the program
	Stage  string // what was being done: "change directory", "place descriptor"
	Object string // the path that it was done to, or empty
	Number int    // the descriptor, user, group or capability that it was done to, or -1
	Err    error  // why not: the kernel's error as a rule
}

// Error names the program, the stage with what it was about, and the reason.
func (e *StartError) Error() string {
	var b strings.Builder
	b.WriteString("spawn: " + e.Path + ": " + e.Stage)
	if e.Object != "" {
		b.WriteString(" to " + e.Object)
	}
	if e.Number >= 0 || e.Stage == stagePass {
		b.WriteString(" " + strconv.Itoa(e.Number))
	}
	return b.String() + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *StartError) Unwrap() error { return e.Err }

// As fills in an *fs.PathError as os/exec would have returned it.
func (e *StartError) As(target any) bool {
	at, ok := target.(**fs.PathError)
	if !ok {
		return false
	}
	switch e.Stage {
	case forkexec.StageDir.String():
		*at = &fs.PathError{Op: "chdir", Path: e.Object, Err: e.Err}
	case forkexec.StageNull.String():
		*at = &fs.PathError{Op: "open", Path: os.DevNull, Err: e.Err}
	default:
		*at = &fs.PathError{Op: "fork/exec", Path: e.Path, Err: e.Err}
	}
	return true
}

// refused makes a StartError of what package forkexec says about a start of a.
func refused(a *forkexec.Attr, err error) *StartError {
	var at *forkexec.Error
	if !errors.As(err, &at) {
		return &StartError{Path: a.Path, Stage: forkexec.StageFork.String(), Number: -1, Err: err}
	}
	e := &StartError{Path: a.Path, Stage: at.Stage.String(), Number: at.Number, Err: at.Errno}
	switch at.Stage {
	case forkexec.StageDir:
		e.Object = a.Dir
	case forkexec.StageChroot:
		e.Object = a.Sys.Chroot
	case forkexec.StageListener:
		if at.Errno == syscall.EBUSY {
			e.Err = fmt.Errorf("a sandbox or guard around this one asks a supervisor already, and the kernel takes one: %w", at.Errno)
		}
	case forkexec.StageClose:
		e.Err = whyClose(at.Errno)
	}
	return e
}

// A closeError is a table that couldn't be emptied either way.
type closeError struct{ closeRange, proc error }

func (e *closeError) Error() string {
	return "close_range(2): " + e.closeRange.Error() + "; /proc/thread-self/status: " + e.proc.Error()
}

func (e *closeError) Unwrap() []error { return []error{e.proc, e.closeRange} }

func whyClose(err error) error {
	first := forkexec.WhyProc()
	if first == nil {
		return err
	}
	if errors.Is(err, syscall.ENOSYS) { // package forkexec's word for something else than procfs in its place
		err = errors.New("not on procfs")
	}
	return &closeError{first, err}
}
