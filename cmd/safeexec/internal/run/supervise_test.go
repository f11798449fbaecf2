package run

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What couldn't be put back is said on one line.
func TestRestoreFails(t *testing.T) {
	err := snapshot{{number: 1, fd: none}, {number: 7, fd: none}}.restore()
	if !errors.Is(err, unix.EBADF) || !strings.HasPrefix(err.Error(), "descriptor 1, descriptor 7: ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%q", err)
	}
}
