package seccomp_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/seccomp"
	"golang.org/x/sys/unix"
)

// doSteal tries to get at the parent process, which has no filter.
func doSteal(o order) any {
	runtime.LockOSThread()
	parent := os.Getppid()
	result := map[string]int{}
	mem, err := unix.Open(fmt.Sprintf("/proc/%d/mem", parent), unix.O_RDWR|unix.O_CLOEXEC, 0)
	result["/proc/PID/mem"] = errnoOf(err)
	unix.Close(mem)
	pidfd, err := unix.PidfdOpen(parent, 0)
	result["pidfd_open"] = errnoOf(err)
	result["pidfd_getfd"] = errnoOf(newDescriptor(unix.SYS_PIDFD_GETFD, uintptr(pidfd), 0, 0))
	unix.Close(pidfd)
	result["PTRACE_SEIZE"] = errnoOf(call6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(parent), 0, 0))
	if result["PTRACE_SEIZE"] == 0 {
		result["detach"] = errnoOf(detach(parent))
	}
	local := [1]byte{}
	iov := unix.Iovec{Base: &local[0], Len: 1}
	// Nothing is there to be written to, which is found out only after permission was given.
	remote := unix.RemoteIovec{Base: 8, Len: 1}
	_, err = unix.ProcessVMWritev(parent, []unix.Iovec{iov}, []unix.RemoteIovec{remote}, 0)
	result["process_vm_writev"] = errnoOf(err)
	return result
}

// detach stops a traced process, as it must be, and lets it go.
func detach(pid int) error {
	if err := call6(unix.SYS_PTRACE, unix.PTRACE_INTERRUPT, uintptr(pid), 0, 0); err != nil {
		return err
	}
	if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != nil {
		return err
	}
	return call6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(pid), 0, 0)
}

func TestStealing(t *testing.T) {
	needLandlock(t, 1)
	var free map[string]int
	run(t, order{Job: "steal"}, &free)
	if free["/proc/PID/mem"] != 0 || free["pidfd_getfd"] != 0 {
		t.Fatalf("without a filter nothing can be stolen here either: %v", free)
	}
	for name, p := range map[string]policy{
		"guard of nothing": {Guarding: true},
		"guard of a file":  {Guarding: true, Guard: seccomp.DefaultGuard, Kind: seccomp.Regular},
		"deny steal":       {Deny: seccomp.Steal},
	} {
		var got map[string]int
		run(t, order{Job: "steal", Policy: &p}, &got)
		for path, errno := range got {
			if path == "pidfd_open" {
				continue // harmless by itself
			}
			if errno != int(unix.EPERM) && errno != int(unix.EACCES) {
				t.Errorf("%s: %s answers %d", name, path, errno)
			}
		}
	}
}

// doAbstract connects to an abstract socket of the caller's.
func doAbstract(o order) any {
	_, err := net.Dial("unix", o.Text)
	return err == nil
}

func TestAbstractSocketsOutside(t *testing.T) {
	needLandlock(t, 6)
	name := fmt.Sprintf("@safeexec-%d", os.Getpid())
	listener, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, c := range []struct {
		policy *policy
		want   bool
	}{
		{nil, true},
		{&policy{Deny: seccomp.Lock}, true},
		{&policy{Guarding: true, Passing: seccomp.PassAllow}, false},
	} {
		var connected bool
		run(t, order{Job: "abstract", Text: name, Policy: c.policy}, &connected)
		if connected != c.want {
			t.Errorf("under %+v: connected %v, want %v", c.policy, connected, c.want)
		}
	}
}

// doNamed connects to a named socket of the caller's, and to one of its own, and renames across directories.
func doNamed(o order) any {
	result := map[string]bool{}
	_, err := net.Dial("unix", o.Text)
	result["outside"] = err == nil
	own, err := net.Listen("unix", "own")
	if err == nil {
		defer own.Close()
		_, err = net.Dial("unix", "own")
	}
	result["own"] = err == nil
	err = os.Mkdir("sub", 0o700)
	if err == nil {
		err = os.Rename("own", "sub/own")
	}
	result["rename"] = err == nil
	return result
}

// TestNamedSocketsOutside: where Landlock can confine named sockets, the tree has its own and reaches no others.
func TestNamedSocketsOutside(t *testing.T) {
	if have := seccomp.LandlockABI(); have < 9 {
		t.Skipf("Landlock ABI 9 (Linux 7.1) isn't in this kernel, which has %d; the suite also runs on newer ones", have)
	}
	name := filepath.Join(t.TempDir(), "outside")
	listener, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var got map[string]bool
	run(t, order{Job: "named", Text: name, Policy: &policy{
		Guarding: true, Guard: seccomp.DefaultGuard, Kind: seccomp.Regular,
	}}, &got)
	for what, want := range map[string]bool{"outside": false, "own": true, "rename": true} {
		if got[what] != want {
			t.Errorf("%s: %v, want %v", what, got[what], want)
		}
	}
}

// doMount has autofs parse the number of a pipe, which changes the pipe's flags although the mount fails.
func doMount(o order) any {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return map[string]int{"pipe": errnoOf(err)}
	}
	if err := unix.Dup3(ends[1], guarded, unix.O_CLOEXEC); err != nil {
		return map[string]int{"dup3": errnoOf(err)}
	}
	options := fmt.Sprintf("fd=%d,minproto=5,maxproto=5", guarded)
	mounted := unix.Mount("none", ".", "autofs", 0, options)
	flags, err := unix.FcntlInt(uintptr(ends[1]), unix.F_GETFL, 0)
	if mounted == nil {
		unix.Unmount(".", unix.MNT_DETACH)
	}
	return map[string]int{"mount": errnoOf(mounted), "nonblocking": flags & unix.O_NONBLOCK, "getfl": errnoOf(err)}
}

