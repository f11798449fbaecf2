package description

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

// A trial changes a description, and says what it looks like then.
type trial struct {
	name  string
	do    func(fd int) error
	after func(fd int) any // on a description of its own
	want  any
}

func fcntl(fd, command, argument int) error {
	_, err := unix.FcntlInt(uintptr(fd), command, argument)
	return err
}

func get(command int) func(fd int) any {
	return func(fd int) any {
		value, err := unix.FcntlInt(uintptr(fd), command, 0)
		if err != nil {
			return err
		}
		return value
	}
}

func flag(bit int) func(fd int) any {
	return func(fd int) any {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		return fmt.Sprint(err, flags&bit != 0)
	}
}

func ioctl(request uintptr, value int32) func(fd int) error {
	return func(fd int) error {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&value))); errno != 0 {
			return errno
		}
		return nil
	}
}

func ofdLock(command int, kind int16) func(fd int) error {
	return func(fd int) error {
		return unix.FcntlFlock(uintptr(fd), command, &unix.Flock_t{Type: kind, Start: 3, Len: 4})
	}
}

// held is what the kernel shows as this description's locks.
func held(fd int) any {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return err
	}
	var kinds []string
	for line := range strings.Lines(string(info)) {
		if words := strings.Fields(line); words[0] == "lock:" {
			kinds = append(kinds, words[2]+" "+words[4])
		}
	}
	return strings.Join(kinds, ",")
}

func offset(fd int) any {
	n, err := unix.Seek(fd, 0, unix.SEEK_CUR)
	return fmt.Sprint(n, err)
}

const (
	fionbio  = 0x5421
	fioasync = 0x5452
)

type ownerEx struct{ kind, id int32 }

// ownerOf asks in the way that can tell a group from an error.
func ownerOf(fd int) any {
	var owner ownerEx
	_, _, errno := unix.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETOWN_EX, uintptr(unsafe.Pointer(&owner)))
	if errno != 0 {
		return errno
	}
	return owner
}

func setOwnerEx(fd int) error {
	owner := ownerEx{1, int32(os.Getpid())}
	_, _, errno := unix.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETOWN_EX, uintptr(unsafe.Pointer(&owner)))
	if errno != 0 {
		return errno
	}
	return nil
}

var trials = []trial{
	{"F_SETFL O_NONBLOCK", func(fd int) error { return fcntl(fd, unix.F_SETFL, unix.O_NONBLOCK) }, flag(unix.O_NONBLOCK), "<nil> true"},
	{"F_SETFL O_APPEND", func(fd int) error { return fcntl(fd, unix.F_SETFL, unix.O_APPEND) }, flag(unix.O_APPEND), "<nil> true"},
	{"F_SETFL O_NOATIME", func(fd int) error { return fcntl(fd, unix.F_SETFL, unix.O_NOATIME) }, flag(unix.O_NOATIME), "<nil> true"},
	{"F_SETFL 0", func(fd int) error { return fcntl(fd, unix.F_SETFL, 0) }, flag(unix.O_NOATIME), "<nil> false"},
	{"FIONBIO", ioctl(fionbio, 1), flag(unix.O_NONBLOCK), "<nil> true"},
	{"FIONBIO off", ioctl(fionbio, 0), flag(unix.O_NONBLOCK), "<nil> false"},
	{"F_SETOWN", func(fd int) error { return fcntl(fd, unix.F_SETOWN, os.Getpid()) }, get(unix.F_GETOWN), os.Getpid()},
	{"F_SETOWN nobody", func(fd int) error { return fcntl(fd, unix.F_SETOWN, 0) }, get(unix.F_GETOWN), 0},
	{"F_SETOWN_EX", setOwnerEx, get(unix.F_GETOWN), os.Getpid()},
	{"F_SETSIG", func(fd int) error { return fcntl(fd, unix.F_SETSIG, int(unix.SIGUSR1)) }, get(unix.F_GETSIG), int(unix.SIGUSR1)},
	{"F_SETSIG off", func(fd int) error { return fcntl(fd, unix.F_SETSIG, 0) }, get(unix.F_GETSIG), 0},
	{"flock", func(fd int) error { return unix.Flock(fd, unix.LOCK_EX) }, held, "FLOCK WRITE"},
	{"flock LOCK_SH", func(fd int) error { return unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) }, held, "FLOCK READ"},
	{"flock LOCK_UN", func(fd int) error { return unix.Flock(fd, unix.LOCK_UN) }, held, ""},
	{"F_OFD_SETLK", ofdLock(unix.F_OFD_SETLK, unix.F_WRLCK), held, "OFDLCK WRITE"},
	{"F_OFD_SETLKW", ofdLock(unix.F_OFD_SETLKW, unix.F_RDLCK), held, "OFDLCK READ"},
	{"F_OFD_SETLK unlock", ofdLock(unix.F_OFD_SETLK, unix.F_UNLCK), held, ""},
	{"F_SETLEASE", func(fd int) error { return fcntl(fd, unix.F_SETLEASE, unix.F_WRLCK) }, held, "LEASE WRITE"},
	{"the lease's owner", func(int) error { return nil }, get(unix.F_GETOWN), os.Getpid()},
	{"F_SETLEASE F_UNLCK", func(fd int) error { return fcntl(fd, unix.F_SETLEASE, unix.F_UNLCK) }, held, ""},
	{"lseek", func(fd int) error { _, err := unix.Seek(fd, 1000, unix.SEEK_SET); return err }, offset, "1000 <nil>"},
	{"lseek back", func(fd int) error { _, err := unix.Seek(fd, -10, unix.SEEK_CUR); return err }, offset, "990 <nil>"},
}

