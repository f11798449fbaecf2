// Package relay stands between a caller's descriptions and a child that must not have them. The child gets the far end of
// something fresh of the same kind: of a pipe for a pipe or FIFO, of a socket pair for a stream socket, of a pseudo-terminal for a
// terminal. This process holds the near end and the caller's, and carries the bytes.
//
//	set, err := relay.Open([]relay.Request{{Number: 0, FD: 0}, {Number: 1, FD: 1}})
//	if err != nil {
//		return err // nothing was started
//	}
//	start(set.Far(0), set.Far(1)) // becomes the child's 0 and 1
//	set.Run()
//	wait()
//	set.Finish() // all that the child wrote has arrived
//
// The state of the caller's descriptions doesn't change. Each direction has a goroutine of its own, so that a reader who is
// slow holds up nobody but who writes to it.
//
// Bytes are read and written, not spliced. A page that splice(2) moves is lost to the pipe that it came from, which has to allocate
// another, while one that was copied is used again. Besides, splicing is for our own descriptions alone: on somebody else's it
// turns off calls that don't wait, for good (pipe_clear_nowait in the kernel's fs/splice.c, from 6.12 on).
//
// It doesn't carry what isn't bytes: descriptors and credentials that are sent over a socket, out-of-band data, the bounds of
// writes (but for pipes in packet mode).
package relay
