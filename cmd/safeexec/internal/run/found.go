package run

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/safeexec/safeexec/fdtable"
)

// Descriptors that nobody wrote into a LIST, but that arguments and variables name: a shell's process substitution,
// systemd's socket activation, GNU make's jobserver.

// descriptorsInArgs returns the numbers that arguments name as /dev/fd/N or /proc/self/fd/N, each once, in ascending order.
func descriptorsInArgs(args []string) []int {
	var found []int
	for _, arg := range args {
		for _, prefix := range []string{"/dev/fd/", "/proc/self/fd/"} {
			for rest := arg; ; {
				i := strings.Index(rest, prefix)
				if i < 0 {
					break
				}
				i += len(prefix)
				after := rest[i:]
				rest = rest[i-1:] // its last slash may begin the next one
				digits := 0
				for digits < len(after) && after[digits] >= '0' && after[digits] <= '9' {
					digits++
				}
				if n, err := strconv.ParseInt(after[:digits], 10, 32); err == nil {
					found = append(found, int(n))
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// An environment is what its variables say about descriptors, to the process that has the PID.
type environment struct {
	variables []string
	pid       int
}

// get returns a variable's value: the first, where an environment repeats a name, as getenv(3) does.
func (e environment) get(name string) (string, bool) {
	for _, v := range e.variables {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// listenVariables are what systemd hands sockets over with (sd_listen_fds(3)).
var listenVariables = []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}

// withoutListen is the environment without the variables that would name descriptors which aren't there.
func (e environment) withoutListen() []string {
	return slices.DeleteFunc(slices.Clone(e.variables), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(listenVariables, name)
	})
}

// errNotForUs says that sockets were handed over to another process, which passed its environment on.
var errNotForUs = errors.New("LISTEN_PID is another process's; the variables are removed")

// listenDescriptors returns the numbers that LISTEN_FDS says were handed to this process: 3 and up.
func (e environment) listenDescriptors() ([]int, error) {
	pidText, ok := e.get("LISTEN_PID")
	if !ok {
		return nil, nil
	}
	pid, err := parsePositive(pidText)
	if err != nil {
		return nil, fmt.Errorf("LISTEN_PID: %w", err)
	}
	if pid != e.pid {
		return nil, errNotForUs
	}
	countText, ok := e.get("LISTEN_FDS")
	if !ok {
		return nil, nil
	}
	count, err := parsePositive(countText)
	if err != nil {
		return nil, fmt.Errorf("LISTEN_FDS: %w", err)
	}
	var numbers []int
	for n := 3; n < 3+count; n++ {
		if !fdtable.Inherited(n) { // before a large count fills memory
			return nil, fmt.Errorf("LISTEN_FDS is %d, but descriptor %d is not open", count, n)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// parsePositive reads a count or a PID; the text comes from the environment, so it is quoted in the error.
func parsePositive(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	return int(n), nil
}

// jobserverDescriptors returns the descriptors of the jobserver that MAKEFLAGS names, after a look that they are pipes: a
// number there may have been closed, and may be anything by now.
func (e environment) jobserverDescriptors() ([]int, error) {
	flags, _ := e.get("MAKEFLAGS")
	numbers, err := parseJobserver(flags)
	if err != nil {
		return nil, err
	}
	for _, n := range numbers {
		if !fdtable.Inherited(n) {
			return nil, fmt.Errorf("descriptor %d of MAKEFLAGS is not open (make passes it to recipes that begin with + or use $(MAKE))", n)
		}
		d, err := fdtable.Inspect(n)
		if err != nil && !errors.Is(err, fdtable.ErrNoProc) {
			return nil, err
		}
		if d.Kind != fdtable.KindPipe && d.Kind != fdtable.KindFIFO {
			return nil, fmt.Errorf("descriptor %d of MAKEFLAGS is no pipe but a %s", n, d.Kind)
		}
	}
	return numbers, nil
}

// parseJobserver reads MAKEFLAGS: --jobserver-auth=R,W (make 4.2), --jobserver-fds=R,W (before), --jobserver-auth=fifo:PATH
// (make 4.4, no descriptors); negative numbers mean that make has closed them. The last one counts, as in make. Behind -- are
// variables, which may have anything in them.
func parseJobserver(flags string) ([]int, error) {
	var auth string
	for _, word := range makeWords(flags) {
		if word == "--" {
			break
		}
		for _, name := range []string{"--jobserver-auth=", "--jobserver-fds="} {
			if value, ok := strings.CutPrefix(word, name); ok {
				auth = value
			}
		}
	}
	if auth == "" || strings.HasPrefix(auth, "fifo:") {
		return nil, nil
	}
	readText, writeText, ok := strings.Cut(auth, ",")
	read, err1 := strconv.ParseInt(readText, 10, 32)
	write, err2 := strconv.ParseInt(writeText, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return nil, fmt.Errorf("MAKEFLAGS: %q is neither R,W nor fifo:PATH", auth)
	}
	if read < 0 || write < 0 {
		return nil, nil
	}
	if read == write {
		return []int{int(read)}, nil
	}
	return []int{int(read), int(write)}, nil
}

// makeWords splits MAKEFLAGS as make does: at blanks, but for those behind a backslash.
func makeWords(flags string) []string {
	var words []string
	var word []byte
	inWord := false
	for i := 0; i < len(flags); i++ {
		switch c := flags[i]; {
		case c == ' ' || c == '\t':
			if inWord {
				words = append(words, string(word))
			}
			word, inWord = nil, false
			continue
		case c == '\\' && i+1 < len(flags):
			i++
		}
		word, inWord = append(word, flags[i]), true
	}
	if inWord {
		words = append(words, string(word))
	}
	return words
}
