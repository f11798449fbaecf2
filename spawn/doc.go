// Package spawn starts programs with exactly the descriptors that are named, in place of os/exec: change the import, and the
// package's name, and a program works as before, except that what it starts holds nothing that it wasn't given.
//
//	cmd := spawn.Command("worker", "-q")
//	cmd.Stdout = os.Stdout
//	cmd.Pass = []spawn.Descriptor{
//		{Number: 3, File: listener},
//		{Number: 4, File: logfile, Mode: spawn.Private},
//	}
//	if err := cmd.Run(); err != nil {
//		log.Fatal(err)
//	}
//
// A Cmd has the fields and methods of os/exec's, and a few more: Pass gives descriptors at numbers of one's choice, Guard keeps
// the command's hands off the caller's descriptions, Filter and NoNewPrivs restrict the command and not the caller. Exec is the
// other door: it replaces this process.
//
// # How it differs from os/exec
//
// Error, ExitError, ErrDot, ErrNotFound, ErrWaitDelay and LookPath are os/exec's own, by another name, so that errors.Is and
// errors.As find them under both. The differences are these:
//
//	                                 os/exec                             spawn
//	a descriptor that isn't          the command has it                  it is closed in the child
//	close-on-exec, or not yet
//	a pipe, FIFO or terminal in      made blocking, for everybody        left as it is; the command gets a private,
//	non-blocking mode                who shares it, if Go made it so     blocking description of the same file
//	a file that is closed            the number is closed                refused: "pass descriptor 3: file already closed"
//	an error on the way, but for     *fs.PathError "fork/exec", which    *StartError with the stage; errors.As makes
//	executing the program itself     doesn't say what failed             the *fs.PathError of it that os/exec returns,
//	                                                                     but os.IsNotExist and its like don't
//	a Dir that is missing            "chdir /nope: no such file ..."     "spawn: /bin/x: change directory to /nope: ..."
//	/dev/null for a nil stream       opened by the caller                opened by the child: it costs the caller nothing
//	GODEBUG=execwait                 is heeded                           isn't
//
// What os/exec says of a program that can't be executed, spawn says in the very same way: a bare *fs.PathError with
// "fork/exec", because programs assert its type.
//
// Where a pipe, FIFO or terminal can't be opened again (its other side is gone, it belongs to another user, there is no /proc), and
// for sockets always, Stdin, Stdout, Stderr and ExtraFiles do what os/exec does: what Go has made non-blocking becomes blocking
// for everybody who shares it. Pass leaves such a one as it is.
//
// From the first start on the process keeps up to eight low descriptor numbers, close-on-exec, as places for what is passed. The
// kernel copies the child's table up to the highest number that it is given, and a busy server's fresh pipe has a high one; so
// a start costs the same with 10 and with 10,000 open descriptors. A program that closes them loses nothing but speed.
//
// # What it takes
//
// Linux 5.9 with close_range(2), or procfs at /proc: older kernels and sandboxes that refuse the call make the child close by
// the size of its table. Where neither is to be had, nothing is started. Everything works on amd64 and arm64.
//
// The child gets the RLIMIT_NOFILE that this process was started with, unless the program has set another; the signals that
// this process ignores, with the default for the rest; and the signal mask of the thread. CLONE_VFORK holds the
// calling goroutine, and a garbage collection that wants to begin, until the program is executed.
//
// # What it doesn't protect from
//
// What is passed shared is shared: the command may change its offset, flags and locks, unless Mode or Guard says otherwise. A
// private description is still of the same file. A descriptor that is given as a bare FD may be closed and reused by another
// goroutine while the start is under way. And nothing here limits what the command opens for itself.
package spawn
