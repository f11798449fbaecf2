package run

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
)

// Only a descriptor that this process was given can be the front's, and it isn't passed on.
func TestFrontName(t *testing.T) {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, name := range []string{
		"", "safeexec", "safeexec (supervising)", "safeexec (supervising) ", "safeexec (supervising) x", "safeexec (supervising) 1",
		"safeexec (supervising) -1", "safeexec (supervising) 999999", fmt.Sprintf("safeexec (relay) %d", fd),
		fmt.Sprintf("safeexec (supervising) %d 1", fd),
	} {
		if got := frontOf(name); got.set {
			t.Errorf("%q: %d", name, got.n)
		}
	}
	if got := frontOf(fmt.Sprintf("safeexec (supervising) %d", fd)); got != (number{fd, true}) || fdtable.Inherited(fd) {
		t.Errorf("%+v, want %d, close-on-exec", got, fd)
	}
}
