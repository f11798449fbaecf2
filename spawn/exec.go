package spawn

import (
	"errors"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/forkexec"
	"github.com/safeexec/safeexec/internal/poller"
	"github.com/safeexec/safeexec/seccomp"
)

// DevNull, as the FD of a Descriptor without a File, stands for /dev/null.
const DevNull = fdtable.Null

// An ExecAttr says what the program that replaces this process gets, beside its arguments and environment.
type ExecAttr struct {
	// Pass are the program's descriptors. 0, 1 and 2 stay as they are unless they are named here; nothing else is passed. None
	// can be Relayed by a process that is replaced.
	Pass []Descriptor

	// Guard keeps operations off the descriptions that are passed, and Filters restrict the program beside it, in their order.
	Guard   *Guard
	Filters []*seccomp.Filter

	// NoNewPrivs sets no_new_privs: no set-user-ID or file-capability program gives the new program more rights.
	NoNewPrivs bool

	// DeathSignal, unless zero, is sent to the program when its parent dies; at once when Parent isn't zero, and the parent
	// is another by now. A set-user-ID program is spared (prctl(2), PR_SET_PDEATHSIG).
	DeathSignal syscall.Signal
	Parent      int

	// Blocked, when not nil, is the program's signal mask, and Ignored are signals that it ignores besides those that this
	// process ignores: bit N-1 is signal N. The Go runtime changes both, for its own use.
	Blocked *uint64
	Ignored uint64

	// Alone is for a program that is there only to become another: it promises that nothing is open close-on-exec but what
	// the Go runtime holds for its poller, with containermaxprocs=0 (package runtime), and what Exec opens itself. Then the
	// table of this process is used as it is, which closes by ranges and keeps POSIX locks, unless a descriptor of Pass is to have a
	// number that is in use for that or by Spare. Spare are inherited descriptors that stay open here in case Exec fails;
	// they become close-on-exec, unless they are passed at their own numbers.
	Alone bool
	Spare []int
}

// Exec replaces this process by the program at path, as execve(2) does: same PID, no fork. The program holds the descriptors of
// attr.Pass and nothing else. Everything that this process has inherited and doesn't pass is closed before the kernel so
// much as looks at path, so that no path through /proc/self/fd leads out by a forgotten descriptor; what is
// close-on-exec is closed as soon as the exec has succeeded.
//
// Exec returns only on failure, with a *StartError. The process is then as before, but for the inherited descriptors that are
// not passed: they are closed when the refusal came from the kernel. With Alone what is passed may have moved as well.
// The program has its descriptors in a table of its own: POSIX locks of this process end, unless it is Alone.
//
// It needs Linux 5.9 (close_range(2)) or procfs at /proc. RLIMIT_NOFILE is put back as it was when the process started.
func Exec(path string, argv, env []string, attr *ExecAttr) error {
	if attr == nil {
		attr = &ExecAttr{}
	}
	a := &forkexec.Attr{
		Path:       path,
		Argv:       argv,
		Env:        env,
		Sys:        &syscall.SysProcAttr{Pdeathsig: attr.DeathSignal},
		Parent:     attr.Parent,
		NoNewPrivs: attr.NoNewPrivs,
		Mask:       attr.Blocked,
		Ignored:    attr.Ignored,
	}
	if attr.Guard != nil && attr.Guard.ByDescription {
		return &StartError{Path: path, Stage: stageGuard, Number: -1, Err: errors.New("nobody would be there to guard by description")}
	}
	t := table{path: path, guard: attr.Guard}
	err := refuseRelayed(path, attr.Pass)
	if err != nil {
		return err
	}
	if t.entries, err = execEntries(path, attr.Pass); err != nil {
		return err
	}
	err = t.with(0, func() error { return t.exec(a, attr) })
	t.release()
	return err
}

