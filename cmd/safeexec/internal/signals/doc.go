// Package signals takes all signals of the process, with everything that the kernel tells about them, for a parent that
// passes them on.
//
// Package os/signal would do, but for three things. It doesn't say who sent a signal: what a terminal sends goes to a whole
// process group, and mustn't reach the command twice. It melts real-time signals together and drops their values. And it can't
// tell the SIGURG that the Go runtime sends to its own threads from one that is meant for us. So the handler is our own: a few lines
// of assembly that write the kernel's siginfo into a pipe, and don't touch the runtime.
//
// Only the command imports this package: it is for a process that does nothing else.
package signals
