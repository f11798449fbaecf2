package ofd

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAccidentsWithReopen has another process do what it likes to descriptor 3: with the shared description it happens
// to the caller's too, with a new one it doesn't.
func TestAccidentsWithReopen(t *testing.T) {
	accidents := []struct {
		name    string
		prepare func(fd int) error
		does    string
		words   string
	}{
		{"offset", nil, "read", "offset moved from 2 to 5"},
		{"rewind", nil, "rewind", "offset moved from 2 to 0"},
		{"O_APPEND", nil, "append", "O_APPEND set"},
		{"O_NONBLOCK", nil, "nonblock", "O_NONBLOCK set"},
		{"lock", func(fd int) error { return unix.Flock(fd, unix.LOCK_EX) }, "unlock", "exclusive flock dropped"},
	}
	for _, a := range accidents {
		t.Run(a.name, func(t *testing.T) {
			fd := open(t, fileWith(t, "0123456789"), unix.O_RDWR)
			must(t, seekTo(fd, 2))
			if a.prepare != nil {
				must(t, a.prepare(fd))
			}
			before, err := StateOf(fd)
			must(t, err)

			fresh, err := Reopen(fd, Offset)
			must(t, err)
			private := os.NewFile(uintptr(fresh), "private")
			defer private.Close()
			startOther(t, private).does(t, a.does)
			after, err := StateOf(fd)
			must(t, err)
			if changes := before.Diff(after); changes != nil {
				t.Errorf("private: %q", changes)
			}

			startOther(t, asFile(t, fd)).does(t, a.does)
			after, err = StateOf(fd)
			must(t, err)
			if changes := before.Diff(after); len(changes) != 1 || changes[0] != a.words {
				t.Errorf("shared: %q, want %q", changes, a.words)
			}
		})
	}
}

// TestAccidentsOnStreams leaves O_NONBLOCK behind on a shared pipe or terminal, by a process that is killed and can't put
// it back; and not on a private one.
func TestAccidentsOnStreams(t *testing.T) {
	_, writeEnd := pipe(t, 0)
	_, slave := pty(t)
	for name, fd := range map[string]int{"pipe": writeEnd, "terminal": slave} {
		for _, private := range []bool{true, false} {
			before, err := StateOf(fd)
			must(t, err)
			file := asFile(t, fd)
			if private {
				fresh, err := Reopen(fd, Refuse)
				must(t, err)
				file = os.NewFile(uintptr(fresh), "private")
				defer file.Close()
			}
			child := startOther(t, file)
			child.does(t, "nonblock")
			must(t, child.cmd.Process.Kill())
			child.end()
			after, err := StateOf(fd)
			must(t, err)
			if changes := before.Diff(after); (len(changes) == 0) != private {
				t.Errorf("%s, private %v: %q", name, private, changes)
			}
		}
	}
}
