// Package inherit tells a program that replaces itself what it was started with, where the Go runtime has changed it since:
// ignored signals, the signal mask, and the environment to the letter.
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

//go:linkname runtimeEnvs syscall.runtime_envs
func runtimeEnvs() []string