// exec replaces the process. Private descriptions and rulesets are close-on-exec: with a table of the caller's they are left
// to that.
func (t *table) exec(a *forkexec.Attr, attr *ExecAttr) error {
	path := a.Path
	a.Moves = t.moves
	rulesets, err := addFilters(a, append([]*seccomp.Filter{t.settled.filter}, attr.Filters...)...)
	defer closeNumbers(rulesets)
	if err != nil {
		return err
	}
	if leave, ok := attr.leave(a.Moves); ok {
		a.Leave = leave
		if forkexec.WhyProc() != nil { // the task will read /proc, and a full table has no number left for that
			err = closeInherited(attr, a)
		}
		if err == nil {
			err = markSpare(attr.Spare, a.Moves)
		}
	} else {
		a.Path = throughThread(path)
		err = closeInherited(attr, a)
	}
	if err != nil {
		return &StartError{Path: path, Stage: forkexec.StageClose.String(), Number: -1, Err: whyClose(err)}
	}
	refusal := refused(a, forkexec.Exec(a))
	refusal.Path = path
	return refusal
}

// marked is what is close-on-exec in a process that is alone; nil stands for anything. It must be asked for at the last
// moment, because whatever uses package os may start the poller.
func (attr *ExecAttr) marked() []int {
	if !attr.Alone {
		return nil
	}
	return append([]int{}, poller.Descriptors()...)
}

// leave returns what has to stay open in this process's table when the program is to get that very table; ok is false when
// that can't be: a passed descriptor would take the number of something that is needed until the exec has succeeded.
func (attr *ExecAttr) leave(moves []fdtable.Move) (numbers []int, ok bool) {
	if !attr.Alone {
		return nil, false
	}
	numbers = append(attr.marked(), attr.Spare...)
	for _, m := range moves {
		if m.From != m.To && slices.Contains(numbers, m.To) {
			return nil, false
		}
	}
	return slices.DeleteFunc(numbers, func(n int) bool {
		return slices.ContainsFunc(moves, func(m fdtable.Move) bool { return m.From == n })
	}), true
}

// markSpare keeps what is spared from the program.
func markSpare(spare []int, moves []fdtable.Move) error {
	for _, n := range spare {
		if slices.Contains(moves, fdtable.Move{From: n, To: n}) {
			continue
		}
		if _, err := unix.FcntlInt(uintptr(n), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return err
		}
	}
	return nil
}

// closeInherited leaves what the program's own table is made from, and what is spared.
func closeInherited(attr *ExecAttr, a *forkexec.Attr) error {
	kept := append(slices.Clone(attr.Spare), a.Landlock...)
	for _, m := range a.Moves {
		kept = append(kept, m.From)
	}
	return fdtable.CloseInherited(kept, attr.marked())
}

// execEntries are the descriptors that are named, and the standard ones that aren't.
func execEntries(path string, pass []Descriptor) ([]entry, error) {
	entries := make([]entry, 0, len(pass)+3)
	for _, d := range pass {
		named := slices.ContainsFunc(entries, func(e entry) bool { return e.number == d.Number })
		if err := checkDescriptor(d, named); err != nil {
			return nil, &StartError{Path: path, Stage: stagePass, Number: d.Number, Err: err}
		}
		entries = append(entries, entry{
			number: d.Number, file: d.File, fd: d.FD, pass: true, asIs: true,
			own: d.Mode == Relayed, private: d.Mode == Private, writing: d.Writing,
		})
	}
	for fd := range 3 {
		named := slices.ContainsFunc(pass, func(d Descriptor) bool { return d.Number == fd })
		if !named && isOpen(fd) {
			entries = append(entries, entry{number: fd, fd: fd, asIs: true})
		}
	}
	return entries, nil
}

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// throughThread makes a path that names one of the program's descriptors lead there. The thread that executes it has a table
// of its own, the program's already, while /proc/self is the process, where the numbers are still the caller's.
func throughThread(path string) string {
	for _, prefix := range []string{"/proc/self/fd/", "/dev/fd/"} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			return "/proc/thread-self/fd/" + rest
		}
	}
	return path
}
