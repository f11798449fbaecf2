package fdtable

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// A place is what tells one directory, as it is mounted in one place, from another.
type place struct {
	device, inode, mount uint64
}

// placeOf looks at an open directory. Before Linux 5.8 mounts can't be told apart: then two of one file system are one.
func placeOf(fd int) (place, error) {
	var x unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_INO|unix.STATX_MNT_ID, &x)
	p := place{device: unix.Mkdev(x.Dev_major, x.Dev_minor), inode: x.Ino}
	if x.Mask&unix.STATX_MNT_ID != 0 {
		p.mount = x.Mnt_id
	}
	return p, err
}

// Outside reports whether a process's descriptor of a directory leads out of the process's root directory (chroot(2),
// pivot_root(2)), or into the mounts of another namespace: whoever holds it can walk up from there. A descriptor that isn't
// one of a directory gives unix.ENOTDIR. It takes the rights of List, and that to search the directories above.
func (r *Reader) Outside(pid, number int) (bool, error) {
	t, err := r.openTable(pid)
	if err != nil {
		return false, err
	}
	defer t.close()
	outside, err := t.outside(number)
	if err != nil {
		return false, failed("process "+strconv.Itoa(t.pid)+": descriptor "+strconv.Itoa(number), err)
	}
	return outside, nil
}

// outside walks up from the directory, as whoever holds it could, until it is at the process's root or at the end.
func (t *table) outside(number int) (bool, error) {
	root, err := openPlace(t.process, "root")
	if err != nil {
		return false, err
	}
	unix.Close(root.fd)
	at, err := openPlace(t.links, strconv.Itoa(number))
	if err != nil {
		return false, err
	}
	defer func() { unix.Close(at.fd) }()
	for at.place != root.place {
		above, err := openPlace(at.fd, "..")
		if err != nil {
			return false, err
		}
		if above.place == at.place { // the root of a tree of mounts, or our own
			unix.Close(above.fd)
			return true, nil
		}
		unix.Close(at.fd)
		at = above
	}
	return false, nil
}

// An openedPlace is a place with a descriptor of it.
type openedPlace struct {
	place
	fd int
}

func openPlace(at int, name string) (openedPlace, error) {
	fd, err := openAt(at, name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return openedPlace{}, err
	}
	p, err := placeOf(fd)
	if err != nil {
		unix.Close(fd)
		return openedPlace{}, err
	}
	return openedPlace{p, fd}, nil
}
