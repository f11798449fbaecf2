package main

import "golang.org/x/sys/unix"

// What only i386 has, or has in another form.
func init() {
	attempts = append(attempts,
		attempt{"lock: fcntl F_OFD_SETLK", lock(unix.SYS_FCNTL, unix.F_OFD_SETLK), false},
		attempt{"mode: fadvise64", on(unix.SYS_FADVISE64, 0, 0, 0, unix.FADV_RANDOM), false},
		attempt{"mode: fadvise64_64", on(unix.SYS_FADVISE64_64, 0, 0, 0, 0, unix.FADV_RANDOM), false},
		attempt{"mode: readahead", on(unix.SYS_READAHEAD, 0, 0, 4096), false},
		attempt{"wberr: sync_file_range", on(unix.SYS_SYNC_FILE_RANGE, 0, 0, 0, 0, unix.SYNC_FILE_RANGE_WRITE), false},
		attempt{"pass: socketcall", socketcall, false})
	onDirectory = append(onDirectory, attempt{"seek: readdir", buffer(unix.SYS_READDIR, 1), false})
}

// socketcall makes a socket by the call that has the arguments of all others in memory.
func socketcall(int) error {
	const socket = 1
	arguments := [3]uintptr{unix.AF_INET, unix.SOCK_DGRAM, 0}
	fd, err := callFor(unix.SYS_SOCKETCALL, socket, address(&arguments))
	if err == nil {
		unix.Close(fd)
	}
	return err
}
