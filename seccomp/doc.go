// Package seccomp turns what a command may not do to open file descriptions into a seccomp filter.
//
// A policy names operations (flags, lock, seek, ...) that are refused on every descriptor, and operations that are
// refused on certain descriptors only; it becomes a filter that any number of commands can use:
//
//	policy := seccomp.Policy{Guard: true, Landlock: seccomp.LandlockABI()}.Keep(
//		seccomp.Descriptor{Number: 3, Kind: seccomp.Regular, Guard: seccomp.DefaultGuard},
//	)
//	filter, err := seccomp.Compile(policy)
//	if err != nil {
//		return err
//	}
//	runtime.LockOSThread() // never unlocked: what is loaded stays with the thread
//	if err := filter.Load(); err != nil {
//		return err
//	}
//	return syscall.Exec(path, argv, environment)
//
// The filter is a list of what is refused, everything else is permitted. It compares what the kernel compares: the low
// half of descriptors, commands and requests, the whole of pointers and offsets. Calls that no rule names are decided
// by their number alone, so that the kernel (5.11 and newer) remembers the answer and does not run the filter.
//
// What it does not protect from: a filter sees numbers, not descriptions. After close(3) the next open gets number 3 and is
// guarded; put what is guarded high. The state of what a description refers to (a pipe's size, a file's length, a
// terminal's settings) is shared by other means and isn't held. A page that another process maps can delay a read
// that holds the lock on the offset. A process outside the tree with the same user may take descriptors out of the
// command; the filter is on the command only. New calls of future kernels are permitted until a rule names them.
package seccomp
