package spawn

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/forkexec"
	"github.com/safeexec/safeexec/ofd"
)

// high returns a descriptor of the same description with a number that is worth lowering.
func high(t *testing.T, f *os.File, above int) int {
	t.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, above)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func attrOf(sources ...int) *forkexec.Attr {
	a := &forkexec.Attr{}
	for i, fd := range sources {
		a.Moves = append(a.Moves, fdtable.Move{From: fd, To: i})
	}
	return a
}

func newPool(t *testing.T) *slotPool {
	p := &slotPool{master: -1}
	t.Cleanup(func() {
		for _, slot := range append(p.free, p.master) {
			if p.holds(slot, p.filler) {
				unix.Close(slot)
			}
		}
	})
	return p
}

func TestLower(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	one, two := high(t, r, 500), high(t, w, 500)
	p := newPool(t)
	a := attrOf(0, one, two, fdtable.Null, one)
	a.Landlock = []int{two}
	giveBack := p.lower(a)

	for i, source := range []int{0, one, two, fdtable.Null, one} {
		from := a.Moves[i].From
		if source < lowEnough {
			if from != source {
				t.Errorf("source %d became %d", source, from)
			}
			continue
		}
		if same, err := ofd.Same(source, from); from >= slotLimit || !same || err != nil {
			t.Errorf("source %d became %d: %v, %v", source, from, same, err)
		}
	}
	if a.Moves[1].From != a.Moves[4].From || a.Landlock[0] != a.Moves[2].From {
		t.Errorf("a source has two slots: %v %v", a.Moves, a.Landlock)
	}
	giveBack()
	if len(p.free) != slotCount || p.lent != 0 {
		t.Errorf("%d free and %d lent", len(p.free), p.lent)
	}
	for _, slot := range p.free {
		if !p.holds(slot, p.filler) {
			t.Errorf("slot %d isn't empty again", slot)
		}
	}
}

// TestLowerNothing: what is low stays, and so does everything where there are more sources than slots.
func TestLowerNothing(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var many []int
	for range slotCount + 1 {
		many = append(many, high(t, r, 500))
	}
	dir, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	p := newPool(t)
	for _, sources := range [][]int{{0, 1, 2}, many, {high(t, r, 500), high(t, dir, 500)}} {
		a := attrOf(sources...)
		giveBack := p.lower(a)
		for i, m := range a.Moves {
			if m.From != sources[i] {
				t.Errorf("source %d became %d", sources[i], m.From)
			}
		}
		giveBack()
	}
}

// TestSlotsTaken: a program that closes what it doesn't know, and opens something else there, keeps that.
func TestSlotsTaken(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	source := high(t, r, 500)
	for _, when := range []string{"free", "lent", "master"} {
		t.Run(when, func(t *testing.T) {
			p := newPool(t)
			p.lower(attrOf(source))()
			taken := slices.Clone(p.free[:2])
			giveBack := func() {}
			switch when {
			case "lent":
				giveBack = p.lower(attrOf(source))
			case "master":
				taken = []int{p.master}
			}
			theirs := high(t, w, 600)
			for _, fd := range taken {
				if err := unix.Dup3(theirs, fd, unix.O_CLOEXEC); err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
			}
			giveBack()
			a := attrOf(source)
			giveBack = p.lower(a)
			if same, err := ofd.Same(source, a.Moves[0].From); !same || err != nil || slices.Contains(taken, a.Moves[0].From) {
				t.Errorf("the source became %d: %v, %v", a.Moves[0].From, same, err)
			}
			giveBack()
			for _, fd := range taken {
				if same, err := ofd.Same(theirs, fd); !same || err != nil {
					t.Errorf("descriptor %d was overwritten", fd)
				}
				if slices.Contains(p.free, fd) || p.master == fd {
					t.Errorf("descriptor %d is still taken for a slot", fd)
				}
			}
			if len(p.free) != slotCount || p.lent != 0 {
				t.Errorf("%d free and %d lent", len(p.free), p.lent)
			}
		})
	}
}

// TestLowerKeepsLocks: a POSIX lock goes when any descriptor of the file is closed, so the file isn't lowered.
func TestLowerKeepsLocks(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "locked")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	source := high(t, f, 500)
	p := newPool(t)
	for _, locked := range []bool{false, true} {
		if locked {
			lock := unix.Flock_t{Type: unix.F_WRLCK}
			if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock); err != nil {
				t.Fatal(err)
			}
		}
		a := attrOf(source)
		p.lower(a)()
		if lowered := a.Moves[0].From != source; lowered == locked {
			t.Errorf("locked %v, lowered %v", locked, lowered)
		}
		if held, err := ofd.HoldsPOSIX(source); held != locked || err != nil {
			t.Errorf("the lock is gone: %v, %v", held, err)
		}
	}
}
