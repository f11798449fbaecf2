package container

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/safeexec/safeexec/internal/proctest"
)

// image is the name of what the tests build and run.
const image = "localhost/safeexec-test"

const containerfile = `FROM scratch
COPY safeexec busybox inside /
ENTRYPOINT ["/safeexec", "--"]
CMD ["/inside", "report"]
`

// podman is a call of podman with storage of its own, in plain directories, and runc below: that needs no kernel module, no
// systemd and no second half of the cgroups.
func podman(args ...string) *exec.Cmd {
	dir := filepath.Join(scratch, "podman")
	return exec.Command("podman", append([]string{
		"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--tmpdir", filepath.Join(dir, "tmp"),
		"--runtime", "runc", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
	}, args...)...)
}

var buildImage = sync.OnceValue(func() error {
	return buildFrom(filepath.Join(scratch, "programs"), containerfile, image)
})

// buildFrom builds an image from a directory.
func buildFrom(context, containerfile, image string) error {
	build := podman("build", "--network", "none", "--file", "-", "--tag", image, context)
	build.Stdin = strings.NewReader(containerfile)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// A podmanRun is a container of the image, or of another: options of podman run, then what goes behind the image's name.
type podmanRun struct {
	image   string
	options []string
	args    []string
	files   []*os.File
}

func (p podmanRun) run(t *testing.T) result {
	t.Helper()
	programs(t)
	proctest.NeedTool(t, "podman")
	proctest.NeedTool(t, "runc")
	if p.image == "" {
		if err := buildImage(); err != nil {
			t.Fatal(err)
		}
		p.image = image
	}
	// Limits that podman would raise otherwise, which not every machine permits.
	args := []string{"run", "--rm", "--network", "none", "--ulimit", "nofile=1024:4096", "--ulimit", "nproc=1000:2000"}
	if len(p.files) > 0 {
		args = append(args, "--preserve-fds", fmt.Sprint(len(p.files)))
	}
	cmd := podman(slices.Concat(args, p.options, []string{p.image}, p.args)...)
	cmd.ExtraFiles = p.files
	return finish(t, cmd)
}

func (p podmanRun) report(t *testing.T) found {
	t.Helper()
	r := p.run(t)
	if r.status != 0 {
		t.Fatalf("%v %v: status %d: %s", p.options, p.args, r.status, r.stderr)
	}
	return read(t, r.stdout)
}

// entrypoint replaces the image's.
func entrypoint(words ...string) []string {
	return []string{"--entrypoint", `["` + strings.Join(words, `","`) + `"]`}
}

// TestImage: the image starts its command under podman's default profile with the descriptors that are named.
func TestImage(t *testing.T) {
	leak := []*os.File{hostDirectory(t)}
	for _, c := range []struct {
		name    string
		options []string
		want    found
	}{
		{"as it is", nil, found{"descriptors": "0,1,2", "uid": "0", "parent": "0", "seccomp": "2 ok", "root": "ok"}},
		{"without safeexec", entrypoint("/inside", "report"), found{"descriptors": "0,1,2,3", "seccomp": "2 ok"}},
		{"keep", entrypoint("/safeexec", "--keep", "3", "--", "/inside", "report"), found{"descriptors": "0,1,2,3"}},
		{"supervise", entrypoint("/safeexec", "--supervise", "--", "/inside", "report"), found{"descriptors": "0,1,2", "parent": "1"}},
		{"guard", entrypoint("/safeexec", "--guard", "--", "/inside", "report"), found{"descriptors": "0,1,2", "no-new-privs": "1 ok"}},
		{"ordinary user, read-only root, no capabilities, no_new_privs", []string{
			"--user", "65534:65534", "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges",
		}, found{"descriptors": "0,1,2", "uid": "65534", "root": "EROFS", "capabilities": "0", "no-new-privs": "1 ok", "seccomp": "2 ok"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := podmanRun{options: c.options, files: leak}
			run.report(t).wantAll(t, c.want)
		})
	}
}

// TestDocumentedImage builds the image that the manual shows, around a server.
func TestDocumentedImage(t *testing.T) {
	const image = "localhost/safeexec-documented"
	from := programs(t)
	context := t.TempDir()
	for to, from := range map[string]string{"safeexec": filepath.Join(from, "safeexec"), "server": filepath.Join(from, "inside")} {
		if err := copyFile(filepath.Join(context, to), from); err != nil {
			t.Fatal(err)
		}
	}
	if err := buildFrom(context, fenced(t, "containers.md", "dockerfile")[0], image); err != nil {
		t.Fatal(err)
	}
	run := podmanRun{image: image, files: []*os.File{hostDirectory(t)}}
	run.report(t).wantAll(t, found{"descriptors": "0,1,2", "parent": "0"})
}

func TestImageAsInit(t *testing.T) {
	r := podmanRun{options: entrypoint("/safeexec", "--supervise", "--"), args: []string{"/busybox", "sh", "-c", "exit 42"}}.run(t)
	if r.status != 42 {
		t.Errorf("status %d: %s", r.status, r.stderr)
	}
}

// TestImageWithLeak: what leads to the host without safeexec leads nowhere behind it.
func TestImageWithLeak(t *testing.T) {
	secret, leak := hostFile(t, "of the host"), hostDirectory(t)
	path := "/proc/self/fd/3/../" + relative(t, leak, secret)
	for _, c := range []struct {
		options []string
		want    string
	}{
		{entrypoint("/inside"), "of the host"},
		{entrypoint("/safeexec", "--", "/inside"), "ENOENT"},
	} {
		run := podmanRun{options: c.options, args: []string{"report", path}, files: []*os.File{leak}}
		run.report(t).want(t, "file "+path, c.want)
	}
}

// TestImageWithPolicy: what podman loads does what safeexec does with the same options.
func TestImageWithPolicy(t *testing.T) {
	file := []*os.File{hostFile(t, "data")}
	unconfined := []string{"--security-opt", "seccomp=unconfined"}
	plain := podmanRun{options: append(unconfined, entrypoint("/inside", "try")...), files: file}.report(t)
	r := refusals[0]
	profile := filepath.Join(t.TempDir(), "profile.json")
	if err := os.WriteFile(profile, policy(t, strings.Fields(r.options)...), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded := append([]string{"--security-opt", "seccomp=" + profile}, entrypoint("/inside", "try")...)
	byPodman := podmanRun{options: loaded, files: file}.report(t)
	r.hold(t, plain, byPodman)
	words := slices.Concat([]string{"/safeexec", "--keep", "3"}, strings.Fields(r.options), []string{"--", "/inside", "try"})
	bySafeexec := podmanRun{options: append(unconfined, entrypoint(words...)...), files: file}.report(t)
	if !maps.Equal(bySafeexec, byPodman) {
		t.Errorf("the profile does\n%v\nand safeexec\n%v", byPodman, bySafeexec)
	}
}

// TestCheckInImage: podman's profile refuses kcmp to who has no CAP_SYS_PTRACE.
func TestCheckInImage(t *testing.T) {
	for _, c := range []struct {
		options []string
		missing bool
	}{
		{nil, true},
		{[]string{"--cap-add", "SYS_PTRACE"}, false},
	} {
		r := podmanRun{options: append(c.options, entrypoint("/safeexec", "check")...)}.run(t)
		if _, list, _ := strings.Cut(string(r.stdout), "\nMISSING"); strings.Contains(list, "kcmp  ") != c.missing || r.stderr != "" {
			t.Errorf("%v: status %d, %s%s", c.options, r.status, r.stdout, r.stderr)
		}
	}
}
