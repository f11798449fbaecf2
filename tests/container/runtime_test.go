package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/safeexec/safeexec/internal/proctest"
)

// The runtimes that take bundles.
var runtimes = []string{"runc", "crun"}

// everyRuntime runs the test once under each.
func everyRuntime(t *testing.T, test func(t *testing.T, runtime string)) {
	programs(t)
	for _, runtime := range runtimes {
		t.Run(runtime, func(t *testing.T) {
			proctest.NeedTool(t, runtime)
			test(t, runtime)
		})
	}
}

// A bundle is a container to run.
type bundle struct {
	spec  specs.Spec
	first []string   // a command before the one that the container is for, which it executes
	files []*os.File // handed to the container from 3 on, by --preserve-fds
}

// newBundle is a container as docker starts one: the usual capabilities, mounts and namespaces, no seccomp profile.
func newBundle(t *testing.T, args ...string) *bundle {
	t.Helper()
	dir := programs(t)
	root, err := os.MkdirTemp(scratch, "rootfs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	if err := errors.Join(os.Chmod(root, 0o755), os.Mkdir(filepath.Join(root, "proc"), 0o755),
		os.Mkdir(filepath.Join(root, "dev"), 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"safeexec", "busybox", "inside"} {
		if err := os.Link(filepath.Join(dir, name), filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	b := &bundle{spec: specs.Spec{
		Version: "1.0.2",
		Process: &specs.Process{Args: args, Env: []string{"PATH=/"}, Cwd: "/"},
		Root:    &specs.Root{Path: root},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755"}},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.NetworkNamespace},
			},
			Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
		},
	}}
	b.capabilities("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
		"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE")
	return b
}

func (b *bundle) capabilities(names ...string) {
	b.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names}
}

// arguments replaces what the container runs.
func (b *bundle) arguments(args ...string) *bundle {
	b.spec.Process.Args = slices.Concat(b.first, args)
	return b
}

// hand gives the container more descriptors: the first is 3.
func (b *bundle) hand(files ...*os.File) *bundle {
	b.files = files
	return b
}

// A container is a bundle that is about to run.
type container struct {
	*exec.Cmd
	runtime, state, name string
}

// containers counts them, for their names.
var containers atomic.Int64

// container is the runtime's call for the bundle. The runtime's state is kept apart from the machine's own.
func (b *bundle) container(t *testing.T, runtime string) *container {
	t.Helper()
	dir := t.TempDir()
	text, err := json.Marshal(b.spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	c := &container{
		runtime: runtime,
		state:   filepath.Join(dir, "state"),
		name:    fmt.Sprintf("safeexec-test-%d-%d", os.Getpid(), containers.Add(1)),
	}
	args := []string{"--root", c.state, "run", "--bundle", dir}
	if len(b.files) > 0 {
		args = append(args, "--preserve-fds", strconv.Itoa(len(b.files)))
	}
	c.Cmd = call(runtime, append(args, c.name)...)
	c.ExtraFiles = b.files
	return c
}

// kill sends a signal to the container's PID 1.
func (c *container) kill(t *testing.T, signal string) {
	t.Helper()
	if out, err := call(c.runtime, "--root", c.state, "kill", c.name, signal).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// call is a call of the runtime. Debian's crun refuses hybrid cgroups, so it doesn't get to see that half.
func call(runtime string, args ...string) *exec.Cmd {
	const unified = "/sys/fs/cgroup/unified"
	if _, err := os.Stat(unified); runtime == "crun" && err == nil {
		hide := "umount " + unified + ` && exec crun "$@"`
		return exec.Command("unshare", append([]string{"--mount", "sh", "-c", hide, "crun"}, args...)...)
	}
	return exec.Command(runtime, args...)
}

// A result is what came of a container.
type result struct {
	stdout []byte
	stderr string
	status int
}

func (b *bundle) run(t *testing.T, runtime string) result {
	t.Helper()
	return finish(t, b.container(t, runtime).Cmd)
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout.Bytes(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// report runs the bundle and reads what inside found.
func (b *bundle) report(t *testing.T, runtime string) found {
	t.Helper()
	r := b.run(t, runtime)
	if r.status != 0 || r.stderr != "" {
		t.Fatalf("%s: status %d: %s", strings.Join(b.spec.Process.Args, " "), r.status, r.stderr)
	}
	return read(t, r.stdout)
}
