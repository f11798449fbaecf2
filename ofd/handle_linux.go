package ofd

import (
	"io/fs"
	"sync/atomic"
)

// handle owns a descriptor or a mapping and counts who uses it, so that the number isn't closed, and opened as something
// else, while a call is under way.
type handle struct {
	// end gives up what is owned.
	end func() error
	// state is the number of users, with the two marks below.
	state atomic.Int64
}

const (
	closing int64 = 1 << 62 // nobody may begin
	gone    int64 = 1 << 61 // it is given up
)

// acquire reports whether what is owned may be used, until release.
func (h *handle) acquire() bool {
	if h.state.Add(1)&closing == 0 {
		return true
	}
	h.release()
	return false
}

func (h *handle) release() {
	if h.state.Add(-1) == closing {
		h.finish()
	}
}

func (h *handle) open() bool { return h.state.Load()&closing == 0 }

// close lets nobody begin any more, and gives up what is owned unless somebody still uses it, who then does.
func (h *handle) close() error {
	switch before := h.state.Or(closing); {
	case before&closing != 0:
		return fs.ErrClosed
	case before == 0:
		return h.finish()
	}
	return nil
}

// finish comes to the end once. Between the last release and here a latecomer may have come and been turned away,
// and ended up here too.
func (h *handle) finish() error {
	if !h.state.CompareAndSwap(closing, closing|gone) {
		return nil
	}
	return h.end()
}
