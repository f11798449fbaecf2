// Package startlimit remembers the limit on descriptors that the process was started with.
//
// Package syscall raises the soft RLIMIT_NOFILE while it is initialised, and puts it back only in its own fork and exec.
// Initialisation goes by dependency and then by import path: a package that imports nothing but unsafe is ready before
// syscall is, and sees the limit as it was. So this package may never import anything else, and asks the kernel in assembly.
package startlimit

import _ "unsafe" // for nothing: the import documents that there is no other

// noFile is what prlimit(2) filled in: soft and hard limit. Zero where it failed.
var noFile [2]uint64

var failed = prlimitNoFile(&noFile)

// NoFile returns the soft and the hard RLIMIT_NOFILE of the start; ok is false where the kernel didn't tell.
func NoFile() (soft, hard uint64, ok bool) { return noFile[0], noFile[1], failed == 0 }

// prlimitNoFile stores this process's RLIMIT_NOFILE and returns prlimit64's result. Linux 2.6.36.
//
//go:noescape
func prlimitNoFile(limit *[2]uint64) (result int64)
