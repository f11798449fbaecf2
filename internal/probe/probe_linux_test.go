package probe

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Helper("under", underHelper)
	proctest.Main(m)
}

// A refusal makes one system call fail, as the sandboxes around us do.
type refusal struct {
	call  uint32
	errno unix.Errno
}

// refuse loads a filter with the refusals into all threads.
func refuse(refusals []refusal) {
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}}
	for _, r := range refusals {
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: r.call},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(r.errno)})
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	filter := &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(filter)))
	if errno != 0 {
		panic(errno)
	}
	runtime.UnlockOSThread()
}

// underHelper probes under refusals ("CALL ERRNO" pairs), after it has looked at its own table, and says what it found and what
// the probing has left behind.
func underHelper(args []string) int {
	var refusals []refusal
	for i := 0; i+1 < len(args); i += 2 {
		number, _ := strconv.Atoi(args[i])
		errno, _ := strconv.Atoi(args[i+1])
		refusals = append(refusals, refusal{uint32(number), unix.Errno(errno)})
	}
	if len(refusals) > 0 {
		refuse(refusals)
	}
	// Opening any file brings the runtime's poller with it, which would else count as left behind by the probe of Yama.
	_, _ = os.ReadFile("/proc/self/comm")
	before, _ := fdtable.List(0)
	features := All()
	after, _ := fdtable.List(0)
	out, err := json.Marshal(struct {
		Features      []Feature
		Before, After int
	}{features, len(before), len(after)})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(out))
	return 0
}

func probeUnder(t *testing.T, refusals ...refusal) map[string]Feature {
	t.Helper()
	var args []string
	for _, r := range refusals {
		args = append(args, fmt.Sprint(r.call), fmt.Sprint(uint(r.errno)))
	}
	cmd := proctest.Command(t, "under", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Features      []Feature
		Before, After int
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatal(err)
	}
	if report.Before != report.After {
		t.Errorf("%d descriptors before the probes, %d after", report.Before, report.After)
	}
	byName := map[string]Feature{}
	for _, f := range report.Features {
		if _, twice := byName[f.Name]; twice {
			t.Errorf("%s twice", f.Name)
		}
		if !f.Present && f.Reason == "" || f.Effect == "" || f.Loss == "" {
			t.Errorf("%+v isn't told in full", f)
		}
		byName[f.Name] = f
	}
	return byName
}

// since are versions of Linux, as numbers that compare.
func version(s string) int {
	major, minor := 0, 0
	fmt.Sscanf(s, "%d.%d", &major, &minor)
	return major*1000 + minor
}

// Every feature of a kernel that is old enough is found, and none that is newer than the kernel. Landlock, kcmp and user
// notification may be configured away; the kernels that CI runs have them.
func TestHere(t *testing.T) {
	running := version(Kernel())
	if running == 0 {
		t.Fatalf("kernel %q", Kernel())
	}
	for name, f := range probeUnder(t) {
		if since := version(f.Since); since != 0 && f.Present != (since <= running) {
			t.Errorf("%s, since %s, on %s: present %v (%s)", name, f.Since, Kernel(), f.Present, f.Reason)
		}
	}
}

func TestRefused(t *testing.T) {
	here := probeUnder(t)
	for _, c := range []struct {
		refused []refusal
		missing []string
		reason  string
	}{
		{
			[]refusal{{unix.SYS_CLOSE_RANGE, unix.ENOSYS}},
			[]string{"close-range", "close-range-cloexec", "close-range-unshare"},
			"ENOSYS",
		},
		{
			[]refusal{{unix.SYS_CLOSE_RANGE, unix.EPERM}},
			[]string{"close-range", "close-range-cloexec", "close-range-unshare"},
			"EPERM",
		},
		{
			[]refusal{{unix.SYS_CLONE3, unix.ENOSYS}}, // with any other error no C library starts a thread
			[]string{"clone3", "clone3-clear-sighand", "clone3-into-cgroup", "clone3-pidfd"},
			"ENOSYS",
		},
		{[]refusal{{unix.SYS_KCMP, unix.EPERM}}, []string{"kcmp"}, "EPERM"},
		{[]refusal{{unix.SYS_PIDFD_GETFD, unix.EPERM}}, []string{"pidfd-getfd"}, "EPERM"},
		{[]refusal{{unix.SYS_LANDLOCK_CREATE_RULESET, unix.EOPNOTSUPP}}, []string{"landlock", "landlock-resolve-unix", "landlock-scope"}, "ENOTSUP"},
		{[]refusal{{unix.SYS_PIPE2, unix.EMFILE}}, []string{"proc-reopen"}, "EMFILE"},
	} {
		var missing []string
		for name, f := range probeUnder(t, c.refused...) {
			if f.Present || !here[name].Present && !slices.Contains(c.missing, name) {
				continue
			}
			missing = append(missing, name)
			if f.Reason != c.reason {
				t.Errorf("%s: %s, not %s", name, f.Reason, c.reason)
			}
		}
		if slices.Sort(missing); !slices.Equal(missing, c.missing) {
			t.Errorf("%v: %v is missing, not %v", c.refused, missing, c.missing)
		}
	}
}

// Where pidfds are refused, the probes that only want a descriptor take another.
func TestNoPidfd(t *testing.T) {
	features := probeUnder(t, refusal{unix.SYS_PIDFD_OPEN, unix.ENOSYS})
	if !features["kcmp"].Present || features["pidfd"].Present || features["pidfd-getfd"].Present {
		t.Errorf("%+v", features)
	}
}

func TestFullStrength(t *testing.T) {
	for _, c := range []struct {
		feature Feature
		want    bool
	}{
		{Feature{Present: true, Loss: Failure}, true},
		{Feature{Loss: Extra}, true},
		{Feature{Loss: Fallback}, false},
		{Feature{Loss: Failure}, false},
	} {
		if got := FullStrength([]Feature{{Present: true}, c.feature}); got != c.want {
			t.Errorf("%+v: %v", c.feature, got)
		}
	}
}
