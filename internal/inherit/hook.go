//go:build !race && !libseccomp && !msan && !asan

package inherit

import _ "unsafe" // for go:linkname

// early is what the hook calls first, where some package has given the variable a value, as package runtime/cgo does with
// _cgo_init. It gets the arguments, and the stack pointer.
//
//go:linkname early safeexecEarly
var early func(argc int, argv **byte, stack uintptr)

var _ = &early // the hook uses it, in assembly

// Written by the hook, before any other code of the process.
var ignoredAtStart, blockedAtStart uint64

// threadArea is where the first thread's g lives: the runtime leaves setting it up to the hook. It is never collected.
var threadArea [4]uintptr

var _ = &threadArea // the hook uses it, in assembly

// The runtime calls _cgo_init, when it is set, as the first thing of all.
//
//go:linkname safeexecStartHook safeexecStartHook
//go:linkname cgoInit _cgo_init
var (
	safeexecStartHook byte
	cgoInit           = &safeexecStartHook
)