// onPipe are those that a regular file doesn't do.
var onPipe = []trial{
	{"FIOASYNC", ioctl(fioasync, 1), flag(unix.O_ASYNC), "<nil> true"},
	{"FIOASYNC off", ioctl(fioasync, 0), flag(unix.O_ASYNC), "<nil> false"},
	{"F_SETFL O_ASYNC", func(fd int) error { return fcntl(fd, unix.F_SETFL, unix.O_ASYNC) }, flag(unix.O_ASYNC), "<nil> true"},
	{"F_SETFL O_DIRECT", func(fd int) error { return fcntl(fd, unix.F_SETFL, unix.O_DIRECT) }, flag(unix.O_DIRECT), "<nil> true"},
	{"F_SETOWN a group", func(fd int) error { return fcntl(fd, unix.F_SETOWN, -unix.Getpgrp()) }, ownerOf, ownerEx{2, int32(unix.Getpgrp())}},
}

// tries tries everything on the guarded descriptor under several numbers, and on descriptions of its own. It prints what it
// didn't expect.
func tries(args []string) int {
	guardedBy := []int{3}
	if dup, err := unix.Dup(3); err != nil {
		fmt.Println("dup:", err)
	} else {
		guardedBy = append(guardedBy, dup)
	}
	if err := unix.Dup2(3, 50); err != nil {
		fmt.Println("dup2:", err)
	}
	guardedBy = append(guardedBy, 50)
	for _, fd := range guardedBy {
		for _, try := range trials {
			if try.name == "the lease's owner" {
				continue
			}
			if err := try.do(fd); err != unix.EPERM {
				fmt.Printf("%s on descriptor %d: %v\n", try.name, fd, err)
			}
		}
	}
	own, err := os.OpenFile(args[0], os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	onOwn(int(own.Fd()), trials)
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		fmt.Println(err)
	}
	onOwn(pipe[1], onPipe)
	socket, _ := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	onOwn(socket[0], trials[4:6])
	for _, try := range []trial{
		{name: "a bad number", do: func(int) error { return fcntl(999, unix.F_SETFL, 0) }, want: unix.EBADF},
		{name: "a bad address", do: func(fd int) error {
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fionbio, 8)
			return errno
		}, want: unix.EFAULT},
		{name: "a bad operation", do: func(fd int) error { return unix.Flock(fd, 77) }, want: unix.EINVAL},
		{name: "F_NOTIFY, which nobody can do for another", do: func(fd int) error { return fcntl(fd, unix.F_NOTIFY, 1) }, want: nil},
	} {
		if err := try.do(socket[0]); try.want != nil && err != try.want {
			fmt.Printf("%s: %v\n", try.name, err)
		}
	}
	fmt.Println("done")
	return 0
}

func onOwn(fd int, trials []trial) {
	for _, try := range trials {
		err := try.do(fd)
		if after := try.after(fd); err != nil || after != try.want {
			fmt.Printf("%s on an own description: %v, then %v instead of %v\n", try.name, err, after, try.want)
		}
	}
}

// testOperations: nothing of what is guarded can be done, under whatever number; on its own descriptions a command does what it likes.
func testOperations(t *testing.T) {
	s := newStage(t)
	for _, options := range []string{guarded, guarded + " --guard-steal off --fd-passing allow"} {
		stdout, stderr, status := s.run(s.helper(options, "tries", s.dir+"/own"))
		if stdout != "done\n" || stderr != "" || status != 0 {
			t.Errorf("%s: status %d\n%s%s", options, status, stdout, stderr)
		}
		s.unchanged()
	}
}

