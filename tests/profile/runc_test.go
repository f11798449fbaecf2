//go:build seccomp

package profile

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	runc "github.com/opencontainers/runc/libcontainer/seccomp"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func init() {
	if os.Geteuid() == 0 || os.Getenv("SAFEEXEC_TEST_HELPER") != "" { // its tests are for root
		proctest.Helper("install", install)
	}
}

// install has runc install what it is sent, on a thread whose number it says first.
func install([]string) int {
	runtime.LockOSThread()
	input := bufio.NewReader(os.Stdin)
	fmt.Println(unix.Gettid())
	line, err := input.ReadBytes('\n')
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var spec specs.LinuxSeccomp
	if err := json.Unmarshal(line, &spec); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	config, err := specconv.SetupSeccomp(&spec)
	if err == nil {
		_, err = runc.InitSeccomp(config)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// installed is the program that runc installs for a profile. The helper is followed from call to call until it has one, so
// that the program may refuse whatever it likes.
func installed(t *testing.T, spec *specs.LinuxSeccomp) ([]bpf.RawInstruction, error) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := proctest.Command(t, "install")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var tid int
	if _, err := fmt.Fscanln(stdout, &tid); err != nil {
		t.Fatal(err)
	}
	if err := unix.PtraceSeize(tid); err != nil {
		t.Fatal(err)
	}
	if err := unix.PtraceInterrupt(tid); err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(stdin).Encode(spec); err != nil {
		t.Fatal(err)
	}
	program, err := follow(tid)
	cmd.Process.Kill()
	stdin.Close()
	cmd.Wait()
	if err == nil && program == nil {
		err = errors.New(strings.TrimSpace(complaint.String()))
	}
	return program, err
}

// follow lets a thread run until it has a filter, and reads that; nil when it ends before.
func follow(tid int) ([]bpf.RawInstruction, error) {
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(tid, &status, unix.WALL, nil); err != nil {
			return nil, fmt.Errorf("wait: %w", err)
		}
		if status.Exited() || status.Signaled() {
			return nil, nil
		}
		program, err := readFilter(tid)
		if !errors.Is(err, unix.ENOENT) {
			return program, err
		}
		signal := 0
		if status.TrapCause() < 0 && status.StopSignal() != unix.SIGTRAP {
			signal = int(status.StopSignal())
		}
		if err := unix.PtraceSyscall(tid, signal); err != nil {
			return nil, fmt.Errorf("continue: %w", err)
		}
	}
}

// readFilter reads the filter of a stopped thread; ENOENT when it has none.
func readFilter(tid int) ([]bpf.RawInstruction, error) {
	get := func(buffer unsafe.Pointer) (int, error) {
		n, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(tid), 0, uintptr(buffer), 0, 0)
		if errno != 0 {
			return 0, errno
		}
		return int(n), nil
	}
	length, err := get(nil)
	if errors.Is(err, unix.EINVAL) { // no filter at all
		return nil, unix.ENOENT
	}
	if err != nil {
		return nil, err
	}
	raw := make([]unix.SockFilter, length)
	if _, err := get(unsafe.Pointer(&raw[0])); err != nil {
		return nil, err
	}
	return instructions(raw), nil
}

func instructions(raw []unix.SockFilter) []bpf.RawInstruction {
	program := make([]bpf.RawInstruction, 0, len(raw))
	for _, at := range raw {
		program = append(program, bpf.RawInstruction{Op: at.Code, Jt: at.Jt, Jf: at.Jf, K: at.K})
	}
	return program
}
