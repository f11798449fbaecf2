package relay

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
)

// A Request asks that one of the child's descriptors be relayed to one of the caller's.
type Request struct{ Number, FD int }

// ErrKind says that there is nothing to be carried, or no way to be as the original is.
var ErrKind = errors.New("only pipes and FIFOs that are open one way, terminals, and connected stream sockets can be relayed")

// An Error is about one of the child's descriptors.
type Error struct {
	Number int
	Err    error
}

func (e *Error) Error() string { return fmt.Sprintf("relay descriptor %d: %v", e.Number, e.Err) }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// A Set is all that is relayed for one child.
type Set struct {
	links      []*link
	directions []*direction
	events     events
	outputs    sync.WaitGroup
	all        sync.WaitGroup
}

// A link is what takes the place of one of the caller's pipes, sockets or terminals.
type link struct {
	numbers []int // the child's, in the order of the requests
	fds     []int // the caller's, by these
	kind    kind
	id      identity
	far     int       // the child's end, or -1
	master  *Terminal // of a terminal
}

// An identity tells objects apart. Descriptors of one pipe that are open in the same way get one end, whether or not they share a
// description: so does what is written to both keep its order.
type identity struct {
	dev, ino uint64
	access   int
}

// Open makes a Set, which carries nothing before Run. It refuses what can't be relayed, with an *Error. The caller's descriptors
// are borrowed for the call.
func Open(requests []Request) (*Set, error) {
	s := &Set{events: events{ended: signal{fd: -1}, cut: signal{fd: -1}}}
	for _, r := range requests {
		if err := s.add(r); err != nil {
			return nil, &Error{r.Number, err}
		}
	}
	if err := s.openAll(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Set) openAll() error {
	if err := cmp.Or(s.events.ended.open(), s.events.cut.open()); err != nil {
		return err
	}
	for _, l := range s.links {
		if err := s.open(l); err != nil {
			return &Error{l.numbers[0], err}
		}
	}
	return nil
}

// add finds the link that a request belongs to, or begins one.
func (s *Set) add(r Request) error {
	k, id, err := identify(r.FD)
	if err != nil {
		return err
	}
	for _, l := range s.links {
		if l.kind == k && l.id == id {
			l.numbers, l.fds = append(l.numbers, r.Number), append(l.fds, r.FD)
			return nil
		}
	}
	s.links = append(s.links, &link{numbers: []int{r.Number}, fds: []int{r.FD}, kind: k, id: id, far: -1})
	return nil
}

// identify says what is behind a descriptor, and refuses what isn't to be relayed.
func identify(fd int) (k kind, id identity, err error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return k, id, err
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return k, id, err
	}
	id = identity{uint64(stat.Dev), stat.Ino, flags & unix.O_ACCMODE}
	if flags&unix.O_PATH != 0 {
		return k, id, refuse(fd, "is open with O_PATH")
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		if id.access == unix.O_RDWR {
			return k, id, refuse(fd, "is open both ways")
		}
		return pipe, id, nil
	case unix.S_IFSOCK:
		return socket, id, checkSocket(fd)
	case unix.S_IFCHR:
		if device, ok := terminalDevice(fd); ok {
			return terminal, identity{dev: uint64(device)}, nil
		}
	}
	return k, id, refuse(fd, "")
}

// refuse says what it is, and how it is, where that matters.
func refuse(fd int, how string) error {
	what := "something unknown"
	if d, err := fdtable.Inspect(fd); err == nil || errors.Is(err, fdtable.ErrNoProc) {
		what = d.Kind.Words()
	}
	if how != "" {
		what += " that " + how
	}
	article := "a "
	if strings.ContainsRune("aeiou", rune(what[0])) {
		article = "an "
	}
	if strings.HasPrefix(what, "something") {
		article = ""
	}
	return fmt.Errorf("it is %s%s: %w", article, what, ErrKind)
}

func checkSocket(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return err
	}
	if kind != unix.SOCK_STREAM {
		return refuse(fd, "carries no stream")
	}
	if _, err := unix.Getpeername(fd); err != nil {
		return refuse(fd, "isn't connected")
	}
	return nil
}

func (s *Set) open(l *link) error {
	switch l.kind {
	case pipe:
		return s.openPipe(l)
	case socket:
		return s.openSocket(l)
	}
	return s.openTerminal(l)
}

