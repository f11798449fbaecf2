package spawn

import (
	"os"

	"github.com/safeexec/safeexec/ofd"
)

// A Mode says whose open file description a child's descriptor refers to.
type Mode uint8

const (
	// Shared: the child's descriptor refers to the caller's description, with its offset, flags and locks.
	Shared Mode = iota
	// Private: the child gets a description of its own of the same file, which is always blocking (package ofd, Reopen).
	// Descriptors that share one description with each other share the private one too.
	Private
)

// A Descriptor is one that a child is given: the caller's File, or where File is nil the caller's descriptor FD, becomes
// the child's descriptor Number. The caller keeps what is its own, and may close it once the child has been started.
//
// FD is borrowed as a bare number: nothing keeps another goroutine from closing it, and opening something else under
// it, before the start is over. A zero FD is descriptor 0, so a Descriptor without a File that leaves FD out
// passes the caller's standard input. FD may be DevNull.
type Descriptor struct {
	Number int
	File   *os.File
	FD     int
	Mode   Mode
	// Writing is for Private alone: what becomes of a writable file that isn't opened for appending. The zero value refuses
	// it, because two descriptions with two offsets would overwrite each other's data.
	Writing ofd.Writing
}
