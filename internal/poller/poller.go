// Package poller tells which descriptors the Go runtime holds for itself.
package poller

import _ "unsafe" // for go:linkname

// Descriptors returns the epoll set and the eventfd of the runtime's poller, in ascending order, or nothing as long as the
// poller isn't in use: the first file of package os that is opened, and the first timer, start it. Both are close-on-exec.
// A program that is built with containermaxprocs=0 (package runtime) holds no others.
func Descriptors() []int {
	const never = ^uintptr(0) // the poller's number as long as there is none
	if isPollDescriptor(never) {
		return nil
	}
	var found []int
	for fd := uintptr(0); len(found) < 2; fd++ { // low numbers: it took the lowest that were free
		if isPollDescriptor(fd) {
			found = append(found, int(fd))
		}
	}
	return found
}

//go:linkname isPollDescriptor internal/poll.runtime_isPollServerDescriptor
func isPollDescriptor(fd uintptr) bool
