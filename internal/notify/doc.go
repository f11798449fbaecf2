// Package notify guards descriptions, not numbers: it answers the calls that a filter hands over (seccomp_unotify(2)).
//
// A filter sees the number of a descriptor, and no filter knows what is behind it. So the filter asks about every call that
// could change a guarded description, and the supervisor finds out: it takes a descriptor of its own out of the caller's
// table (pidfd_getfd(2)) and compares descriptions (kcmp(2)). What is guarded gets the refusal. Anything else the
// supervisor does itself, on its own descriptor of the same description: were the caller told to go on, another of its threads
// could put a guarded description under the number in between.
//
// The supervisor mustn't become the caller's deputy: where the kernel looks at who does something (O_NOATIME, owners,
// leases), it is done with the caller's user and capabilities or not at all. And it mustn't be held up: memory of the caller
// may be such that reading it takes for ever, and locks are waited for by trying again.
//
// The files: guard_linux.go takes the questions and decides, call.go says what each call would do, caller_linux.go looks at who
// asks, perform_linux.go does what is permitted, watch_linux.go knows the guarded descriptions, listener_linux.go the kernel's interface.
package notify
