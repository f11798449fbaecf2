package container

import (
	"bufio"
	"errors"
	"os/exec"
	"testing"
)

// supervised is a bundle with safeexec as init, and a script for its command.
func supervised(t *testing.T, script string) *bundle {
	t.Helper()
	return newBundle(t, "/safeexec", "--supervise", "--", "/busybox", "sh", "-c", script)
}

func TestInitPassesTheStatusOn(t *testing.T) {
	everyRuntime(t, func(t *testing.T, runtime string) {
		for _, c := range []struct {
			script string
			status int
		}{
			{"exit 42", 42},
			{"kill -KILL $$", 128 + 9},
			{"exec /nothing", 127},
		} {
			if r := supervised(t, c.script).run(t, runtime); r.status != c.status {
				t.Errorf("%s: status %d, want %d: %s", c.script, r.status, c.status, r.stderr)
			}
		}
		for _, c := range []struct {
			command, stderr string
			status          int
		}{
			{"/nothing", "safeexec: /nothing: no such file or directory\n", 127},
			{"/proc", "safeexec: /proc: permission denied\n", 126},
		} {
			r := newBundle(t, "/safeexec", "--supervise", "--", c.command).run(t, runtime)
			if r.status != c.status || r.stderr != c.stderr {
				t.Errorf("%s: status %d, %q, want %d, %q", c.command, r.status, r.stderr, c.status, c.stderr)
			}
		}
	})
}

// TestInitPassesSignalsOn: what the runtime sends to PID 1 comes to the command, which dies of it if it doesn't say otherwise.
// A command that is PID 1 itself isn't killed by a signal that it has no handler for.
func TestInitPassesSignalsOn(t *testing.T) {
	const plain = "echo ready; exec /busybox sleep 1000"
	everyRuntime(t, func(t *testing.T, runtime string) {
		for _, c := range []struct {
			name    string
			bundle  *bundle
			signals []string
			status  int
		}{
			{"default", supervised(t, plain), []string{"TERM"}, 128 + 15},
			{"handler", supervised(t, `trap "exit 7" TERM; echo ready; while :; do /busybox sleep 0.01; done`), []string{"TERM"}, 7},
			{"stopped", supervised(t, `trap "exit 8" CONT; echo ready; while :; do /busybox sleep 0.01; done`), []string{"CONT"}, 8},
			{"in place", newBundle(t, "/safeexec", "--", "/busybox", "sh", "-c", plain), []string{"TERM", "KILL"}, 128 + 9},
		} {
			if got := signalled(t, c.bundle.container(t, runtime), c.signals); got != c.status {
				t.Errorf("%s: status %d, want %d", c.name, got, c.status)
			}
		}
	})
}

// signalled runs a container that says when it is ready, sends it signals, and returns its status.
func signalled(t *testing.T, c *container, signals []string) int {
	t.Helper()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	for _, signal := range signals {
		c.kill(t, signal)
	}
	var exit *exec.ExitError
	if err := c.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode()
}

// TestInitReapsOrphans: a process whose parent has ended becomes PID 1's child, and leaves no zombie there. The script would
// wait for ever for a zombie to go.
func TestInitReapsOrphans(t *testing.T) {
	const script = `
		orphan=$(/busybox sleep 1000 >/dev/null 2>&1 & echo $!)
		/busybox cut -d ' ' -f 4 /proc/$orphan/stat
		kill -KILL $orphan
		while test -e /proc/$orphan; do /busybox sleep 0.01; done
		echo reaped`
	everyRuntime(t, func(t *testing.T, runtime string) {
		if r := supervised(t, script).run(t, runtime); string(r.stdout) != "1\nreaped\n" || r.status != 0 {
			t.Errorf("status %d, %q, %s", r.status, r.stdout, r.stderr)
		}
	})
}
