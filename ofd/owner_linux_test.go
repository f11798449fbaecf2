package ofd

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// The owner is the description's: whoever's descriptor is asked through, what one process has set is told.
func TestOwnerIn(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	child := startOther(t, r)
	if owner, signal, err := OwnerIn(child.ref()); err != nil || owner != (Owner{}) || signal != 0 {
		t.Errorf("before: %v %v, %v", owner, signal, err)
	}
	own := Owner{Type: ownerProcess, ID: os.Getpid()}
	_, err = unix.FcntlInt(uintptr(number(t, r)), unix.F_SETOWN, own.ID)
	must(t, err)
	_, err = unix.FcntlInt(uintptr(number(t, r)), unix.F_SETSIG, int(unix.SIGUSR1))
	must(t, err)
	for _, ref := range []Ref{child.ref(), {PID: os.Getpid(), FD: number(t, r)}} {
		if owner, signal, err := OwnerIn(ref); err != nil || owner != own || signal != unix.SIGUSR1 {
			t.Errorf("%+v: %v %v, %v, want %v", ref, owner, signal, err, own)
		}
	}
}

func TestOwnerInErrors(t *testing.T) {
	for ref, want := range map[Ref]error{
		{PID: os.Getpid(), FD: 1 << 20}: unix.EBADF,
		{PID: 1 << 30, FD: 0}:           unix.ESRCH,
	} {
		if _, _, err := OwnerIn(ref); !errors.Is(err, want) {
			t.Errorf("%+v: %v, want %v", ref, err, want)
		}
	}
}
