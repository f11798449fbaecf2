package fdtable

import (
	"bytes"
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// Inherited reports whether the descriptor was inherited by this process: it is open, and not close-on-exec. An exec closes
// everything else, and Go's runtime opens its own close-on-exec.
func Inherited(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}

// AllInherited returns every inherited descriptor of this process, in ascending order. It asks fcntl(2) for each number up to
// the table's size, which takes procfs at /proc: no limit bounds what is open, since a limit can be lowered afterwards.
func AllInherited() ([]int, error) {
	size, err := tableSize()
	if err != nil {
		return nil, err
	}
	var found []int
	for fd := range size {
		if Inherited(fd) {
			found = append(found, fd)
		}
	}
	return found, nil
}

// CloseInherited closes every inherited descriptor of this process but the kept ones, and leaves what is close-on-exec
// alone. Marked, when it isn't nil, promises that nothing but these is close-on-exec: then close_range(2) (Linux 5.9) does it,
// at a cost that doesn't depend on the table's size. Otherwise, and where close_range is refused, each number is looked at,
// which takes procfs at /proc.
func CloseInherited(kept, marked []int) error {
	if marked != nil {
		spans := Gaps(append(append([]int(nil), kept...), marked...))
		err := closeSpans(spans)
		if err != unix.ENOSYS && err != unix.EPERM {
			return err
		}
	}
	stay := map[int]bool{}
	for _, fd := range kept {
		stay[fd] = true
	}
	inherited, err := AllInherited()
	if errors.Is(err, unix.EMFILE) && closeFirst(stay) {
		inherited, err = AllInherited()
	}
	if err != nil {
		return err
	}
	for _, fd := range inherited {
		if !stay[fd] {
			unix.Close(fd) // whatever it answers, the number is free afterwards
		}
	}
	return nil
}

// closeFirst makes room in a full table: it closes the first descriptor below the limit that would be closed anyway.
func closeFirst(stay map[int]bool) bool {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return false
	}
	for fd := 0; uint64(fd) < limit.Cur; fd++ {
		if !stay[fd] && Inherited(fd) {
			unix.Close(fd)
			return true
		}
	}
	return false
}

func closeSpans(spans []Span) error {
	for _, s := range spans {
		if err := unix.CloseRange(uint(s.First), uint(s.Last), 0); err != nil {
			return err
		}
	}
	return nil
}

// tableSize is the size of this process's table: every open descriptor's number is below it.
func tableSize() (int, error) {
	const path = "/proc/self/status"
	text, err := readProc(path)
	if err != nil {
		return 0, err
	}
	_, rest, ok := bytes.Cut(text, []byte("\nFDSize:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	size, err := strconv.Atoi(string(bytes.TrimSpace(line)))
	if !ok || err != nil {
		return 0, failed(path + ": no FDSize in it")
	}
	return size, nil
}

// readProc reads the beginning of a file below /proc, 4 KiB, and makes sure that it is procfs which answers: in a
// container anything may lie there. It doesn't use package os, whose files would start the runtime's poller.
func readProc(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, failed(path, err)
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return nil, failed(path, err)
	}
	if fs.Type != unix.PROC_SUPER_MAGIC {
		return nil, failed(path + " is not procfs")
	}
	buffer := make([]byte, 4096)
	n, err := unix.Read(fd, buffer)
	if err != nil {
		return nil, failed(path, err)
	}
	return buffer[:n], nil
}
