package fdtable

import (
	"bytes"
	"encoding/binary"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// CgroupProcesses lists the processes of a cgroup and of all cgroups below it, in ascending order. The path is a directory of a
// cgroup file system (version 1 or 2) or a cgroup's name as in /proc/PID/cgroup, which is looked for in version 2 first. What
// isn't a cgroup gives unix.ENOTDIR or unix.ENOENT.
func (r *Reader) CgroupProcesses(name string) ([]int, error) {
	fd, err := r.openCgroup(path.Clean("/" + name))
	if err != nil {
		return nil, failed("cgroup "+Printable(name), err)
	}
	pids, err := r.walkCgroup(fd, nil, true)
	if err != nil {
		return nil, failed("cgroup "+Printable(name), err)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

func (r *Reader) openCgroup(name string) (int, error) {
	fd, err := openCgroupDirectory(unix.AT_FDCWD, name)
	if err == nil {
		return fd, nil
	}
	data, mountsErr := readAt(r.proc, "thread-self/mountinfo", nil)
	if mountsErr != nil {
		return -1, mountsErr
	}
	for _, mount := range parseCgroupMounts(data) {
		if directory, ok := mount.directoryOf(name); ok {
			if fd, mountErr := openCgroupDirectory(unix.AT_FDCWD, directory); mountErr == nil {
				return fd, nil
			}
		}
	}
	return -1, err
}

func openCgroupDirectory(at int, name string) (int, error) {
	fd, err := openAt(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return -1, err
	}
	var fs unix.Statfs_t
	err = unix.Fstatfs(fd, &fs)
	if err == nil && fs.Type != unix.CGROUP_SUPER_MAGIC && fs.Type != unix.CGROUP2_SUPER_MAGIC {
		err = unix.ENOTDIR
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// walkCgroup adds the processes of the directory and of those below it, and closes the directory. Below a threaded cgroup there
// are threads only (EOPNOTSUPP): their processes are listed further up.
func (r *Reader) walkCgroup(fd int, pids []int, top bool) ([]int, error) {
	defer unix.Close(fd)
	data, err := readAt(fd, "cgroup.procs", nil)
	switch {
	case err == nil:
		pids = parsePIDLines(pids, data)
	case top:
		return nil, err
	case err != unix.EOPNOTSUPP && err != unix.ENOENT && err != unix.ENODEV: // the last two: removed meanwhile
		return nil, err
	}
	below, err := r.subdirectories(fd)
	if err != nil && !top { // removed meanwhile
		return pids, nil
	}
	for _, name := range below {
		sub, err := openCgroupDirectory(fd, name)
		if err != nil {
			continue
		}
		if pids, err = r.walkCgroup(sub, pids, false); err != nil {
			return nil, err
		}
	}
	return pids, err
}

func (r *Reader) subdirectories(fd int) ([]string, error) {
	var names []string
	for {
		n, err := ignoreEINTR(func() (int, error) { return unix.Getdents(fd, r.big()) })
		if err != nil || n == 0 {
			return names, err
		}
		for name, kind := range entries(r.big()[:n]) {
			if kind == unix.DT_DIR && string(name) != "." && string(name) != ".." {
				names = append(names, string(name))
			}
		}
	}
}

// entries goes through a buffer of getdents64(2): an inode and an offset of eight bytes each, the entry's length in two, a
// type in one, and the name with a zero at its end.
func entries(buf []byte) func(yield func(name []byte, kind byte) bool) {
	const lengthAt, kindAt, nameAt = 16, 18, 19
	return func(yield func([]byte, byte) bool) {
		for len(buf) > nameAt {
			length := int(binary.NativeEndian.Uint16(buf[lengthAt:]))
			if length <= nameAt || length > len(buf) {
				return
			}
			name, _, _ := bytes.Cut(buf[nameAt:length], []byte{0})
			if !yield(name, buf[kindAt]) {
				return
			}
			buf = buf[length:]
		}
	}
}