func (s *Set) openPipe(l *link) error {
	original := l.fds[0]
	flags, err := unix.FcntlInt(uintptr(original), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|flags&unix.O_DIRECT); err != nil {
		return err
	}
	output := l.id.access == unix.O_WRONLY
	nearFD := fds[1]
	l.far = fds[0]
	if output {
		nearFD, l.far = fds[0], fds[1]
	}
	resize(nearFD, original, output)
	near, err := ourEnd(nearFD, pipe)
	if err != nil {
		unix.Close(nearFD)
		return err
	}
	return s.connect(near, original, output)
}

// resize gives our pipe the size of the caller's. Output gets more room: a writer who doesn't wait for us at every turn costs less.
// Input doesn't, since what is on its way to the child may be lost. All of it is a wish: users have a limit.
func resize(ours, callers int, output bool) {
	size, err := unix.FcntlInt(uintptr(callers), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		return
	}
	if output && size < outputRoom {
		if _, err := unix.FcntlInt(uintptr(ours), unix.F_SETPIPE_SZ, outputRoom); err == nil {
			return
		}
	}
	unix.FcntlInt(uintptr(ours), unix.F_SETPIPE_SZ, size)
}

func (s *Set) openSocket(l *link) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	l.far = fds[1]
	near, _ := ourEnd(fds[0], socket)
	second, err := near.another()
	if err != nil {
		near.close()
		return err
	}
	if err := s.connect(near, l.fds[0], true); err != nil {
		second.close()
		return err
	}
	return s.connect(second, l.fds[0], false)
}

// connect adds a direction between our end, which it takes ownership of, and the caller's descriptor.
func (s *Set) connect(near end, original int, output bool) error {
	callers, err := callersEnd(original, near.kind)
	if err != nil {
		near.close()
		return err
	}
	d := &direction{from: callers, to: near, output: output, events: &s.events}
	if output {
		d.from, d.to = near, callers
	}
	s.directions = append(s.directions, d)
	return nil
}

// Far is the descriptor that is to become the child's, or -1 where none was asked for.
func (s *Set) Far(number int) int {
	for _, l := range s.links {
		for _, n := range l.numbers {
			if n == number {
				return l.far
			}
		}
	}
	return -1
}

// Terminals are those that are relayed.
func (s *Set) Terminals() []*Terminal {
	var all []*Terminal
	for _, l := range s.links {
		if l.master != nil {
			all = append(all, l.master)
		}
	}
	return all
}

// FarOf is the child's end of a terminal.
func (s *Set) FarOf(t *Terminal) int {
	for _, l := range s.links {
		if l.master == t {
			return l.far
		}
	}
	return -1
}

// Descriptors are what the Set holds open, before Run; all is close-on-exec.
func (s *Set) Descriptors() []int {
	fds := []int{s.events.ended.fd, s.events.cut.fd}
	for _, d := range s.directions {
		fds = append(fds, d.from.fd, d.to.fd)
	}
	for _, l := range s.links {
		fds = append(fds, l.far)
		if l.master != nil {
			fds = append(fds, l.master.descriptors()...)
		}
	}
	kept := fds[:0]
	for _, fd := range fds {
		if fd >= 0 {
			kept = append(kept, fd)
		}
	}
	return kept
}

// Run closes the child's ends, which it has by now, and begins to carry.
func (s *Set) Run() {
	for _, l := range s.links {
		if l.far >= 0 {
			unix.Close(l.far)
			l.far = -1
		}
	}
	s.all.Add(len(s.directions))
	for _, d := range s.directions {
		if d.output {
			s.outputs.Add(1)
		}
		go func() {
			d.run()
			if d.output {
				s.outputs.Done()
			}
			s.all.Done()
		}()
	}
}

// Finish is for when the child has ended: it returns when all that was written by then has arrived, or when there is nobody
// that it could arrive at. Whoever still writes gets EPIPE then.
func (s *Set) Finish() {
	s.End()
	s.Wait()
}

// End says that the child has ended.
func (s *Set) End() { s.events.ended.give() }

// Wait waits for the end of all output: the child's end of each is closed, or End was called and what was there by then has
// arrived.
func (s *Set) Wait() { s.outputs.Wait() }

// Cut has Wait return without waiting for whoever doesn't read.
func (s *Set) Cut() { s.events.cut.give() }

// Close closes everything that is open still: of a Set that never ran, or after Finish.
func (s *Set) Close() {
	if s.events.ended.given() {
		s.all.Wait()
		s.directions = nil
	}
	for _, fd := range s.Descriptors() {
		unix.Close(fd)
	}
	s.links, s.directions = nil, nil
	s.events.ended.fd, s.events.cut.fd = -1, -1
}
