package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/seccomp"
)

// filtering measures package seccomp: making filters, what they cost the calls of a command, and starts under a guard.
func filtering(rounds int, p programs) []table {
	return []table{compileFilters(rounds), callUnderFilters(rounds), startGuarded(rounds, p)}
}

// compileFilters makes the default guard's filter for more and more descriptors.
func compileFilters(rounds int) table {
	t := table{
		title:   "Compiling a guard",
		columns: []column{{"time", "µs", true}, {"size", "instructions", true}},
		notes: []string{
			"The default guard, on descriptors of unknown kind, where every rule is needed. Mixed: of five kinds and eight sets of",
			"operations in turn, which the package alone can be asked for.",
		},
	}
	var subjects []subject
	add := func(name string, policy seccomp.Policy) {
		filter := try(seccomp.Compile(policy))
		t.rows = append(t.rows, row{name, true, []cell{{}, plain(float64(len(filter.Instructions())))}})
		subjects = append(subjects, subject{run: batch(20, func() {
			for range 20 {
				try(seccomp.Compile(policy))
			}
		})})
	}
	for _, n := range []int{4, 64, 256} {
		add(fmt.Sprintf("%d in a row", n), guardOf(n, inARow, alike))
		add(fmt.Sprintf("%d scattered", n), guardOf(n, scattered, alike))
	}
	add("256 scattered, mixed", guardOf(256, scattered, mixed))
	for i, r := range interleave(rounds, subjects) {
		t.rows[i].cells[0] = plain(r.time() / 1e3)
	}
	return t
}

// firstGuarded is high, beyond what Go opens for itself.
const firstGuarded = 100

func inARow(i int) int    { return firstGuarded + i }
func scattered(i int) int { return firstGuarded + 3*i + i*i/2 }

func alike(int) (seccomp.Kind, seccomp.Op) { return seccomp.Unknown, seccomp.DefaultGuard }

func mixed(i int) (seccomp.Kind, seccomp.Op) {
	kinds := []seccomp.Kind{seccomp.Regular, seccomp.Pipe, seccomp.Socket, seccomp.Terminal, seccomp.Directory}
	sets := []seccomp.Op{
		seccomp.Flags, seccomp.Flags | seccomp.Lock, seccomp.Seek, seccomp.DefaultGuard,
		seccomp.Offset, seccomp.Offset | seccomp.Mode, seccomp.Mode | seccomp.Lock, seccomp.Owner,
	}
	return kinds[i%len(kinds)], sets[i%len(sets)]
}

// guardOf guards n descriptors.
func guardOf(n int, number func(i int) int, what func(i int) (seccomp.Kind, seccomp.Op)) seccomp.Policy {
	policy := seccomp.Policy{Guard: true, Landlock: seccomp.LandlockABI()}
	for i := range n {
		kind, ops := what(i)
		policy = policy.Keep(seccomp.Descriptor{Number: number(i), Kind: kind, Guard: ops})
	}
	return policy
}

// callUnderFilters measures calls in processes that are under different filters.
func callUnderFilters(rounds int) table {
	const calls = 2000
	filters := []string{
		"no filter", "no filter" + again, "guard, 4 in a row", "guard, 64 scattered", "guard, 64 scattered" + again,
		"an engine's profile", "an engine's profile" + again,
	}
	var subjects []subject
	t := table{title: "Calls under a filter", notes: []string{
		"Ratios are to no filter. The guarded fcntl looks at the flags of a descriptor that the guard names, which is permitted.",
		fmt.Sprintf("An engine's profile: an allow-list of the shape of docker's default, %d instructions.", len(allowList())),
	}}
	for _, name := range filters {
		w := ours("seccomp", strings.TrimSuffix(name, again))
		defer w.dismiss()
		t.rows = append(t.rows, row{name: name, ours: strings.HasPrefix(name, "guard")})
		for _, call := range calledUnderFilters {
			subjects = append(subjects, subject{run: func() reading {
				return reading{w.ask(call+" "+strconv.Itoa(calls)) / calls, math.NaN()}
			}})
		}
	}
	taken := interleave(rounds, subjects)
	for i, call := range calledUnderFilters {
		var ns []float64
		for f := range filters {
			ns = append(ns, taken[f*len(calledUnderFilters)+i].time())
		}
		t.add(call, "ns", ns, func(ns float64) float64 { return ns })
	}
	return t
}

