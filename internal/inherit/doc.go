// Package inherit tells a program that replaces itself what it was started with, where the Go runtime has changed it since:
// ignored signals, the signal mask, the environment to the letter, and which descriptors are the runtime's own.
//
// The runtime installs its handlers over ignored signals before any Go code runs, so what was ignored must be read before
// that: in a start hook that the runtime calls first of all (hook_amd64.s, hook_arm64.s). It is the hook that package
// runtime/cgo fills in otherwise; a program that links runtime/cgo has a C constructor do the same (cgo.go).
//
// Only the command imports this package: a library has no business in a program's start.
package inherit

import _ "unsafe" // for go:linkname

// Signals returns the signals that were ignored and the ones that were blocked when the process was started: bit N-1 is
// signal N, as in /proc/PID/status.
func Signals() (ignored, blocked uint64) { return ignoredAtStart, blockedAtStart }

// Environment returns the environment as the process got it, repeated names and odd entries included, which os.Environ
// leaves out.
func Environment() []string { return runtimeEnvs() }

// RuntimeDescriptors returns the descriptors that the Go runtime holds for itself: epoll and eventfd of its poller, once
// that is in use. All are close-on-exec. A program that is built with containermaxprocs=0 holds no others.
func RuntimeDescriptors() []int {
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

//go:linkname runtimeEnvs syscall.runtime_envs
func runtimeEnvs() []string

//go:linkname isPollDescriptor internal/poll.runtime_isPollServerDescriptor
func isPollDescriptor(fd uintptr) bool
