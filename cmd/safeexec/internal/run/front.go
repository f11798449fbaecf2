package run

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/cmd/safeexec/internal/signals"
	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/yama"
)

// Where Yama lets a process look into its descendants only, whoever guards what the command leaves behind has to be an ancestor of
// that from the start. The process that the caller waits for can't be it, because it ends with the command. So that one is only a
// front: it starts this program again, as the supervisor, which becomes the guard in the end (see handOver).

// frontName begins the name by which the front starts the supervisor; the number of the socket follows.
const frontName = "safeexec (supervising)"

// frontOf returns the socket to the front that started this process, if one did. It isn't the command's.
func frontOf(name string) (control number) {
	rest, ok := strings.CutPrefix(name, frontName+" ")
	fd, err := strconv.Atoi(rest)
	if !ok || err != nil || fd < 3 || !fdtable.Inherited(fd) {
		return number{}
	}
	unix.CloseOnExec(fd)
	return number{fd, true}
}

// needsFront reports whether this process, as the supervisor, would leave the guard to somebody who can't look into what is left. With
// PID 1 nothing is left.
func (o *Options) needsFront() bool {
	return o.guard.set && !o.front.set && os.Getpid() != 1 && yama.Reach() == yama.Descendants
}

// stand is what a front does. It returns the exit status.
func (o *Options) stand(a *act, stderr io.Writer) int {
	// For signals and job control the supervisor is to the front what the command is to the supervisor.
	s := &supervisor{options: new(Options), own: none, log: none}
	control, err := s.startBehind(o, a)
	if err != nil {
		return o.Fail(err, stderr)
	}
	stays := make(chan int)
	go func() {
		if message, ok := hear(control); ok {
			stays <- int(message[1])
		}
	}()
	infos := receive(s.signals)
	for ended := s.reap(); !ended; ended = s.reap() {
		select {
		case status := <-stays:
			return status
		case info, ok := <-infos:
			if !ok {
				unix.Kill(s.child, unix.SIGKILL)
				return exitFailed
			}
			s.forward(&info)
		}
	}
	return s.status
}

// startBehind is the walk to the supervisor: gather, start, let go. It returns the socket.
func (s *supervisor) startBehind(o *Options, a *act) (control int, err error) {
	if o.dieWithParent {
		if err := dieWithParent(); err != nil {
			return none, err
		}
	}
	if s.signals, err = signals.Catch(); err != nil {
		return none, about("--supervise", none, err)
	}
	r, err := newRestart()
	if err != nil {
		return none, about("--supervise", none, err)
	}
	if s.child, err = r.start(fmt.Sprintf("%s %d", frontName, r.number), o, a); err != nil {
		return none, about("--supervise", none, err)
	}
	if err := letGo(nil, slices.Concat(s.signals.Descriptors(), []int{r.control})); err != nil {
		unix.Kill(s.child, unix.SIGKILL)
		return none, about("--supervise", none, err)
	}
	return r.control, nil
}

// quiet lets pass what the process in front hasn't said already.
func (o *Options) quiet(stderr io.Writer) io.Writer {
	if o.front.set {
		return guardLines{stderr}
	}
	return stderr
}
