// Package search looks commands up in PATH.
package search

import (
	"strings"

	"golang.org/x/sys/unix"
)

// DefaultPath is where commands are sought when there is no PATH at all, as execvp(3) does.
const DefaultPath = "/bin:/usr/bin"

// Find looks a command up as execvp(3) does: a name with a slash is a path, any other is sought in the directories of path, the
// value of PATH, where an empty one is the working directory. The error is a kernel's: unix.ENOENT where there is no such
// file, unix.EACCES where what there is may not be executed. (os/exec's LookPath refuses relative directories.)
func Find(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	reason := error(unix.ENOENT)
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "."
		}
		candidate := dir + "/" + name
		err := executable(candidate)
		if err == nil {
			return candidate, nil
		}
		if err == unix.EACCES { // remembered: found, in a way
			reason = err
		}
	}
	return name, reason
}

// executable asks as the effective user, which execve(2) goes by.
func executable(path string) error {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.EACCES
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}
