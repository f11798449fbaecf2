package forkexec

import (
	"strconv"
	"syscall"
)

// A Stage is a step on the way from the caller to the new program. Its name stands in the error of a failed start.
type Stage uint8

// The stages, in the order in which they come.
const (
	StageFork       Stage = iota // make the process, or for Exec the thread
	StageListener                // install a filter that asks, and open its listener
	StageOwnTable                // take a table of its own, with nothing above the sources
	StageClose                   // close what is no source
	StageMapping                 // wait for, or write, the user and group mappings
	StageSession                 // setsid
	StageGroup                   // setpgid
	StageForeground              // make the process group the terminal's
	StagePlace                   // bring descriptors to their numbers
	StageNull                    // open /dev/null
	StageUnshare                 // unshare namespaces
	StagePrivate                 // make mounts private
	StageChroot                  // change the root
	StageGroups                  // setgroups
	StageGid                     // setgid
	StageUid                     // setuid
	StageAmbient                 // raise ambient capabilities
	StageDir                     // change directory
	StageDeathSig                // ask for a signal on the parent's death
	StageDetachTTY               // give up the controlling terminal
	StageTTY                     // take a controlling terminal
	StageLimit                   // restore RLIMIT_NOFILE
	StageTrace                   // be traced by the parent
	StageSignals                 // restore ignored and blocked signals
	StageNoNewPrivs              // set no_new_privs
	StageLandlock                // enter a Landlock domain
	StageFilter                  // install a seccomp filter
	StageExec                    // execute the program
)

var stageNames = [...]string{
	StageFork:       "fork",
	StageListener:   "install the filter that asks the supervisor",
	StageOwnTable:   "unshare the descriptor table",
	StageClose:      "close descriptors",
	StageMapping:    "map users and groups",
	StageSession:    "create a session",
	StageGroup:      "set the process group",
	StageForeground: "take the terminal's foreground",
	StagePlace:      "place descriptor",
	StageNull:       "open /dev/null as descriptor",
	StageUnshare:    "unshare namespaces",
	StagePrivate:    "make mounts private",
	StageChroot:     "change the root",
	StageGroups:     "set groups",
	StageGid:        "set the group",
	StageUid:        "set the user",
	StageAmbient:    "raise ambient capability",
	StageDir:        "change directory",
	StageDeathSig:   "set the parent death signal",
	StageDetachTTY:  "give up the controlling terminal",
	StageTTY:        "set the controlling terminal",
	StageLimit:      "restore the limit on descriptors",
	StageTrace:      "ask to be traced",
	StageSignals:    "restore signals",
	StageNoNewPrivs: "set no_new_privs",
	StageLandlock:   "enter the Landlock domain",
	StageFilter:     "install the seccomp filter",
	StageExec:       "execute",
}

// String is the stage's name.
func (s Stage) String() string { return stageNames[s] }

// An Error is a start that the kernel refused: the stage, the number that it was about (a descriptor, a capability), or
// -1, and the kernel's error, which errors.Is finds.
type Error struct {
	Stage  Stage
	Number int
	Errno  syscall.Errno
}

func (e *Error) Error() string {
	if e.Number >= 0 {
		return e.Stage.String() + " " + strconv.Itoa(e.Number) + ": " + e.Errno.Error()
	}
	return e.Stage.String() + ": " + e.Errno.Error()
}

func (e *Error) Unwrap() error { return e.Errno }
