package relay

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A Terminal is a pseudo-terminal in the place of one of the caller's. Which of the two lines of discipline edits, echoes and
// makes signals must be one: where the child reads, that is the new one's, so that what the child sets there counts, and the
// caller's is in raw mode between Enter and Leave. Where the child only writes (its 1 and 2), the caller's terminal stays as it is,
// and the new one leaves the output as it comes.
type Terminal struct {
	fd    int  // the caller's: settings, size, foreground
	reads bool // the child reads from it
	both  bool // and writes to it
	gate  *gate

	drained chan struct{} // closed when no more of what the child writes is carried
	output  *direction

	mu      sync.Mutex
	master  int // until the caller's terminal hangs up
	entered bool
	saved   unix.Termios
}

func (s *Set) openTerminal(l *link) (err error) {
	t := &Terminal{fd: -1, master: -1, drained: make(chan struct{})}
	l.master = t
	in, out := l.caller(unix.O_RDONLY), l.caller(unix.O_WRONLY)
	for _, n := range l.numbers {
		t.reads = t.reads || n != 1 && n != 2
		t.both = t.both || n == 1 || n == 2
	}
	t.reads = t.reads && in >= 0
	t.both = t.both && t.reads
	if t.fd, err = unix.FcntlInt(uintptr(l.fds[0]), unix.F_DUPFD_CLOEXEC, 3); err != nil {
		t.fd = -1
		return err
	}
	master, far, err := openPTY()
	if err != nil {
		return err
	}
	l.far = far
	t.master, err = unix.FcntlInt(uintptr(master.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.master = -1
	} else {
		err = t.like(far)
	}
	if err != nil {
		master.close()
		return err
	}
	if t.reads {
		return s.connectBoth(t, master, in, out)
	}
	if out < 0 {
		master.close()
		return refuse(l.fds[0], "isn't open for writing")
	}
	return s.connect(master, out, true)
}

// caller returns one of the caller's descriptors that is open for reading, or for writing, or -1.
func (l *link) caller(access int) int {
	for _, fd := range l.fds {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if mode := flags & unix.O_ACCMODE; err == nil && (mode == access || mode == unix.O_RDWR) {
			return fd
		}
	}
	return -1
}

// connectBoth adds two directions. What the new terminal echoes has to go somewhere, also when the caller's is open for reading alone.
func (s *Set) connectBoth(t *Terminal, master end, in, out int) error {
	second, err := master.another()
	if err != nil {
		master.close()
		return err
	}
	if out < 0 {
		if out, err = unix.Open("/dev/tty", unix.O_WRONLY|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err == nil {
			defer unix.Close(out)
		}
		if device, ok := terminalDevice(out); err != nil || !ok || !isDevice(in, device) {
			null, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				master.close()
				second.close()
				return err
			}
			defer unix.Close(null)
			out = null
		}
	}
	if err := s.connect(master, out, true); err != nil {
		second.close()
		return err
	}
	if err := s.connect(second, in, false); err != nil {
		return err
	}
	t.gate = &gate{}
	t.gate.shut.Store(true)
	if t.gate.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		t.gate.event = -1
		return err
	}
	output, input := s.directions[len(s.directions)-2], s.directions[len(s.directions)-1]
	input.gate, input.terminal, output.terminal = t.gate, t, t
	t.output = output
	return nil
}

func isDevice(fd int, device uint32) bool {
	its, ok := terminalDevice(fd)
	return ok && its == device
}

// openPTY opens a new pseudo-terminal.
func openPTY() (master end, far int, err error) {
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := unix.Open("/dev/ptmx", flags, 0)
	if err == unix.ENOENT {
		fd, err = unix.Open("/dev/pts/ptmx", flags, 0)
	}
	if err != nil {
		return end{}, -1, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if master, err = ourEnd(fd, terminal); err != nil {
		return end{}, -1, err
	}
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return end{}, -1, err
	}
	far, err = openPeer(fd, flags)
	return master, far, err
}

// openPeer opens the other side. Before 4.13 that goes by its name, which need not be the right one in every mount namespace.
func openPeer(master, flags int) (int, error) {
	far, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, uintptr(flags))
	if errno == 0 {
		return int(far), nil
	}
	n, err := unix.IoctlGetUint32(master, unix.TIOCGPTN)
	if err != nil {
		return -1, err
	}
	return unix.Open("/dev/pts/"+strconv.Itoa(int(n)), flags, 0)
}

// like makes the new terminal as the caller's is.
func (t *Terminal) like(far int) error {
	settings, err := unix.IoctlGetTermios(t.fd, unix.TCGETS)
	if err != nil {
		return err
	}
	if !t.both {
		settings.Oflag &^= unix.OPOST // the caller's does that
	}
	if err := unix.IoctlSetTermios(far, unix.TCSETS, settings); err != nil {
		return err
	}
	t.Resize()
	return nil
}

// Reads reports whether the child reads from the terminal: then it takes a session of its own to make that its controlling
// terminal, and Enter.
func (t *Terminal) Reads() bool { return t.reads }

// Controls reports whether the caller's terminal is the controlling one of this process.
func (t *Terminal) Controls() bool {
	_, err := unix.IoctlGetInt(t.fd, unix.TIOCGSID)
	return err == nil
}

