// Package ofd works with open file descriptions: what stands behind descriptor numbers.
//
// A descriptor is a number in a process's table. It refers to a description, the kernel's object that holds the offset,
// the status flags (O_APPEND, O_NONBLOCK, ...), the owner of its signals, and locks. After dup, fork, or passing over a
// socket many descriptors refer to one description, and what any process does to it, all of them see: a moved offset,
// writes that suddenly fail with EAGAIN, a lock that is gone.
//
//	same, err := ofd.Same(0, 1)             // do they refer to one description?
//	before, err := ofd.StateOf(1)           // flags, offset, owner, locks
//	private, err := ofd.Reopen(1, ofd.Refuse)   // the same file, another description
//	...
//	after, err := ofd.StateOf(1)
//	for _, change := range before.Diff(after) {
//		log.Print(change)                   // "O_NONBLOCK set"
//	}
//	err = before.Restore(1)                 // the flags, as they were
//
// Same, SameIn and Group tell descriptions apart, in one process and in many. StateOf, StateIn, State.Diff and
// State.Restore see what happens to one. Reopen makes a new one of the same file, or says by a *Refusal why it can't. A File
// reads and writes through a shared description without being touched by what others do to it, and a Map reads a file
// that others may truncate. Send, Recv and RecvPrivate pass descriptors on, with one owner at every moment.
//
// What it doesn't do: a new description is of the same file. The bytes, the size of a pipe, a terminal's settings, the
// seals of a memfd belong to the file, and stay shared; so does a conflict between locks. Sockets, eventfds and their
// kind can't be opened again at all. Nothing here keeps another process from changing a description that it has: that
// is what a seccomp filter is for.
//
// Everything works on linux/amd64 and linux/arm64. Opening again and the lists of locks need /proc; what else a call
// needs of the kernel, it says.
package ofd
