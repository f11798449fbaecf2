package guard

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// clean is a helper that runs a job in a session of its own, with 0 as its terminal if it is one, and ends whatever the job
// leaves behind, daemons too: all that lose their parent become this process's children. SIGTERM ends the job at once.
func clean(args []string) int {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 99
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if flags, err := unix.FcntlInt(3, unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
		cmd.ExtraFiles = []*os.File{os.NewFile(3, "kept")}
	}
	_, err := unix.IoctlGetTermios(0, unix.TCGETS)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: err == nil}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 98
	}
	job := cmd.Process.Pid
	go func() {
		<-terminated
		fmt.Fprintln(os.Stderr, "it took too long")
		syscall.Kill(job, syscall.SIGKILL)
	}()
	var status syscall.WaitStatus
	for pid := 0; pid != job; { // a daemon that has ended must not stay a zombie: its job looks whether it is gone
		if pid, err = syscall.Wait4(-1, &status, 0, nil); err != nil && err != syscall.EINTR {
			fmt.Fprintln(os.Stderr, err)
			return 97
		}
	}
	for endChildren() {
	}
	if status != 0 {
		fmt.Fprintf(os.Stderr, "status %d, signal %v\n", status.ExitStatus(), status.Signal())
		return 1
	}
	return 0
}

// endChildren kills the children that there are, and waits for one; it reports whether there was any. Theirs come to us then.
func endChildren() bool {
	threads, _ := filepath.Glob("/proc/self/task/*/children")
	for _, thread := range threads {
		children, _ := os.ReadFile(thread)
		for _, pid := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(pid); err == nil {
				syscall.Kill(n, syscall.SIGKILL)
			}
		}
	}
	_, err := syscall.Wait4(-1, nil, 0, nil)
	return err == nil || err == syscall.EINTR
}
