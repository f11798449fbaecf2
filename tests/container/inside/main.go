// The runtime would hold the cgroup's files otherwise, under the low numbers that the tests ask about.
//go:debug containermaxprocs=0

// Command inside is what the tests start in containers. It prints, as a JSON object of strings, what it finds there. It needs
// neither /proc nor any other file.
//
//	inside [report [FILE ...]]  who and where it is, what it has inherited, and what reading the files comes to
//	inside try                  what operations on descriptors come to, on its own ones and on 3 if there is one
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	found := map[string]string{}
	if len(os.Args) == 1 {
		os.Args = append(os.Args, "report")
	}
	switch os.Args[1] {
	case "report":
		report(found, os.Args[2:])
	case "try":
		attempt(found)
	default:
		panic(os.Args[1])
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		panic(err)
	}
}

func report(found map[string]string, files []string) {
	found["pid"] = strconv.Itoa(os.Getpid())
	found["parent"] = strconv.Itoa(os.Getppid())
	found["uid"] = strconv.Itoa(os.Getuid())
	found["descriptors"] = inherited()
	found["capabilities"] = capabilities()
	found["root"] = outcome(writeRoot())
	found["proc"] = outcome(unix.Access("/proc/self", unix.F_OK))
	mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	found["seccomp"] = fmt.Sprint(mode, " ", outcome(err))
	nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	found["no-new-privs"] = fmt.Sprint(nnp, " ", outcome(err))
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			found["file "+name] = outcome(err)
			continue
		}
		found["file "+name] = string(text)
	}
	// After the files, because it takes the lowest free number.
	found["flock"] = outcome(unix.Flock(must(unix.MemfdCreate("own", unix.MFD_CLOEXEC)), unix.LOCK_SH))
}

// inherited lists the descriptors that are open without close-on-exec: Go opens its own with it.
func inherited() string {
	var numbers []string
	for n := range 1024 {
		if flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			numbers = append(numbers, strconv.Itoa(n))
		}
	}
	return strings.Join(numbers, ",")
}

func capabilities() string {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return outcome(err)
	}
	return fmt.Sprintf("%x", uint64(data[1].Effective)<<32|uint64(data[0].Effective))
}

func writeRoot() error {
	const name = "/written-by-a-test"
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	unix.Close(fd)
	return unix.Unlink(name)
}

// attempt tries the operations that safeexec can deny, and what a program does every day.
func attempt(found map[string]string) {
	file := must(unix.MemfdCreate("own", unix.MFD_CLOEXEC))
	operations(found, "own ", file)
	if _, err := unix.FcntlInt(3, unix.F_GETFD, 0); err == nil {
		operations(found, "3 ", 3)
	}
	found["stdout F_SETFL"], found["stdout becomes O_APPEND"] = appending(1)
	ordinary(found, file)
}

// appending sets O_APPEND, looks whether that is so, and puts things right again.
func appending(fd int) (set, is string) {
	before := must(unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0))
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, before|unix.O_APPEND)
	is = "no"
	if after := must(unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)); after&unix.O_APPEND != 0 {
		is = "yes"
		must(unix.FcntlInt(uintptr(fd), unix.F_SETFL, before))
	}
	return outcome(err), is
}

// fionbio is the request that sets or clears O_NONBLOCK on any file.
const fionbio = 0x5421

func operations(found map[string]string, whose string, fd int) {
	try := func(what string, err error) { found[whose+what] = outcome(err) }
	flags := must(unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0))
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_APPEND)
	try("F_SETFL", err)
	try("FIONBIO", unix.IoctlSetPointerInt(fd, fionbio, 0))
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETOWN, os.Getpid())
	try("F_SETOWN", err)
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETSIG, 0)
	try("F_SETSIG", err)
	try("flock", unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB))
	try("F_OFD_SETLK", unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Len: 1}))
	_, err = unix.Seek(fd, 0, unix.SEEK_SET)
	try("lseek", err)
	_, err = unix.Seek(fd, 0, unix.SEEK_CUR)
	try("lseek asking", err)
	try("fadvise", unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM))
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	try("F_DUPFD", err)
	unix.Close(copied)
	copied, err = unix.Dup(fd)
	try("dup", err)
	unix.Close(copied)
	try("fsync", unix.Fsync(fd))
	_, err = unix.Pread(fd, make([]byte, 1), 0)
	try("pread", err)
}

func ordinary(found map[string]string, file int) {
	try := func(what string, err error) { found[what] = outcome(err) }
	_, err := unix.Write(file, []byte("data"))
	try("write", err)
	var pipe [2]int
	try("pipe2", unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	try("socketpair", err)
	if err == nil {
		try("SCM_RIGHTS", unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(file), nil, 0))
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	try("socket AF_UNIX", err)
	unix.Close(socket)
	socket, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	try("socket AF_INET", err)
	unix.Close(socket)
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 0, 0, 0)
	try("io_uring_setup", errno)
	unix.Close(int(ring))
	self := must(unix.PidfdOpen(os.Getpid(), 0))
	copied, err := unix.PidfdGetfd(self, file, 0)
	try("pidfd_getfd", err)
	unix.Close(copied)
	child, err := os.StartProcess(os.Args[0], []string{os.Args[0], "report"}, &os.ProcAttr{})
	try("start", err)
	if err == nil {
		state, err := child.Wait()
		try("wait", err)
		found["status"] = strconv.Itoa(state.ExitCode())
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// outcome is ok or the name of the kernel's error.
func outcome(err error) string {
	var errno unix.Errno
	switch {
	case err == nil:
		return "ok"
	case !errors.As(err, &errno):
		return err.Error()
	case errno == 0:
		return "ok"
	}
	return unix.ErrnoName(errno)
}
