package container

import (
	"encoding/json"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// policy is what safeexec policy prints for container engines.
func policy(t *testing.T, options ...string) []byte {
	t.Helper()
	args := slices.Concat([]string{"policy", "--format", "oci"}, options)
	out, err := exec.Command(filepath.Join(programs(t), "safeexec"), args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A refusal is a choice of options, and what they do to the things that inside tries; the rest stays as it is without them.
type refusal struct {
	options string
	changes found
}

var refusals = []refusal{
	{"--deny flags,lock", found{
		"own F_SETFL": "EPERM", "own FIONBIO": "EPERM", "own flock": "EPERM", "own F_OFD_SETLK": "EPERM",
		"3 F_SETFL": "EPERM", "3 FIONBIO": "EPERM", "3 flock": "EPERM", "3 F_OFD_SETLK": "EPERM",
		"stdout F_SETFL": "EPERM", "stdout becomes O_APPEND": "no",
	}},
	{"--deny owner", found{
		"own F_SETOWN": "EPERM", "own F_SETSIG": "EPERM", "own F_SETFL": "EPERM",
		"3 F_SETOWN": "EPERM", "3 F_SETSIG": "EPERM", "3 F_SETFL": "EPERM",
		"stdout F_SETFL": "EPERM", "stdout becomes O_APPEND": "no",
	}},
	{"--deny seek", found{"own lseek": "EPERM", "3 lseek": "EPERM"}},
	{"--deny pass,steal,wberr", found{
		"own fsync": "EPERM", "3 fsync": "EPERM", "SCM_RIGHTS": "EPERM", "pidfd_getfd": "EPERM", "io_uring_setup": "ENOSYS",
	}},
	{"--guard=flags,lock --guard-reopen never --guard-steal off --keep 3", found{
		"3 F_SETFL": "EPERM", "3 FIONBIO": "EPERM", "3 flock": "EPERM", "3 F_OFD_SETLK": "EPERM",
		"3 F_DUPFD": "EPERM", "3 dup": "EPERM", "stdout becomes O_APPEND": "no",
		"pidfd_getfd": "EPERM", "socket AF_UNIX": "EPERM", "io_uring_setup": "ENOSYS",
	}},
}

// TestExportedPolicy: the profile that safeexec prints, loaded by the runtime, does to the container's program what the same
// options do without a profile, and nothing else.
func TestExportedPolicy(t *testing.T) {
	everyRuntime(t, func(t *testing.T, runtime string) {
		file := hostFile(t, "data")
		try := newBundle(t).hand(file)
		plain := try.arguments("/inside", "try").report(t, runtime)
		for _, r := range refusals {
			// runc reads a directory between loading the profile and executing the program, so seek is nothing for it.
			if runtime == "runc" && strings.Contains(r.options, "seek") {
				continue
			}
			t.Run(r.options, func(t *testing.T) {
				var profile specs.LinuxSeccomp
				if err := json.Unmarshal(policy(t, strings.Fields(r.options)...), &profile); err != nil {
					t.Fatal(err)
				}
				try.spec.Linux.Seccomp = &profile
				byRuntime := try.arguments("/inside", "try").report(t, runtime)
				try.spec.Linux.Seccomp = nil
				r.hold(t, plain, byRuntime)

				options := strings.Fields(r.options)
				if !strings.Contains(r.options, "--keep") {
					options = append(options, "--keep", "3")
				}
				args := slices.Concat([]string{"/safeexec"}, options, []string{"--", "/inside", "try"})
				if bySafeexec := try.arguments(args...).report(t, runtime); !maps.Equal(bySafeexec, byRuntime) {
					t.Errorf("the profile does\n%v\nand safeexec\n%v", byRuntime, bySafeexec)
				}
			})
		}
	})
}

// hold checks what a program found with the options against what it found without.
func (r refusal) hold(t *testing.T, without, with found) {
	t.Helper()
	for what := range r.changes {
		if _, tried := with[what]; !tried {
			t.Errorf("%s hasn't been tried", what)
		}
	}
	with.wantAll(t, r.changes)
	for what, outcome := range without {
		if _, changed := r.changes[what]; !changed {
			with.want(t, what, outcome)
		}
	}
}