// FD is a descriptor of the caller's terminal, which the Terminal keeps.
func (t *Terminal) FD() int { return t.fd }

// Drained is closed when no more is carried to the caller's terminal.
func (t *Terminal) Drained() <-chan struct{} { return t.drained }

// Settle waits until what the child has written is on the caller's terminal, as far as that takes it at once.
func (t *Terminal) Settle() {
	for range 200 {
		if !t.pending() {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// pending asks in this order: what isn't there to be read any more has made the direction busy before.
func (t *Terminal) pending() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.master < 0 {
		return false
	}
	master := end{fd: t.master}
	return master.ready(unix.POLLIN) || t.output.busy.Load()
}

// Resize gives the new terminal the size of the caller's. The kernel tells the processes in its foreground of a change.
func (t *Terminal) Resize() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if size, err := unix.IoctlGetWinsize(t.fd, unix.TIOCGWINSZ); err == nil && t.master >= 0 {
		unix.IoctlSetWinsize(t.master, unix.TIOCSWINSZ, size)
	}
}

// Signal does what a key does of which a terminal makes a signal, SIGINT, SIGQUIT or SIGTSTP: the processes in the new terminal's
// foreground get it (TIOCSIG, Linux 2.6.36).
func (t *Terminal) Signal(sig unix.Signal) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.master < 0 {
		return unix.EIO
	}
	return unix.IoctlSetInt(t.master, unix.TIOCSIG, int(sig))
}

// Foreground reports whether this process may read from the caller's terminal: it isn't in the background of the one that
// controls it.
func (t *Terminal) Foreground() bool {
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}

// Enter puts the caller's terminal into raw mode, and begins to read from it. SIGTTOU must be blocked. What it finds is what Leave
// puts back.
func (t *Terminal) Enter() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, err := unix.IoctlGetTermios(t.fd, unix.TCGETS)
	if err != nil {
		return err
	}
	if !t.entered || *now != t.raw(t.saved) { // it is still ours after a stop that nobody could prepare for
		t.saved = *now
	}
	raw := t.raw(t.saved)
	if err := unix.IoctlSetTermios(t.fd, unix.TCSETS, &raw); err != nil {
		return err
	}
	t.entered = true
	t.gate.open()
	return nil
}

// Leave undoes Enter. SIGTTOU must be blocked.
func (t *Terminal) Leave() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.entered {
		return nil
	}
	t.gate.shut.Store(true)
	t.entered = false
	return unix.IoctlSetTermios(t.fd, unix.TCSETS, &t.saved)
}

// raw are settings in which every byte passes as it is. Where the child doesn't write through here, what else is written to the
// terminal still needs the output's.
func (t *Terminal) raw(settings unix.Termios) unix.Termios {
	raw := Raw(settings)
	if !t.both {
		raw.Oflag = settings.Oflag
	}
	return raw
}

// Raw are settings in which every byte passes as it is.
func Raw(settings unix.Termios) unix.Termios {
	settings.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.INPCK | unix.ISTRIP | unix.INLCR | unix.IGNCR |
		unix.ICRNL | unix.IUCLC | unix.IXON | unix.IXANY | unix.IXOFF | unix.IMAXBEL
	settings.Oflag &^= unix.OPOST
	settings.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	settings.Cc[unix.VMIN], settings.Cc[unix.VTIME] = 1, 0
	return settings
}

// hangUp gives the new terminal up: when nothing else of it is open here, its session hears SIGHUP.
func (t *Terminal) hangUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.master >= 0 {
		unix.Close(t.master)
		t.master = -1
	}
}

func (t *Terminal) descriptors() []int {
	fds := []int{t.fd, t.master}
	if t.gate != nil {
		fds = append(fds, t.gate.event)
	}
	return fds
}

// terminalDevice is the terminal's device number: /dev/tty and /dev/console stand for others. A pseudo-terminal's master is none.
func terminalDevice(fd int) (device uint32, ok bool) {
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
		return 0, false
	}
	if _, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN); err == nil {
		return 0, false
	}
	device, err := unix.IoctlGetUint32(fd, unix.TIOCGDEV)
	return device, err == nil
}

// A gate holds back what a terminal has to be read, while this process is in its background. A nil gate is open.
type gate struct {
	shut  atomic.Bool
	event int // wakes whoever waits before it
}

func (g *gate) closed() bool { return g != nil && g.shut.Load() }

func (g *gate) open() {
	g.shut.Store(false)
	unix.Write(g.event, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (g *gate) number() int32 {
	if g == nil {
		return -1
	}
	return int32(g.event)
}

func (g *gate) passed() {
	var buffer [8]byte
	unix.Read(g.event, buffer[:])
}

// fromBackground reports whether a read was refused because this process was in the background, and shuts the gate if it still is.
func (d *direction) fromBackground() bool {
	if d.terminal == nil || d.output {
		return false
	}
	d.terminal.mu.Lock() // or Enter might open the gate first
	defer d.terminal.mu.Unlock()
	if !d.terminal.Foreground() {
		d.gate.shut.Store(true)
		return true
	}
	d.refused = !d.refused // it may have come to the foreground since; the next refusal has another reason
	return d.refused
}
