// Package forkexec is the code between fork and exec: it makes a process, or for Exec a thread of this process, gives it a
// descriptor table with exactly the wanted descriptors, and executes a program in it.
//
// There are two doors and one code behind them:
//
//	Start  clone3(CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_CLEAR_SIGHAND)   a new process
//	Exec   clone3(CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_THREAD ...)      this process, whose other threads execve(2) ends
//
// Either way the new task begins in the caller's memory and with the caller's table. Its first act is close_range(2) with
// CLOSE_RANGE_UNSHARE, which gives it a table of its own and copies only what lies below the range: the cost doesn't grow
// with what the caller has open. Where close_range isn't to be had, the task starts with a copy of the table, and closes by
// /proc. (Exec with Leave keeps the caller's table instead, and its POSIX locks with it.) What goes wrong is told through the memory that both share; the caller's own table, limits and threads are as they
// were, so that a failed Exec simply returns.
//
// The files: plan.go turns an Attr into what the task works from, start.go is the parent's side, child.go the task's,
// clone_*.s the system call that makes it.
package forkexec
