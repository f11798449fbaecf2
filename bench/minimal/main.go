// Minimal is the least that a Go program must do to start a command without the caller's descriptors: what safeexec's
// start-up is measured against.
package main

import (
	"os"
	"syscall"
)

// closing is set to "no" by the linker for the variant that passes everything on.
var closing = "yes"

func main() {
	if closing == "yes" {
		const closeRange, closeOnExec = 436, 4
		syscall.RawSyscall(closeRange, 3, ^uintptr(0)>>32, closeOnExec)
	}
	err := syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
	os.Stderr.WriteString(err.Error() + "\n")
	os.Exit(127)
}
