package spawn

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/ofd"
)

// An entry is a row of the child's table: which of the caller's descriptors becomes which number, and how.
type entry struct {
	number  int
	file    *os.File // nil: fd
	fd      int      // DevNull is /dev/null
	own     bool     // a pipe's end that nobody but the child will use
	pass    bool     // named by Pass, not by a field of os/exec
	asIs    bool     // also when it is non-blocking
	private bool
	relayed bool
	writing ofd.Writing
}

// entries are the child's whole table. What can be refused without a look at the kernel is refused before pipes are made.
func (c *Cmd) entries() ([]entry, error) {
	if err := c.checkPass(); err != nil {
		return nil, err
	}
	streams, err := c.streams()
	if err != nil {
		return nil, err
	}
	all := make([]entry, 0, 3+len(c.ExtraFiles)+len(c.Pass))
	for i, s := range streams {
		if !s.closed {
			all = append(all, entry{number: i, file: s.file, fd: DevNull, own: s.own})
		}
	}
	for i, f := range c.ExtraFiles {
		if f != nil {
			all = append(all, entry{number: 3 + i, file: f})
		}
	}
	for _, d := range c.Pass {
		all = append(all, entry{
			number: d.Number, file: d.File, fd: d.FD, pass: true,
			private: d.Mode == Private, relayed: d.Mode == Relayed, writing: d.Writing,
		})
	}
	return all, nil
}

// checkPass refuses numbers that can't be, or that something else has.
func (c *Cmd) checkPass() error {
	taken := make(map[int]bool, len(c.Pass))
	for _, d := range c.Pass {
		if err := c.checkDescriptor(d, taken[d.Number]); err != nil {
			return &StartError{Path: c.Path, Stage: stagePass, Number: d.Number, Err: err}
		}
		taken[d.Number] = true
	}
	return nil
}

func (c *Cmd) checkDescriptor(d Descriptor, taken bool) error {
	switch n := d.Number; {
	case n >= 0 && n < 3:
		return errors.New("it is the number of " + [...]string{"Stdin", "Stdout", "Stderr"}[n])
	case n >= 3 && n-3 < len(c.ExtraFiles):
		return fmt.Errorf("it is the number of ExtraFiles[%d]", n-3)
	}
	return checkDescriptor(d, taken)
}

// checkDescriptor refuses what can't be.
func checkDescriptor(d Descriptor, taken bool) error {
	switch {
	case d.Number < 0 || d.Number > math.MaxInt32:
		return errors.New("no descriptor can have this number")
	case taken:
		return errors.New("two elements of Pass have this number")
	case d.File == nil && d.FD < 0 && d.FD != DevNull:
		return fmt.Errorf("it has no File, and its FD is %d", d.FD)
	case d.Mode > Relayed:
		return fmt.Errorf("there is no Mode %d", d.Mode)
	case d.Mode == Relayed && d.File == nil && d.FD == DevNull:
		return errors.New("/dev/null can't be relayed")
	}
	return checkLimit(d)
}

// checkLimit refuses what nothing can be duplicated onto: the kernel would say no more than EBADF.
func checkLimit(d Descriptor) error {
	if d.File == nil && d.Number == d.FD {
		return nil // it is there already: a limit can be lowered under what is open
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if uint64(d.Number) >= limit.Cur {
		return fmt.Errorf("it is above the limit on descriptors, %d: %w", limit.Cur, unix.EBADF)
	}
	return nil
}
