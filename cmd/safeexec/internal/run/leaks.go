package run

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/ofd"
)

// leaked are the descriptors that were inherited and go nowhere.
func (o *Options) leaked(t *table, inherited []int) []int {
	return slices.DeleteFunc(slices.Clone(inherited), func(n int) bool {
		return t.passes(n) || n <= 2 || o.statusFD.set && n == o.statusFD.n
	})
}

// handleLeaks does what --leaks says: name each leaked descriptor, and with error don't start.
func (o *Options) handleLeaks(t *table, inherited []int, stderr io.Writer) error {
	if o.leaks.word != "warn" && o.leaks.word != "error" {
		return nil
	}
	leaked := o.leaked(t, inherited)
	for _, n := range leaked {
		fmt.Fprintf(stderr, "safeexec: descriptor %d leaks: %s, inherited from %s\n", n, whatIs(n), origin(n))
	}
	if o.leaks.word == "error" && len(leaked) > 0 {
		err := fmt.Errorf("%d descriptors leak", len(leaked))
		if len(leaked) == 1 {
			err = errors.New("a descriptor leaks")
		}
		return about("--leaks error", leaked[0], err)
	}
	return nil
}

// whatIs describes a descriptor in a few words: kind, target, locks.
func whatIs(n int) string {
	d, err := fdtable.Inspect(n)
	if err != nil && !errors.Is(err, fdtable.ErrNoProc) {
		return "unknown"
	}
	words := []string{d.Kind.Words()}
	switch {
	case d.Socket != nil:
		words = append(words, d.Socket.String())
	case d.Target != "":
		words = append(words, fdtable.Printable(d.Target))
	}
	for _, lock := range d.Locks {
		words = append(words, "("+lockText(lock)+")")
	}
	return strings.Join(words, " ")
}

// lockText adds what closing does to a lock: a POSIX lock belongs to the process, and ends with any descriptor of its file.
func lockText(lock fdtable.Lock) string {
	if !lock.OnDescription() {
		return lock.String() + ", dropped when it is closed"
	}
	return lock.String()
}

// origin names who let a descriptor leak: the farthest ancestor in an unbroken line that holds the same description, else
// the parent, which has closed its own in the meantime. A container's first process has no parent that it could see.
func origin(n int) string {
	if os.Getppid() == 0 {
		return "outside of this PID namespace"
	}
	reader, err := fdtable.NewReader()
	if err != nil {
		return fmt.Sprintf("%d", os.Getppid())
	}
	defer reader.Close()
	processes, err := reader.Processes()
	if err != nil {
		return fmt.Sprintf("%d", os.Getppid())
	}
	byPID := map[int]fdtable.Process{}
	for _, p := range processes {
		byPID[p.PID] = p
	}
	at := os.Getppid()
	found := at
	for at > 0 && sameDescription(reader, at, n) {
		found = at
		at = byPID[at].Parent
	}
	return fmt.Sprintf("%d (%s)", found, fdtable.Printable(byPID[found].Name))
}

// sameDescription reports whether a process holds the description of our descriptor n. Its own number is tried first.
func sameDescription(reader *fdtable.Reader, pid, n int) bool {
	own := ofd.Ref{PID: os.Getpid(), FD: n}
	if same, err := ofd.SameIn(own, ofd.Ref{PID: pid, FD: n}); err == nil && same {
		return true
	}
	table, err := reader.List(pid)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(table, func(d fdtable.Descriptor) bool {
		same, err := ofd.SameIn(own, ofd.Ref{PID: pid, FD: d.Number})
		return err == nil && same
	})
}