var calledUnderFilters = []string{"getppid", "read", "write", "fcntl", "fcntl-guarded"}

// filterWorker puts its thread under a filter, and then makes calls.
func filterWorker(args []string) func(question []string) {
	runtime.LockOSThread()
	zero := uintptr(try(unix.Open("/dev/zero", unix.O_RDWR|unix.O_CLOEXEC, 0)))
	guarded := uintptr(try(unix.FcntlInt(zero, unix.F_DUPFD_CLOEXEC, firstGuarded)))
	own := uintptr(try(unix.FcntlInt(zero, unix.F_DUPFD_CLOEXEC, 4000))) // beyond everything that is guarded
	switch args[0] {
	case "guard, 4 in a row":
		must(try(seccomp.Compile(guardOf(4, inARow, alike))).Load())
	case "guard, 64 scattered":
		must(try(seccomp.Compile(guardOf(64, scattered, alike))).Load())
	case "an engine's profile":
		loadAllowList()
	}
	var buffer [1]byte
	at := uintptr(unsafe.Pointer(&buffer[0]))
	forms := map[string][4]uintptr{
		"getppid":       {unix.SYS_GETPPID},
		"read":          {unix.SYS_READ, own, at, 1},
		"write":         {unix.SYS_WRITE, own, at, 1},
		"fcntl":         {unix.SYS_FCNTL, own, unix.F_GETFL},
		"fcntl-guarded": {unix.SYS_FCNTL, guarded, unix.F_GETFL},
	}
	return func(question []string) {
		call := forms[question[0]]
		for range try(strconv.Atoi(question[1])) {
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				fail("%s: %w", question[0], errno)
			}
		}
		runtime.KeepAlive(&buffer)
	}
}

// refusedByEngines are the calls that container engines leave out of their lists, as far as every machine has them.
var refusedByEngines = []uint32{
	unix.SYS_ACCT, unix.SYS_ADD_KEY, unix.SYS_BPF, unix.SYS_CHROOT, unix.SYS_CLOCK_SETTIME, unix.SYS_DELETE_MODULE,
	unix.SYS_FINIT_MODULE, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSOPEN, unix.SYS_FSPICK, unix.SYS_GET_MEMPOLICY,
	unix.SYS_INIT_MODULE, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, unix.SYS_IO_URING_SETUP, unix.SYS_KCMP,
	unix.SYS_KEXEC_FILE_LOAD, unix.SYS_KEXEC_LOAD, unix.SYS_KEYCTL, unix.SYS_LOOKUP_DCOOKIE, unix.SYS_MBIND, unix.SYS_MOUNT,
	unix.SYS_MOUNT_SETATTR, unix.SYS_MOVE_MOUNT, unix.SYS_MOVE_PAGES, unix.SYS_NFSSERVCTL, unix.SYS_OPEN_BY_HANDLE_AT,
	unix.SYS_OPEN_TREE, unix.SYS_PERF_EVENT_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_PIVOT_ROOT, unix.SYS_PROCESS_MADVISE,
	unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_REBOOT, unix.SYS_REQUEST_KEY, unix.SYS_SETDOMAINNAME,
	unix.SYS_SETHOSTNAME, unix.SYS_SETNS, unix.SYS_SETTIMEOFDAY, unix.SYS_SET_MEMPOLICY, unix.SYS_SWAPOFF, unix.SYS_SWAPON,
	unix.SYS_SYSLOG, unix.SYS_UMOUNT2, unix.SYS_UNSHARE, unix.SYS_USERFAULTFD, unix.SYS_VHANGUP,
}

