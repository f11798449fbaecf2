package notify

import "golang.org/x/sys/unix"

const getdents = unix.SYS_GETDENTS
