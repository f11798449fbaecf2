package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/forkexec"
	"github.com/safeexec/safeexec/spawn"
)

// none stands for no descriptor.
const none = -1

// A problem is an error with what --json-status-fd tells of it.
type problem struct {
	stage      string // the option, or the stage of the start
	descriptor int    // or none
	err        error
}

func about(stage string, descriptor int, err error) error { return &problem{stage, descriptor, err} }

func (p *problem) Error() string { return p.stage + ": " + p.err.Error() }

func (p *problem) Unwrap() error { return p.err }

// stageExecute is the stage in which the kernel takes the program, or in which there was none to take.
var stageExecute = forkexec.StageExec.String()

// exitStatus is 127 for a command that isn't there and 126 for one that can't be executed; all else is our own failure.
func exitStatus(err error) int {
	var start *spawn.StartError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &start) || start.Stage != stageExecute:
		return exitFailed
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return exitNotFound
	}
	return exitNoExec
}

// report says on one line, and on the status descriptor as one object, why there was no start.
func (o *options) report(stderr io.Writer, err error) {
	fmt.Fprintf(stderr, "safeexec: %s\n", text(err))
	if !o.statusFD.set {
		return
	}
	line, jsonErr := json.Marshal(status(err))
	if jsonErr == nil {
		// If nobody reads it any more there is nobody to tell: the exit status says enough.
		os.NewFile(uintptr(o.statusFD.n), "status").Write(append(line, '\n'))
	}
}

// text is the error as people read it: "safeexec" is in front already.
func text(err error) string {
	var start *spawn.StartError
	if errors.As(err, &start) && start.Stage == stageExecute {
		return printable(start.Path) + ": " + start.Err.Error()
	}
	return printable(strings.TrimPrefix(err.Error(), "spawn: "))
}

// A statusObject is what --json-status-fd writes. Its names are a contract.
type statusObject struct {
	Stage      string  `json:"stage"`
	Descriptor *int    `json:"descriptor"`
	Errno      *string `json:"errno"`
	ExitCode   int     `json:"exit-code"`
}

func status(err error) statusObject {
	object := statusObject{Stage: "options", ExitCode: exitStatus(err)}
	var p *problem
	if errors.As(err, &p) {
		object.Stage = p.stage
		if p.descriptor != none {
			object.Descriptor = &p.descriptor
		}
	}
	var start *spawn.StartError
	if errors.As(err, &start) {
		object.Stage = start.Stage
		if start.Number >= 0 && start.Stage != forkexec.StageSignals.String() {
			object.Descriptor = &start.Number
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if name := unix.ErrnoName(errno); name != "" {
			object.Errno = &name
		}
	}
	return object
}
