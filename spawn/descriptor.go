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
	// Relayed: the child gets the other end of a fresh pipe, where the caller's is a pipe or FIFO, or of a socket pair, where it
	// is a connected stream socket, and goroutines carry the bytes until Wait. All that the command wrote before it ended arrives
	// before Wait returns, but for what WaitDelay cuts off; who writes later gets EPIPE. What was read ahead for the command and
	// not read by it is lost. Nothing else can be relayed. Descriptors of one pipe share the new one.
	//
	// In a ChildAttr it says that FD is such an end already: the caller carries the bytes, and a Guard leaves it alone.
	Relayed
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
