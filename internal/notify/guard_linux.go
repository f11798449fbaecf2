package notify

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/yama"
	"github.com/safeexec/safeexec/seccomp"
)

// A Guard answers for one tree of processes.
type Guard struct {
	listener listener
	watch    *watch
	action   seccomp.Action
	learning bool          // nothing is refused or done, everything is only told
	observe  func(Attempt) // nil, or told of what concerns a watched description
	stop     int           // an eventfd: readable when no more questions shall be taken

	moves     moves
	receiving sync.Mutex // held by the one who waits for the next question
	mu        sync.Mutex
	idle      int                  // who waits for receiving
	workers   int                  // those that answer, idle ones included
	waiting   int                  // those that wait for a lock
	open      map[uint64]*question // unanswered
	turns     map[uint32]*question // by thread: the one that is being answered
	fewer     *sync.Cond           // signalled when workers or waiting become fewer
}

// An Attempt is a call that would have changed a watched description.
type Attempt struct {
	PID        int
	Program    string
	Call       string
	Number     int // the command's, that the description was passed as
	Operations seccomp.Op
	Result     string
}

// maxWorkers bounds how many questions are worked on at a time. Whoever waits for a lock isn't among them.
const maxWorkers = 64

// Options say how to guard.
type Options struct {
	Action   seccomp.Action
	Learning bool          // let everything happen, and tell
	Observe  func(Attempt) // called from several goroutines
}

// New takes what is needed to recognise the descriptions. Without kcmp(2) or pidfd_getfd(2) it fails: nothing could be guarded.
func New(descriptions []Description, o Options) (*Guard, error) {
	if err := probe(); err != nil {
		return nil, err
	}
	w, err := newWatch(descriptions)
	if err != nil {
		return nil, err
	}
	g := &Guard{listener: -1, watch: w, action: o.Action, learning: o.Learning, observe: o.Observe}
	if err := g.prepare(); err != nil {
		w.close()
		return nil, err
	}
	return g, nil
}

func (g *Guard) prepare() (err error) {
	g.moves = make(moves, maxMoves)
	g.open, g.turns, g.fewer = map[uint64]*question{}, map[uint32]*question{}, sync.NewCond(&g.mu)
	g.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return err
}

// probe tries, on this process itself, what is needed to look at others. Yama never minds a process that looks at itself.
func probe() error {
	if err := yama.Refusal(); err != nil {
		return err
	}
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(pidfd)
	copied, err := unix.PidfdGetfd(pidfd, pidfd, 0)
	if err != nil {
		return fmt.Errorf("pidfd_getfd (Linux 5.6; a guard or sandbox around this one may refuse it, a container without CAP_SYS_PTRACE does): %w", err)
	}
	defer unix.Close(copied)
	const kcmpFile = 0 // KCMP_FILE
	if _, errno := kcmp(os.Getpid(), os.Getpid(), kcmpFile, uintptr(pidfd), uintptr(copied)); errno != 0 {
		return fmt.Errorf("kcmp (a container without CAP_SYS_PTRACE refuses it): %w", errno)
	}
	return nil
}

// Listen gives the guard its listener.
func (g *Guard) Listen(fd int) {
	g.listener = listener(fd)
	g.listener.prefer()
}

// Descriptors are those that the guard needs open.
func (g *Guard) Descriptors() []int {
	fds := append(g.watch.descriptors(), g.stop)
	if g.listener >= 0 {
		fds = append(fds, int(g.listener))
	}
	return fds
}

// Close gives up what New and Listen took, when nobody works with that any more. Calls that are asked about fail with ENOSYS from
// then on.
func (g *Guard) Close() {
	g.mu.Lock()
	for g.workers+g.waiting > 0 {
		g.fewer.Wait()
	}
	g.mu.Unlock()
	for _, fd := range g.Descriptors() {
		unix.Close(fd)
	}
}

// Serve answers until nobody is left to ask, or HandOver is called.
func (g *Guard) Serve() {
	g.count(&g.workers, 1)
	g.work()
}