// allowList is a filter of the shape that container engines load: one comparison after the other for each call that is
// permitted, EPERM for the rest.
func allowList() []unix.SockFilter {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		give  = unix.BPF_RET
	)
	machine := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	program := []unix.SockFilter{
		{Code: load, K: 4}, {Code: equal, Jt: 1, K: machine}, {Code: give, K: unix.SECCOMP_RET_KILL_PROCESS}, {Code: load},
	}
	// Between the old numbers of a machine and the ones that all share from 424 on there is nothing.
	for call := range uint32(unix.SYS_CACHESTAT + 1) {
		if call > unix.SYS_RSEQ && call < unix.SYS_PIDFD_SEND_SIGNAL || slices.Contains(refusedByEngines, call) {
			continue
		}
		program = append(program,
			unix.SockFilter{Code: equal, Jf: 1, K: call}, unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ALLOW})
	}
	return append(program, unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})
}

func loadAllowList() {
	list := allowList()
	program := unix.SockFprog{Len: uint16(len(list)), Filter: &list[0]}
	must(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	must(unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0))
}

// startGuarded measures starts with a guard against starts without: such as need Go's runtime too, and plain ones, which don't. What
// the kernel takes for the filter and the domain alone is the difference of two that are in C.
func startGuarded(rounds int, p programs) table {
	file := try(unix.Open("/proc/self/exe", unix.O_RDONLY, 0)) // inherited by every start
	defer unix.Close(file)
	filter := filepath.Join(p.dir, "guard.bpf")
	must(os.WriteFile(filter, try(seccomp.Compile(guardOf(0, inARow, alike))).Raw(), 0o600))
	keep := strconv.Itoa(file)
	type line struct {
		name string
		argv []string
	}
	lines := []line{
		{"nothing", nil},
		{"safeexec --leaks close", []string{p.safeexec, "--leaks", "close", "--"}},
		{"safeexec --leaks close" + again, []string{p.safeexec, "--leaks", "close", "--"}},
		{"safeexec --guard", []string{p.safeexec, "--guard", "--"}},
		{"safeexec --leaks close --keep N", []string{p.safeexec, "--leaks", "close", "--keep", keep, "--"}},
		{"safeexec --guard --keep N", []string{p.safeexec, "--guard", "--keep", keep, "--"}},
		{"safeexec", []string{p.safeexec, "--"}},
		{"safeexec --keep N", []string{p.safeexec, "--keep", keep, "--"}},
		{"C, close_range", []string{p.wrap, "range"}},
	}
	if seccomp.LandlockABI() >= 6 { // else the domain is another
		lines = append(lines, line{"C, close_range, filter and domain", []string{p.wrap, "guard", filter}})
	}
	var subjects []subject
	for _, line := range lines {
		subjects = append(subjects, subject{run: start(append(line.argv, p.tiny)...)})
	}
	t := table{
		title:   "Start-up under a guard",
		columns: []column{{"whole start", "µs", true}, {"added", "µs", false}, {"added", "faults", false}},
		notes: []string{
			"0 to 2 are /dev/null, which becomes private; N is a regular file, which the guard holds by number. Ratios are to the first line",
			"of safeexec's, which needs Go's runtime as a guard does. Plain lines don't wait for that. The last two are what the kernel takes for",
			"the guard's filter and Landlock domain alone.",
		},
	}
	taken := interleave(rounds, subjects)
	base, _ := taken[1].over(taken[0])
	for i, line := range lines {
		added, faults := taken[i].over(taken[0])
		t.rows = append(t.rows, row{line.name, strings.HasPrefix(line.name, "safeexec"), []cell{
			{taken[i].time() / 1e3, taken[i].time() / taken[1].time()}, {added / 1e3, added / base}, plain(faults),
		}})
	}
	return t
}