// testOtherUser: what the kernel makes depend on the user isn't done with the supervisor's rights.
func testOtherUser(t *testing.T) {
	proctest.NeedRoot(t)
	s := newStage(t)
	roots, err := os.Create(s.dir + "/roots")
	if err != nil {
		t.Fatal(err)
	}
	defer roots.Close()
	cmd := s.command("--supervise --guard --keep 3,4:9", "/bin/sh", "-c", `
		exec setpriv --reuid 65534 --regid 65534 --clear-groups /usr/bin/python3 -c '
import fcntl, os
def do(name, command, argument):
	try: print(name, fcntl.fcntl(9, command, argument))
	except OSError as e: print(name, os.strerror(e.errno))
do("O_NOATIME", fcntl.F_SETFL, os.O_NOATIME)
do("lease", 1024, 1)
do("O_NONBLOCK", fcntl.F_SETFL, os.O_NONBLOCK)
do("owner", fcntl.F_SETOWN, os.getpid())
r, w = os.pipe()
do = lambda *a: print(fcntl.fcntl(w, fcntl.F_SETOWN, os.getpid()), fcntl.fcntl(w, fcntl.F_GETOWN) == os.getpid())
do()
'`)
	cmd.ExtraFiles = append(cmd.ExtraFiles, roots)
	stdout, stderr, status := s.run(cmd)
	// 9 is a description that is guarded too: so everything is refused there, and the pipe's owner is set by the command's own user.
	want := "O_NOATIME Operation not permitted\nlease Operation not permitted\nO_NONBLOCK Operation not permitted\n" +
		"owner Operation not permitted\n0 True\n"
	if stdout != want || status != 0 {
		t.Errorf("status %d, %q, want %q; %s", status, stdout, want, stderr)
	}

	// A file that the command opens itself, and that is root's: the kernel would refuse, and so do we, root or not.
	cmd = s.command("--supervise --guard --keep 3", "/bin/sh", "-c", `
		exec 9<roots
		exec setpriv --reuid 65534 --regid 65534 --clear-groups /usr/bin/python3 -c '
import fcntl, os
def do(name, command, argument):
	try: print(name, fcntl.fcntl(9, command, argument))
	except OSError as e: print(name, os.strerror(e.errno))
do("O_NOATIME", fcntl.F_SETFL, os.O_NOATIME)
do("lease", 1024, 0)
do("O_NONBLOCK", fcntl.F_SETFL, os.O_NONBLOCK)
'`)
	stdout, stderr, status = s.run(cmd)
	if want := "O_NOATIME Operation not permitted\nlease Permission denied\nO_NONBLOCK 0\n"; stdout != want || status != 0 {
		t.Errorf("status %d, %q, want %q; %s", status, stdout, want, stderr)
	}
	s.unchanged()
}

// testShells: what a guard by number breaks works here.
func testShells(t *testing.T) {
	s := newStage(t)
	for _, shell := range []string{"sh", "bash"} {
		stdout, stderr, status := s.run(s.command(guarded, proctest.NeedTool(t, shell), "-c",
			`exec 4>&1; echo one 2>&1 >&4; exec 7<&3; read -r word rest <&7; echo "$word"; (echo two >&2) 2>&1; cat <<<x >/dev/null 2>&1 || :; echo three | cat`))
		if want := "one\nthe\ntwo\nthree\n"; stdout != want || shell == "bash" && stderr != "" || status != 0 {
			if shell == "bash" || !strings.Contains(stderr, "redirection") {
				t.Errorf("%s: status %d, %q, want %q; %s", shell, status, stdout, want, stderr)
			}
		}
	}
}

// testActions: what happens on a violation.
func testActions(t *testing.T) {
	s := newStage(t)
	try := `import fcntl, os, sys
try: fcntl.fcntl(3, fcntl.F_SETFL, os.O_APPEND); print("done")
except OSError as e: print(os.strerror(e.errno))`
	for _, test := range []struct {
		action, stdout, stderr string
		status                 int
	}{
		{"errno", "Operation not permitted\n", "", 0},
		{"errno=EBUSY", "Device or resource busy\n", "", 0},
		{"pretend", "done\n", "", 0},
		{"kill", "", "", 128 + int(syscall.SIGKILL)},
	} {
		stdout, stderr, status := s.run(s.command(guarded+" --on-violation "+test.action, "/usr/bin/python3", "-c", try))
		if stdout != test.stdout || stderr != test.stderr || status != test.status {
			t.Errorf("%s: status %d, %q, %q", test.action, status, stdout, stderr)
		}
		s.unchanged()
	}
	stdout, stderr, status := s.run(s.command(guarded+" --on-violation log", "/usr/bin/python3", "-c", try))
	if stdout != "done\n" || status != 0 || !strings.HasPrefix(stderr, "safeexec: log: ") ||
		!strings.HasSuffix(stderr, " (python3): fcntl(3, F_SETFL, 1024) on the description of 3\n") {
		t.Errorf("log: status %d, %q, %q", status, stdout, stderr)
	}
}