// work takes questions and answers them. One goroutine waits for the next question, and makes sure before it turns to that
// one that another waits in its place: whoever is held up by a caller holds up nobody else.
func (g *Guard) work() {
	defer g.count(&g.workers, -1)
	for {
		g.mu.Lock()
		g.idle++
		g.mu.Unlock()

		g.receiving.Lock()
		g.mu.Lock()
		g.idle--
		g.mu.Unlock()
		q := g.listener.next(g.stop)
		if q != nil {
			g.mu.Lock()
			g.open[q.id] = q
			if g.idle == 0 && g.workers < maxWorkers {
				g.workers++
				go g.work()
			}
			g.mu.Unlock()
		}
		g.receiving.Unlock()
		if q == nil {
			return
		}
		g.answer(q)
	}
}

func (g *Guard) count(what *int, change int) {
	g.mu.Lock()
	*what += change
	g.fewer.Broadcast()
	g.mu.Unlock()
}

// closed is for a question that is done with, and undone where that had to be. It is the turn of its thread's next one.
func (g *Guard) closed(q *question) {
	g.mu.Lock()
	delete(g.open, q.id)
	if g.turns[q.tid] == q {
		delete(g.turns, q.tid)
		if q.next != nil {
			g.start(q.next)
		}
	}
	g.mu.Unlock()
}

// start answers a question beside all others. g.mu is held.
func (g *Guard) start(q *question) {
	g.workers++
	go func() {
		defer g.count(&g.workers, -1)
		g.answer(q)
	}()
}

// turn reports whether a question may be worked on at once. When its thread's last one isn't done with it is put aside until then,
// without a worker, for the caller may hold that up: a thread that a signal has interrupted asks again.
func (g *Guard) turn(q *question) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := g.turns[q.tid]
	switch {
	case last == nil:
		g.turns[q.tid] = q
		return true
	case last.next != nil: // nobody waits for that one any more
		delete(g.open, last.next.id)
	case last.over != nil:
		close(last.over)
	}
	last.next = q
	return false
}

// answer finds out what a call is about, and refuses it or does it.
func (g *Guard) answer(q *question) {
	call := q.Call()
	c := caller{int(q.tid), g.moves, func() bool { return g.listener.waits(q) }}
	deed := deedOf(call)
	ops := deed.operations(call)
	if q.tid == 0 {
		g.unseen(q, unix.EPERM) // of another PID namespace than ours or one below it
		return
	}
	if !g.turn(q) {
		return
	}
	fd, errno := c.copyOf(int(int32(call.Arguments[0])))
	if errno != 0 {
		g.unseen(q, errno)
		return
	}
	defer func() {
		if fd >= 0 {
			unix.Close(fd)
		}
	}()
	// From here on fd is what the call was about: the caller was waiting when it was taken.
	if !g.listener.waits(q) {
		g.closed(q)
		return
	}
	found, err := g.watch.find(fd)
	if err != nil {
		g.unseen(q, unix.EPERM)
		return
	}
	if g.learning {
		if found != nil {
			g.tell(c, call, found, ops, "carried out")
		}
		g.goOn(q)
		return
	}
	if found != nil && found.Operations&ops != 0 && g.violation(q, c, call, found, ops) {
		return
	}
	j := &job{caller: c, deed: deed, call: call, fd: fd}
	value, errno, again := j.perform()
	if again && !g.mayWait() {
		errno, again = unix.ENOLCK, false
	}
	if again {
		fd = -1 // it goes along
		g.mu.Lock()
		q.over = make(chan struct{})
		g.mu.Unlock()
		go g.waitForLock(q, j)
		return
	}
	g.reply(q, j, value, errno)
}

// unseen answers for a call whose description couldn't be looked at.
func (g *Guard) unseen(q *question, errno unix.Errno) {
	if g.learning {
		g.goOn(q)
		return
	}
	g.refuse(q, errno)
}

func (g *Guard) goOn(q *question) {
	g.listener.goOn(q)
	g.closed(q)
}

// maxWaiting bounds who waits for locks at a time: each takes a descriptor, and a thread if its file system holds it up.
const maxWaiting = 1000

func (g *Guard) mayWait() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting >= maxWaiting {
		return false
	}
	g.waiting++
	return true
}

