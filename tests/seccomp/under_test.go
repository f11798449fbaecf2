package seccomp_test

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/seccomp"
	"golang.org/x/sys/unix"
)

// F_NOTIFY makes the calling thread the owner, whom only the main thread can be seen as: helpers work there.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	proctest.Helper("under", helpUnder)
	proctest.Main(m)
}

// order is what a helper process is to do: under which policy, and what.
type order struct {
	Policy *policy // none: no filter
	Job    string
	Kinds  []seccomp.Kind
	Text   string
}

// policy is a seccomp.Policy that can be sent to another process, with its descriptors.
type policy struct {
	Deny, Guard seccomp.Op // guard of the descriptor at the number that is guarded
	Kind        seccomp.Kind
	Guarding    bool
	Passing     seccomp.Passing
	Action      seccomp.Action
	ABI         seccomp.ABI
	Standard    bool // 0 to 2 are guarded too, advisory
}

func (p policy) make() seccomp.Policy {
	made := seccomp.Policy{
		Deny: p.Deny, Guard: p.Guarding, Passing: p.Passing, Action: p.Action, ABI: p.ABI, Landlock: seccomp.LandlockABI(),
	}
	if p.Guard != 0 {
		made = made.Keep(seccomp.Descriptor{Number: guarded, Kind: p.Kind, Guard: p.Guard})
	}
	for number := range 3 {
		if p.Standard {
			made = made.Keep(seccomp.Descriptor{
				Number: number, Guard: seccomp.Flags | seccomp.Owner | seccomp.Lock, Advisory: true,
			})
		}
	}
	return made
}

// loadedVariable tells the helper that the filter is on already: it loads and then executes itself once more, so that all
// threads of the second run are under the filter, the runtime's own too.
const loadedVariable = "SAFEEXEC_TEST_LOADED"

var jobs = map[string]func(order) any{
	"attempts": doAttempts,
	"dups":     doDups,
	"anywhere": doAnywhere,
	"ordinary": doOrdinary,
	"steal":    doSteal,
	"abstract": doAbstract,
	"named":    doNamed,
	"mount":    doMount,
	"exec":     doExec,
}

func helpUnder(args []string) int {
	var o order
	if err := json.Unmarshal([]byte(args[0]), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if o.Policy != nil && os.Getenv(loadedVariable) == "" {
		err := loadAndStartAgain(o.Policy.make())
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Unsetenv(loadedVariable)
	if err := json.NewEncoder(os.Stdout).Encode(jobs[o.Job](o)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func loadAndStartAgain(p seccomp.Policy) error {
	runtime.LockOSThread()
	f, err := seccomp.Compile(p)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := f.Load(); err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, append(proctest.Environment("under"), loadedVariable+"=1"))
}

// run has a helper do a job and report.
func run(t *testing.T, o order, report any) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := proctest.Command(t, "under", string(text))
	cmd.Stderr = os.Stderr
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%+v: %v %s", o, err, out)
	}
	if err := json.Unmarshal(out, report); err != nil {
		t.Fatalf("%+v: %v: %s", o, err, out)
	}
}

// needLandlock skips where a guard against stealing can't be had.
func needLandlock(t *testing.T, abi int) {
	t.Helper()
	if have := seccomp.LandlockABI(); have < abi {
		proctest.Skip(t, fmt.Sprintf("Landlock ABI %d (the kernel has %d)", abi, have))
	}
}

// errnoOf makes an error portable: 0 is success, -1 an error that isn't the kernel's.
func errnoOf(err error) int {
	if err == nil {
		return 0
	}
	if errno, ok := err.(unix.Errno); ok {
		return int(errno)
	}
	return -1
}
