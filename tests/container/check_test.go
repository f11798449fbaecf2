package container

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestCheckInside: check says what the container takes away, in words, and by its status.
func TestCheckInside(t *testing.T) {
	everyRuntime(t, func(t *testing.T, runtime string) {
		bare := checked(t, newBundle(t), runtime)
		for _, c := range []struct {
			name   string
			change func(*testing.T, *bundle, string)
			gone   []string // what is missing beyond what the kernel lacks
		}{
			{"without proc", withoutProc, []string{"proc", "proc-reopen"}},
			{"docker's profile", dockersProfile, []string{"kcmp", "pidfd-getfd", "clone3"}},
			{"docker's profile, CAP_SYS_PTRACE", dockersWithTracing, []string{"clone3"}},
			{"docker's profile and ours", dockersAndOurs, []string{"clone3"}},
		} {
			b := newBundle(t)
			c.change(t, b, runtime)
			missing := checked(t, b, runtime)
			for _, name := range append(c.gone, "kcmp", "pidfd-getfd") {
				wanted := bare[name]
				for _, g := range c.gone {
					wanted = wanted || g == name
				}
				if missing[name] != wanted {
					t.Errorf("%s: %s is missing: %v, want %v", c.name, name, missing[name], wanted)
				}
			}
		}
	})
}

func dockersWithTracing(t *testing.T, b *bundle, runtime string) {
	b.capabilities("CAP_SYS_PTRACE")
	dockersProfile(t, b, runtime)
}

// dockersAndOurs adds to docker's profile what the manual says.
func dockersAndOurs(t *testing.T, b *bundle, runtime string) {
	dockersProfile(t, b, runtime)
	var rule specs.LinuxSyscall
	if err := json.Unmarshal([]byte(fenced(t, "containers.md", "json")[0]), &rule); err != nil {
		t.Fatal(err)
	}
	b.spec.Linux.Seccomp.Syscalls = append(b.spec.Linux.Seccomp.Syscalls, rule)
}

// TestGuardByDescription looks into other processes. Where a profile forbids that, the command isn't started, and it says why;
// the remedies are the manual's.
func TestGuardByDescription(t *testing.T) {
	everyRuntime(t, func(t *testing.T, runtime string) {
		for _, c := range []struct {
			name   string
			change func(*testing.T, *bundle, string)
			status int
		}{
			{"no profile", func(*testing.T, *bundle, string) {}, 0},
			{"docker's profile", dockersProfile, 125},
			{"docker's profile, CAP_SYS_PTRACE", dockersWithTracing, 0},
			{"docker's profile and ours", dockersAndOurs, 0},
		} {
			b := newBundle(t, "/safeexec", "--supervise", "--guard", "--keep", "3", "--", "/inside", "try").hand(hostFile(t, "data"))
			c.change(t, b, runtime)
			r := b.run(t, runtime)
			if r.status != c.status {
				t.Errorf("%s: status %d, want %d: %s", c.name, r.status, c.status, r.stderr)
				continue
			}
			if c.status != 0 {
				if !strings.HasPrefix(r.stderr, "safeexec: ") || !strings.Contains(r.stderr, "without CAP_SYS_PTRACE") {
					t.Errorf("%s: %q", c.name, r.stderr)
				}
				continue
			}
			read(t, r.stdout).wantAll(t, found{"3 F_SETFL": "EPERM", "3 flock": "EPERM", "own F_SETFL": "ok", "own flock": "ok", "3 dup": "ok"})
		}
	})
}

// checked runs check and returns what it says is missing.
func checked(t *testing.T, b *bundle, runtime string) map[string]bool {
	t.Helper()
	r := b.arguments("/safeexec", "check").run(t, runtime)
	if r.stderr != "" || r.status > 1 {
		t.Fatalf("status %d: %s", r.status, r.stderr)
	}
	_, list, some := strings.Cut(string(r.stdout), "\nMISSING")
	counted := strings.Contains(list, "not at full strength")
	if counted != (r.status == 1) {
		t.Errorf("status %d: %s", r.status, r.stdout)
	}
	missing := map[string]bool{}
	if some {
		for _, line := range strings.Split(list, "\n")[1:] {
			var name string
			if fmt.Sscan(line, &name); name == "" {
				break
			}
			missing[name] = true
		}
	}
	return missing
}
