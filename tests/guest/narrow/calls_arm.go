package main

import "golang.org/x/sys/unix"

// What only arm has, or has in another form: a 64-bit argument begins at an even register.
func init() {
	attempts = append(attempts,
		attempt{"mode: arm_fadvise64_64", on(unix.SYS_ARM_FADVISE64_64, unix.FADV_RANDOM, 0, 0, 0, 0), false},
		attempt{"mode: readahead", on(unix.SYS_READAHEAD, 0, 0, 0, 4096), false},
		attempt{"wberr: arm_sync_file_range", on(unix.SYS_ARM_SYNC_FILE_RANGE, unix.SYNC_FILE_RANGE_WRITE, 0, 0, 0, 0), false})
}
