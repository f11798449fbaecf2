// Init is the first process of a guest, and the second one. The first only reaps what has lost its parents, at once, as a system's init
// does: before Linux 6.11 a process that nobody has waited for keeps its filters. The second mounts what a Linux system has, runs
// the jobs of the list one after another and sends their output over the second serial port. Then the machine is turned off.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/tests/guest/job"
)

func main() {
	if os.Getpid() != 1 {
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, "guest:", err)
		}
		return
	}
	second, err := os.StartProcess("/init", []string{"/init"}, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
	} else {
		reap(second.Pid)
	}
	unix.Sync()
	err = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Fprintln(os.Stderr, "guest: power off:", err)
}

func run() error {
	if err := mountAll(); err != nil {
		return err
	}
	if err := settle(); err != nil {
		return err
	}
	// It carries nothing but jobs and their output: the kernel's messages go to another one.
	out, err := openRaw("/dev/" + os.Getenv(job.Results))
	if err != nil {
		return err
	}
	defer out.Close()
	text, err := os.ReadFile(job.List)
	if err != nil {
		return err
	}
	var jobs []job.Job
	if err := json.Unmarshal(text, &jobs); err != nil {
		return err
	}
	for _, j := range jobs {
		status, took := do(j, out)
		fmt.Fprintf(out, "\n%s%s %d %d\n", job.End, j.Name, status, took.Milliseconds())
	}
	fmt.Fprintln(out, job.Bye)
	return unix.IoctlSetInt(int(out.Fd()), unix.TCSBRK, 1) // wait until it is sent
}

func mountAll() error {
	for _, m := range []struct{ kind, target, options string }{
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"devtmpfs", "/dev", "mode=755"},
		{"devpts", "/dev/pts", "mode=620,ptmxmode=666"},
		{"tmpfs", "/dev/shm", "mode=1777"},
		{"mqueue", "/dev/mqueue", ""},
		{"cgroup2", "/sys/fs/cgroup", ""},
		{"tmpfs", "/tmp", "mode=1777"},
	} {
		os.MkdirAll(m.target, 0o755)
		if err := unix.Mount(m.kind, m.target, m.kind, 0, m.options); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.target, err)
		}
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(target, "/dev/"+name); err != nil {
			return err
		}
	}
	return nil
}

// settle makes programs, limits and network what they are after an ordinary start of a system.
func settle() error {
	// Under all its names, but for those that others have: it complains of them.
	if err := exec.Command("/bin/busybox", "--install", "-s", "/bin").Run(); err != nil {
		return fmt.Errorf("install busybox: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1024, Max: 524288}); err != nil {
		return fmt.Errorf("set the limit of descriptors: %w", err)
	}
	if err := unix.Sethostname([]byte("guest")); err != nil {
		return err
	}
	return exec.Command("/bin/busybox", "ip", "link", "set", "lo", "up").Run()
}

// openRaw opens a serial port that passes on what is written, and nothing else.
func openRaw(name string) (*os.File, error) {
	port, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	termios, err := unix.IoctlGetTermios(int(port.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	termios.Oflag &^= unix.OPOST
	termios.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG
	return port, unix.IoctlSetTermios(int(port.Fd()), unix.TCSETS, termios)
}

// do runs a job in a session of its own. What it leaves running is killed.
func do(j job.Job, out *os.File) (status int, took time.Duration) {
	fmt.Fprintf(out, "%s%s\n", job.Begin, j.Name)
	tmp := filepath.Join("/tmp", strings.ReplaceAll(j.Name, ":", "-"))
	cmd := exec.Command(j.Args[0], j.Args[1:]...)
	cmd.Dir = j.Dir
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "TMPDIR=" + tmp, "TERM=dumb"}, j.Env...)
	if j.UID == 0 {
		cmd.Env = append(cmd.Env, "HOME=/root")
	}
	// Not the port itself: a program that is given a terminal behaves as if somebody were there.
	cmd.Stdout, cmd.Stderr = writer{out}, writer{out}
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Credential: &syscall.Credential{Uid: uint32(j.UID), Gid: uint32(j.UID)},
	}
	if err := errors.Join(os.Mkdir(tmp, 0o755), os.Chown(tmp, j.UID, j.UID)); err != nil {
		fmt.Fprintln(out, "guest:", err)
		return -1, 0
	}
	begin := time.Now()
	err := cmd.Run()
	took = time.Since(begin)
	if cmd.Process != nil {
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	}
	os.RemoveAll(tmp)
	if cmd.ProcessState == nil || err != nil && !errors.As(err, new(*exec.ExitError)) {
		fmt.Fprintln(out, "guest:", err)
		return -1, took
	}
	return cmd.ProcessState.ExitCode(), took
}

// A writer hides that it is a file, which os/exec would hand to the program.
type writer struct{ file *os.File }

func (w writer) Write(p []byte) (int, error) { return w.file.Write(p) }

// reap waits for every process, up to the one that runs the jobs.
func reap(last int) {
	for {
		pid, err := unix.Wait4(-1, nil, 0, nil)
		if pid == last || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
