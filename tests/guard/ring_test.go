package guard

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring makes an io_uring with one entry.
func ring() (int, unix.Errno) {
	var parameters [120]byte // struct io_uring_params
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&parameters)), 0)
	return int(fd), errno
}
