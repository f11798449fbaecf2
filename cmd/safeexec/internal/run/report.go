package run

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/forkexec"
	"github.com/safeexec/safeexec/ofd"
	"github.com/safeexec/safeexec/spawn"
)

// Exit statuses of safeexec itself; any other is the command's.
const (
	exitFailed   = 125 // safeexec itself failed, or something was wrong with what it was asked
	exitNoExec   = 126 // the command was found but can't be executed
	exitNotFound = 127 // the command wasn't found
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
func (o *Options) report(stderr io.Writer, err error) {
	fmt.Fprintf(stderr, "safeexec: %s\n", text(err))
	if !o.statusFD.set {
		return
	}
	// If nobody reads it any more there is nobody to tell: the exit status says enough.
	os.NewFile(uintptr(o.statusFD.n), "status").WriteString(status(err))
}

// text is the error as people read it: "safeexec" is in front already.
func text(err error) string {
	var start *spawn.StartError
	if errors.As(err, &start) && start.Stage == stageExecute {
		return printable(start.Path) + ": " + start.Err.Error()
	}
	var refusal *ofd.Refusal
	if errors.As(err, &refusal) && start != nil {
		text := fmt.Sprintf("--private %d: %v", start.Number, refusal.Reason)
		switch {
		case refusal.Reason == ofd.ErrWritable:
			text += fmt.Sprintf("; say %d@append, or %[1]d@offset for an offset of its own", start.Number)
		case refusal.Err != nil:
			text += ": " + refusal.Err.Error()
		}
		return text
	}
	return oneLine(strings.TrimPrefix(err.Error(), "spawn: "))
}

// oneLine escapes what would break the line, or command a terminal, and leaves the rest of an error as it is.
func oneLine(s string) string {
	var line strings.Builder
	for i, size := 0, 0; i < len(s); i += size {
		var r rune
		r, size = utf8.DecodeRuneInString(s[i:])
		piece := s[i : i+size]
		if !strconv.IsPrint(r) || r == utf8.RuneError && size == 1 {
			quoted := strconv.Quote(piece)
			piece = quoted[1 : len(quoted)-1]
		}
		line.WriteString(piece)
	}
	return line.String()
}

// status is the line that --json-status-fd writes. Its names are a contract; stage is an option or a stage of the start.
func status(err error) string {
	stage, descriptor, errno := "options", "null", "null"
	var p *problem
	if errors.As(err, &p) {
		stage = p.stage
		if p.descriptor != none {
			descriptor = strconv.Itoa(p.descriptor)
		}
	}
	var start *spawn.StartError
	if errors.As(err, &start) {
		stage = start.Stage
		if start.Number >= 0 && start.Stage != forkexec.StageSignals.String() {
			descriptor = strconv.Itoa(start.Number)
		}
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		if name := unix.ErrnoName(number); name != "" {
			errno = jsonString(name)
		}
	}
	return fmt.Sprintf(`{"stage":%s,"descriptor":%s,"errno":%s,"exit-code":%d}`+"\n", jsonString(stage), descriptor, errno, exitStatus(err))
}

// jsonString quotes. A stage may have what the user wrote in it, so anything goes; encoding/json would cost every start its
// initialisation.
func jsonString(s string) string {
	quoted := []byte{'"'}
	for _, r := range s { // what isn't UTF-8 comes as U+FFFD
		switch {
		case r == '"' || r == '\\':
			quoted = append(quoted, '\\', byte(r))
		case r < ' ':
			quoted = fmt.Appendf(quoted, `\u%04x`, r)
		default:
			quoted = utf8.AppendRune(quoted, r)
		}
	}
	return string(append(quoted, '"'))
}
