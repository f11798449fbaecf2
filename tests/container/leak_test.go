package container

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPreservedDescriptors: what the runtime hands over reaches the command if it is named, and not otherwise.
func TestPreservedDescriptors(t *testing.T) {
	everyRuntime(t, func(t *testing.T, runtime string) {
		for _, c := range []struct {
			options, stdout string
			status          int
		}{
			{"--keep 3", "from the host", 0},
			{"--keep 4", "", 1},
			{"", "", 1},
		} {
			args := append([]string{"/safeexec"}, strings.Fields(c.options)...)
			b := newBundle(t, append(args, "--", "/busybox", "sh", "-c", "exec /busybox cat <&3 || exit 1")...)
			r := b.hand(hostFile(t, "from the host"), hostDirectory(t)).run(t, runtime)
			if string(r.stdout) != c.stdout || (r.status != 0) != (c.status != 0) {
				t.Errorf("%q: status %d, %q: %s", c.options, r.status, r.stdout, r.stderr)
			}
		}
		r := newBundle(t, "/safeexec", "--keep", "5", "--", "/inside", "report").hand(hostDirectory(t)).run(t, runtime)
		if want := "safeexec: --keep 5: descriptor 5 is not open\n"; r.status != 125 || r.stderr != want {
			t.Errorf("status %d, %q, want %q", r.status, r.stderr, want)
		}
	})
}

// TestLeakedDirectory is CVE-2024-21626 made on purpose: a directory of the host is open in the container's first process.
// From there a path leads to all of the host, and behind safeexec to nothing.
func TestLeakedDirectory(t *testing.T) {
	everyRuntime(t, func(t *testing.T, runtime string) {
		secret := hostFile(t, "of the host")
		leak := hostDirectory(t)
		out := "/proc/self/fd/3" + strings.Repeat("/..", strings.Count(leak.Name(), "/"))
		for _, path := range []string{out + secret.Name(), "/proc/1/fd/3/../" + relative(t, leak, secret)} {
			for _, c := range []struct {
				name    string
				command []string
				want    string
			}{
				{"bare", nil, "of the host"},
				{"safeexec", []string{"/safeexec", "--"}, "ENOENT"},
				{"safeexec --supervise", []string{"/safeexec", "--supervise", "--"}, "ENOENT"},
			} {
				r := newBundle(t, append(c.command, "/inside", "report", path)...).hand(leak).run(t, runtime)
				if got := read(t, r.stdout)["file "+path]; got != c.want {
					t.Errorf("%s reads %s: %q, want %q", c.name, path, got, c.want)
				}
				// A word that names a descriptor may be one that should have been kept: that is said.
				if c.command != nil && strings.HasPrefix(path, "/proc/self") && !strings.Contains(r.stderr, "--keep-args") {
					t.Errorf("%s: no warning about %s: %q", c.name, path, r.stderr)
				}
			}
		}
	})
}

// TestLeakedProgram: the command itself can't be found by way of the leak either.
func TestLeakedProgram(t *testing.T) {
	everyRuntime(t, func(t *testing.T, runtime string) {
		leak := hostDirectory(t)
		program := filepath.Join(leak.Name(), "program")
		if err := copyFile(program, filepath.Join(programs(t), "inside")); err != nil {
			t.Fatal(err)
		}
		path := "/proc/self/fd/3/../" + filepath.Base(leak.Name()) + "/program"
		newBundle(t, path, "report").hand(leak).report(t, runtime).want(t, "descriptors", "0,1,2,3")
		for _, options := range [][]string{{"--"}, {"--supervise", "--"}} {
			args := append(append([]string{"/safeexec"}, options...), path, "report")
			r := newBundle(t, args...).hand(leak).run(t, runtime)
			if r.status != 126 || len(r.stdout) != 0 || !strings.Contains(r.stderr, "no such file or directory") {
				t.Errorf("%v: status %d, %q, %q", options, r.status, r.stdout, r.stderr)
			}
		}
	})
}

// TestLeaksAreNamed: a container's first process has got what it has from a process that it can't see.
func TestLeaksAreNamed(t *testing.T) {
	everyRuntime(t, func(t *testing.T, runtime string) {
		leak := hostDirectory(t)
		r := newBundle(t, "/safeexec", "--leaks", "error", "--", "/inside").hand(leak).run(t, runtime)
		want := "safeexec: descriptor 3 leaks: directory " + leak.Name() + ", inherited from outside of this PID namespace\n"
		if r.status != 125 || !strings.HasPrefix(r.stderr, want) {
			t.Errorf("status %d, %q, want %q", r.status, r.stderr, want)
		}
	})
}

// TestRuntimesOwnDescriptors: --preserve-fds counts numbers, whatever is open there. Where the caller has left a hole,
// Debian 12's runc hands its own over: /sys/fs/cgroup of the host, the very directory of CVE-2024-21626.
func TestRuntimesOwnDescriptors(t *testing.T) {
	const runtime = "runc"
	b := newBundle(t, "/inside", "report").hand(nil, nil, hostFile(t, "data"))
	t.Logf("without safeexec: %s", b.report(t, runtime)["descriptors"])
	b.arguments("/safeexec", "--keep", "5", "--", "/inside", "report").report(t, runtime).want(t, "descriptors", "0,1,2,5")
}

// relative is the path of a file from the parent of a directory.
func relative(t *testing.T, dir, file *os.File) string {
	t.Helper()
	path, err := filepath.Rel(filepath.Dir(dir.Name()), file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return path
}
