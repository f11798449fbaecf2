package relay

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A signal is given once, and wakes all who poll for it.
type signal struct {
	fd  int // an eventfd
	set atomic.Bool
}

func (s *signal) open() (err error) {
	if s.fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		s.fd = -1
	}
	return err
}

func (s *signal) number() int32 { return int32(s.fd) }

func (s *signal) given() bool { return s.set.Load() }

func (s *signal) give() {
	s.set.Store(true)
	unix.Write(s.fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}
