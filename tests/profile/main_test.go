// Package profile drives seccomp profiles of container runtimes: real programs under docker's default profile, and, with the
// tag seccomp, the programs that runc installs beside ours.
package profile

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/profiles/seccomp"

	"github.com/safeexec/safeexec/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// dockersProfile is docker's default profile as it is published, with its conditions.
func dockersProfile(t testing.TB) []byte {
	t.Helper()
	text, err := json.Marshal(seccomp.DefaultProfile())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// readable is a directory that every user may read.
func readable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "profile")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPrograms runs ordinary programs under docker's default profile, and what it refuses; with and without capabilities.
func TestPrograms(t *testing.T) {
	dir := readable(t)
	binary := proctest.NeedBinary(t, dir)
	profile := filepath.Join(dir, "docker.json")
	if err := os.WriteFile(profile, dockersProfile(t), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("as we are", func(t *testing.T) { testPrograms(t, binary, profile, os.Geteuid() == 0, nil) })
	t.Run("as nobody", func(t *testing.T) {
		proctest.NeedRoot(t)
		testPrograms(t, binary, profile, false, &syscall.Credential{Uid: 65534, Gid: 65534})
	})
	t.Run("as root without a capability", func(t *testing.T) {
		proctest.NeedRoot(t)
		without := []string{proctest.NeedTool(t, "setpriv"), "--bounding-set", "-sys_admin", "--inh-caps", "-all", binary}
		testPrograms(t, strings.Join(without, " "), profile, false, nil)
	})
}

func testPrograms(t *testing.T, command, profile string, admin bool, user *syscall.Credential) {
	for _, c := range []struct{ name, script, want string }{
		{"a shell and its children", "ls / | grep -c tmp; (exit 3) || echo $?", "1\n3\n"},
		{
			"an interpreter with threads and children",
			`python3 -c '
import subprocess, threading
threading.Thread(target=lambda: print(subprocess.check_output(["echo", "child"]).decode().strip())).start()'`, "child\n",
		},
		{"a socket", "python3 -c 'import socket; print(len(socket.socketpair()))'", "2\n"},
		{"a socket family that is refused", "python3 -c '\nimport socket\ntry: socket.socket(40, 1)\nexcept OSError as e: print(e.errno)'", "1\n"},
		{"a keyring", "python3 -c 'import ctypes, os; print(ctypes.CDLL(None, use_errno=True).syscall(250, 0, 0, 0), ctypes.get_errno())'", "-1 1\n"},
		{"a call that nobody knows", "python3 -c 'import ctypes; print(ctypes.CDLL(None, use_errno=True).syscall(9999), ctypes.get_errno())'", "-1 38\n"},
		{"unshare", "unshare -U true 2>/dev/null; echo $?", map[bool]string{true: "0\n", false: "1\n"}[admin]},
		{"what is installed", "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | tr -d '\\t'", "NoNewPrivs:1\nSeccomp:2\n"},
	} {
		words := append(strings.Fields(command), "--seccomp-profile", profile, "--", "sh", "-c", c.script)
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Dir = "/"
		cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin"}
		cmd.Stderr = os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
		if out, err := cmd.Output(); err != nil || string(out) != c.want {
			t.Errorf("%s: %q, %v, want %q", c.name, out, err, c.want)
		}
	}
}