func TestMountsAreNoWayToFlags(t *testing.T) {
	proctest.NeedRoot(t) // as another user it takes a user namespace around the helper
	filesystems, err := os.ReadFile("/proc/filesystems")
	if err != nil || !strings.Contains(string(filesystems), "autofs") {
		proctest.Skip(t, "autofs in the kernel")
	}
	needLandlock(t, 6)
	var free, got map[string]int
	run(t, order{Job: "mount"}, &free)
	if free["nonblocking"] != 0 {
		t.Fatalf("this kernel's autofs leaves the flags alone: %v", free)
	}
	run(t, order{Job: "mount", Policy: &policy{Guarding: true, Guard: seccomp.Flags, Kind: seccomp.Pipe}}, &got)
	if got["mount"] != int(unix.EPERM) || got["nonblocking"] == 0 {
		t.Errorf("with the pipe guarded: %v", got)
	}
	run(t, order{Job: "mount", Policy: &policy{Deny: seccomp.Flags}}, &got)
	if got["mount"] != int(unix.EPERM) || got["nonblocking"] == 0 {
		t.Errorf("with flags denied: %v", got)
	}
	run(t, order{Job: "mount", Policy: &policy{Guarding: true, Guard: seccomp.Flags, Kind: seccomp.Regular}}, &got)
	if got["mount"] != free["mount"] {
		t.Errorf("with a file guarded a mount says %d, without a filter %d", got["mount"], free["mount"])
	}
}

// doExec runs a program and tells how it ended: an exit code, or minus the signal.
func doExec(o order) any {
	err := exec.Command(o.Text).Run()
	if err == nil {
		return 0
	}
	status, ok := err.(*exec.ExitError)
	if !ok {
		return err.Error()
	}
	if wait := status.Sys().(syscall.WaitStatus); wait.Signaled() {
		return -int(wait.Signal())
	}
	return status.ExitCode()
}

// flockProgram locks its standard input through the i386 table and ends with the error number.
const flockProgram = `
	.globl _start
_start:
	mov $143, %eax
	xor %ebx, %ebx
	mov $1, %ecx
	int $0x80
	neg %eax
	mov %eax, %ebx
	mov $1, %eax
	int $0x80
`

// garbageProgram does the same in 64-bit code, with the upper half of the descriptor not zero.
const garbageProgram = `
	.globl _start
_start:
	mov $143, %eax
	movabs $0xdeadbeef00000000, %rbx
	movabs $0xdeadbeef00000001, %rcx
	int $0x80
	neg %eax
	mov %eax, %edi
	mov $60, %eax
	syscall
`

// x32Program calls flock by its number in the x32 table.
const x32Program = `
	.globl _start
_start:
	mov $0x40000049, %eax
	xor %edi, %edi
	mov $1, %esi
	syscall
	mov $0, %edi
	mov $60, %eax
	syscall
`

func assemble(t *testing.T, bits, source string) string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the programs are for x86")
	}
	gcc := proctest.NeedTool(t, "gcc")
	program := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command(gcc, "-m"+bits, "-nostdlib", "-static", "-x", "assembler", "-", "-o", program)
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

func TestForeignTablesOnTheKernel(t *testing.T) {
	for _, c := range []struct{ name, bits, source string }{
		{"a 32-bit program", "32", flockProgram},
		{"int 0x80 in 64-bit code with garbage", "64", garbageProgram},
	} {
		program := assemble(t, c.bits, c.source)
		var free any
		run(t, order{Job: "exec", Text: program}, &free)
		if free != 0.0 {
			t.Skipf("the i386 table (IA32_EMULATION, ia32_emulation=) isn't in this kernel: %s says %v", c.name, free)
		}
		for abi, want := range map[seccomp.ABI]float64{seccomp.ABINative: -float64(unix.SIGSYS), seccomp.ABICompat: float64(unix.EPERM)} {
			var got any
			run(t, order{Job: "exec", Text: program, Policy: &policy{Deny: seccomp.Lock, ABI: abi}}, &got)
			if got != want {
				t.Errorf("%s, %v: %v, want %v", c.name, abi, got, want)
			}
		}
		var got any
		run(t, order{Job: "exec", Text: program, Policy: &policy{Deny: seccomp.Flags, ABI: seccomp.ABICompat}}, &got)
		if got != 0.0 {
			t.Errorf("%s with another operation denied: %v", c.name, got)
		}
	}
}

func TestX32OnTheKernel(t *testing.T) {
	program := assemble(t, "64", x32Program)
	for _, c := range []struct {
		policy *policy
		want   float64
	}{
		{nil, 0},
		{&policy{Deny: seccomp.Flags}, -float64(unix.SIGSYS)},
		{&policy{Deny: seccomp.Flags, ABI: seccomp.ABICompat}, -float64(unix.SIGSYS)},
	} {
		var got any
		run(t, order{Job: "exec", Text: program, Policy: c.policy}, &got)
		if got != c.want {
			t.Errorf("under %+v: %v, want %v", c.policy, got, c.want)
		}
	}
}
