package guard

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// exported runs safeexec policy.
func exported(t *testing.T, options ...string) []byte {
	t.Helper()
	cmd := exec.Command(safeexec, append([]string{"policy"}, options...)...)
	out, err := cmd.Output()
	must(t, err)
	return out
}

// TestOthersLoadIt: the raw filter in bubblewrap, in setpriv where it can load one, and in a second safeexec, does what it does in
// the first.
func TestOthersLoadIt(t *testing.T) {
	dir := t.TempDir()
	raw := filepath.Join(dir, "filter.bpf")
	must(t, os.WriteFile(raw, exported(t, "--guard", "--keep", "3", "--deny", "lock", "--format", "bpf"), 0o644))
	loaders := map[string][]string{
		"safeexec": {safeexec, "--seccomp-bpf", raw, "--keep", "3", "--"},
	}
	if bwrap, err := exec.LookPath("bwrap"); err == nil {
		sandbox := []string{"sh", "-c", `exec bwrap --bind / / --dev-bind /dev /dev --seccomp 9 "$@" 9<"$0"`, raw}
		if out, err := exec.Command(bwrap, "--bind", "/", "/", "true").CombinedOutput(); err != nil {
			t.Logf("bwrap makes no sandbox here: %s", out)
		} else {
			loaders["bwrap"] = sandbox
		}
	}
	if help, _ := exec.Command("setpriv", "--help").CombinedOutput(); strings.Contains(string(help), "--seccomp-filter") {
		loaders["setpriv"] = []string{"setpriv", "--no-new-privs", "--seccomp-filter", raw}
	} else {
		t.Log("this setpriv loads no filters (util-linux 2.40 does)")
	}
	for name, loader := range loaders {
		t.Run(name, func(t *testing.T) {
			// The helper is started by the loader alone: safeexec behind it asks for nothing.
			trial{wrapper: loader, options: []string{"--keep", "3"}, fds: map[int]*os.File{3: regular(t, os.O_RDWR)}}.expect(t,
				"nonblock:3 EPERM", "dup:3 EPERM", "seek:3 EPERM", "lock:0 EPERM", "nonblock:0 pretended", "dup:0 ok", "read:3 ok", "getfd EPERM",
				"uring ENOSYS")
		})
	}
}

// TestOCI: what container engines read, by the runtime specification's names.
func TestOCI(t *testing.T) {
	var profile struct {
		DefaultAction string
		Architectures []string
		Syscalls      []struct {
			Names    []string
			Action   string
			ErrnoRet *uint
			Args     []struct {
				Index           uint
				Value, ValueTwo uint64
				Op              string
			}
		}
	}
	must(t, json.Unmarshal(exported(t, "--guard", "--keep", "3", "--deny", "tty", "--format", "oci"), &profile))
	if profile.DefaultAction != "SCMP_ACT_ALLOW" || len(profile.Architectures) == 0 {
		t.Errorf("%+v", profile)
	}
	setsFlags := false
	for _, s := range profile.Syscalls {
		if len(s.Names) == 0 || !strings.HasPrefix(s.Action, "SCMP_ACT_") {
			t.Errorf("%+v", s)
		}
		for _, a := range s.Args {
			if a.Index > 5 || !strings.HasPrefix(a.Op, "SCMP_CMP_") {
				t.Errorf("%+v", s)
			}
		}
		setsFlags = setsFlags || slices.Contains(s.Names, "fcntl") && len(s.Args) >= 2
	}
	if !setsFlags {
		t.Error("no rule is about fcntl")
	}
}

// TestExplained: what --explain says is what the kernel does.
func TestExplained(t *testing.T) {
	options := []string{"--guard", "--keep", "3", "--guard-steal", "off"}
	for call, attempt := range map[string]string{
		"fcntl(3, F_SETFL)": "nonblock:3", "flock(3, LOCK_EX)": "lock:3", "dup(3)": "dup:3", "dup(0)": "dup:0",
		"dup3(3, 9)": "dup2:3:9", "lseek(3, 0, SEEK_SET)": "seek:3", "read(3)": "read:3", "fcntl(3, F_SETOWN)": "owner:3",
		"socketpair(AF_UNIX, SOCK_DGRAM)": "dgrams", "socket(AF_INET)": "tcp",
	} {
		said := strings.TrimSpace(string(exported(t, append(slices.Clone(options), "--explain", call)...)))
		want := "ok"
		if strings.HasPrefix(said, "refused with EPERM") {
			want = "EPERM"
		} else if !strings.HasPrefix(said, "permitted") {
			t.Errorf("%s: %q", call, said)
		}
		trial{options: options, fds: map[int]*os.File{3: regular(t, os.O_RDWR)}}.expect(t, attempt+" "+want)
	}
}