// violation does what is to happen when a guarded description would be changed. It reports whether that is all: with Log
// the call is carried out.
func (g *Guard) violation(q *question, c caller, call seccomp.Call, d *watched, ops seccomp.Op) bool {
	errno, result := unix.EPERM, ""
	switch {
	case g.action == 0 && d.Advisory && ops&seccomp.Flags != 0:
		errno, result = 0, "pretended"
	case g.action == 0:
	case g.action == seccomp.Pretend && ops&seccomp.Pretendable != 0:
		errno, result = 0, "pretended"
	case g.action == seccomp.Pretend:
	case g.action == seccomp.Kill:
		result = "killed"
	case g.action == seccomp.Log:
		g.tell(c, call, d, ops, "permitted")
		return false
	default:
		errno = unix.Errno(g.action)
	}
	if result == "" {
		result = "refused with " + unix.ErrnoName(errno)
	}
	g.tell(c, call, d, ops, result)
	if g.action == seccomp.Kill {
		c.kill()
	}
	g.refuse(q, errno)
	return true
}

// refuse answers with an error, or with success for 0.
func (g *Guard) refuse(q *question, errno unix.Errno) {
	g.listener.reply(q, 0, errno)
	g.closed(q)
}

// reply answers for something that was done.
func (g *Guard) reply(q *question, j *job, value int64, errno unix.Errno) {
	if !g.listener.reply(q, value, errno) {
		j.undo(errno)
	}
	g.closed(q)
}

// waitForLock tries again as long as the caller waits. Nobody tells when a lock has become free: the caller may get it 50 ms late.
func (g *Guard) waitForLock(q *question, j *job) {
	defer g.count(&g.waiting, -1)
	defer unix.Close(j.fd)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		select {
		case <-time.After(pause):
		case <-q.over:
		}
		if !g.listener.waits(q) || g.stopping() {
			g.gone(q)
			return
		}
		if _, errno, again := j.perform(); !again {
			g.reply(q, j, 0, errno)
			return
		}
	}
}

// gone leaves a question unanswered: nobody waits for it any more, or another process will answer.
func (g *Guard) gone(q *question) {
	if !g.listener.waits(q) {
		g.closed(q)
	}
}

func (g *Guard) tell(c caller, call seccomp.Call, d *watched, ops seccomp.Op, result string) {
	if g.observe == nil {
		return
	}
	pid, err := c.process()
	if err != nil {
		pid = c.tid
	}
	g.observe(Attempt{PID: pid, Program: c.program(), Call: call.String(), Number: d.Number, Operations: ops, Result: result})
}

func (g *Guard) stopping() bool {
	wait := []unix.PollFd{{Fd: int32(g.stop), Events: unix.POLLIN}}
	n, _ := unix.Poll(wait, 0)
	return n > 0
}

// Left reports whether anybody is still under the filter.
func (g *Guard) Left() bool { return g.listener.left() }

// A state is what another process needs to go on in this one's place: the numbers are of descriptors that it gets.
type state struct {
	Listener int
	Watch    *watch
	Action   seccomp.Action
	Learning bool
	Open     []openQuestion
}

type openQuestion struct {
	ID        uint64
	TID       uint32
	Number    int32
	Audit     uint32
	Arguments [6]uint64
}

// HandOver takes no more questions, and returns what Resume needs. The descriptors must go over at their own numbers.
func (g *Guard) HandOver() ([]byte, error) {
	one := []byte{1, 0, 0, 0, 0, 0, 0, 0}
	if _, err := unix.Write(g.stop, one); err != nil {
		return nil, err
	}
	// Who answers is done in a moment, unless the caller holds it up; then the other process starts over with that question.
	patience := time.AfterFunc(200*time.Millisecond, g.fewer.Broadcast)
	defer patience.Stop()
	deadline := time.Now().Add(200 * time.Millisecond)
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.workers+g.waiting > 0 && time.Now().Before(deadline) {
		g.fewer.Wait()
	}
	s := state{Listener: int(g.listener), Watch: g.watch, Action: g.action, Learning: g.learning}
	for _, q := range g.open {
		s.Open = append(s.Open, openQuestion{q.id, q.tid, q.call.number, q.call.audit, q.call.arguments})
	}
	return json.Marshal(s)
}

// Resume is the other end of HandOver.
func Resume(text []byte) (*Guard, error) {
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	g := &Guard{listener: listener(s.Listener), watch: s.Watch, action: s.Action, learning: s.Learning}
	if err := g.prepare(); err != nil {
		return nil, err
	}
	for _, o := range s.Open {
		q := &question{id: o.ID, tid: o.TID}
		q.call.number, q.call.audit, q.call.arguments = o.Number, o.Audit, o.Arguments
		g.mu.Lock()
		g.open[q.id] = q
		g.start(q)
		g.mu.Unlock()
	}
	return g, nil
}
