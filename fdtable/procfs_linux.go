package fdtable

import (
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// All that is opened here is opened by system call and close-on-exec. Package os would start Go's poller, which holds two
// descriptors of its own: a program that looks at its table must not change it.

// openProc opens /proc, unless something else is in its place: a file system that somebody mounted there can show any table.
func openProc() (int, error) {
	fd, err := openAt(unix.AT_FDCWD, "/proc", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, failed("", ErrNoProc, err)
	}
	if err := mustBeProc(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// openProcDirectory opens a directory below /proc. Single directories can be mounted over as well.
func openProcDirectory(at int, name string, flags int) (int, error) {
	fd, err := openAt(at, name, flags|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	if err := mustBeProc(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func mustBeProc(fd int) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return failed("", ErrNoProc, err)
	}
	if fs.Type != unix.PROC_SUPER_MAGIC {
		return failed("", ErrNoProc, failed("it isn't procfs"))
	}
	return nil
}

func openAt(at int, name string, flags int) (int, error) {
	return ignoreEINTR(func() (int, error) { return unix.Openat(at, name, flags|unix.O_CLOEXEC, 0) })
}

// readAt reads a whole file into buf's memory, or more where it doesn't fit.
func readAt(at int, name string, buf []byte) ([]byte, error) {
	fd, err := openAt(at, name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return readRest(fd, buf)
}

// readRest appends all that is left to read.
func readRest(fd int, data []byte) ([]byte, error) {
	for {
		data = slices.Grow(data, 512)
		n, err := ignoreEINTR(func() (int, error) { return unix.Read(fd, data[len(data):cap(data)]) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return data, nil
		}
		data = data[:len(data)+n]
	}
}

func readlinkAt(at int, name string, buf []byte) (string, error) {
	n, err := unix.Readlinkat(at, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// ignoreEINTR repeats a call that a signal has interrupted; Go's preemption sends many.
func ignoreEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// isQueue asks whether a descriptor of this process is a POSIX message queue, whatever its file looks like. The call with a
// null pointer for the new attributes only reads (mq_getsetattr(2)).
func isQueue(fd int) bool {
	var attributes [8]uintptr // struct mq_attr: eight longs
	_, _, errno := unix.Syscall(unix.SYS_MQ_GETSETATTR, uintptr(fd), 0, uintptr(unsafe.Pointer(&attributes)))
	return errno == 0
}

// isBinder reports whether a driver's name is that of Android's binder, also under the names of its instances.
func isBinder(driver string) bool { return strings.Contains(driver, "binder") }

// Processes lists the processes that this one can see, in ascending order of their numbers. Those that come and go meanwhile
// may be missing.
func (r *Reader) Processes() ([]Process, error) {
	fd, err := openProcDirectory(r.proc, ".", unix.O_RDONLY)
	if err != nil {
		return nil, failed("processes", err)
	}
	defer unix.Close(fd)
	all := &table{links: fd}
	pids, err := all.numbers(r.big())
	if err != nil {
		return nil, failed("processes", err)
	}
	processes := make([]Process, 0, len(pids))
	for _, pid := range pids {
		if p, err := r.Process(pid); err == nil { // else it is gone
			processes = append(processes, p)
		}
	}
	return processes, nil
}

// Process returns one line of the process list; 0 stands for this process. One that is gone gives unix.ESRCH.
func (r *Reader) Process(pid int) (Process, error) {
	if pid == 0 {
		pid = r.self
	}
	data, err := readAt(r.proc, strconv.Itoa(pid)+"/stat", r.info[:0])
	p, ok := parseStat(data)
	if err == nil && !ok {
		err = unix.EPROTO
	}
	if err != nil {
		return Process{PID: pid}, (&table{pid: pid}).failed(err)
	}
	return p, nil
}
