package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// An object is what the tests want to know of a manifest. The spec is a pod's, or for a DaemonSet has one in its template.
type object struct {
	Kind     string
	Metadata metadata
	Data     map[string]string
	Spec     struct {
		podSpec
		Selector struct{ MatchLabels map[string]string }
		Template struct {
			Metadata metadata
			Spec     podSpec
		}
	}
}

type metadata struct {
	Name   string
	Labels map[string]string
}

type podSpec struct {
	SecurityContext            security
	InitContainers, Containers []podContainer
	Volumes                    []podVolume
}

type podVolume struct {
	Name      string
	ConfigMap struct{ Name string }
	HostPath  struct{ Path string }
}

type podContainer struct {
	Name, Image     string
	Command, Args   []string
	SecurityContext security
	ReadinessProbe  struct{ Exec struct{ Command []string } }
	VolumeMounts    []struct {
		Name, MountPath string
		ReadOnly        bool
	}
}

type security struct {
	RunAsUser                *int64
	AllowPrivilegeEscalation *bool
	ReadOnlyRootFilesystem   bool
	Capabilities             struct{ Drop []string }
	SeccompProfile           *struct{ Type, LocalhostProfile string }
}

var buildDecoder = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(scratch, "manifest")
	if out, err := exec.Command("go", "build", "-o", path, "./manifest").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// decode decodes manifests strictly, as the types that they say they are.
func decode(t *testing.T, manifests string) (objects []object, err error) {
	t.Helper()
	path, err := buildDecoder()
	if err != nil {
		t.Fatal(err)
	}
	decoder := exec.Command(path)
	decoder.Stdin = strings.NewReader(manifests)
	var stderr strings.Builder
	decoder.Stderr = &stderr
	out, err := decoder.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.String())
	}
	if err := json.Unmarshal(out, &objects); err != nil {
		t.Fatal(err)
	}
	return objects, nil
}

// fenced returns what stands between the fences of a language in a document.
func fenced(t *testing.T, document, language string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs", document))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, rest := range strings.Split(string(text), "```"+language+"\n")[1:] {
		block, _, closed := strings.Cut(rest, "```\n")
		if !closed {
			t.Fatalf("%s: a fence isn't closed", document)
		}
		blocks = append(blocks, block)
	}
	return blocks
}

// manifests are those of docs/kubernetes.md.
func manifests(t *testing.T) string {
	t.Helper()
	return strings.Join(fenced(t, "kubernetes.md", "yaml"), "---\n")
}

// cluster is what the manifests make, by kind and name.
func cluster(t *testing.T) map[string]object {
	t.Helper()
	list, err := decode(t, manifests(t))
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]object{}
	for _, o := range list {
		objects[o.Kind+" "+o.Metadata.Name] = o
	}
	return objects
}

func TestManifests(t *testing.T) {
	programs(t)
	objects := cluster(t)
	for _, name := range []string{"Pod server", "Namespace safeexec", "ConfigMap profiles", "DaemonSet profiles", "Pod confined"} {
		if objects[name].Kind == "" {
			t.Errorf("there is no %s", name)
		}
	}
	// The decoder is as strict as it has to be.
	for _, mistake := range [][2]string{
		{"mountPath:", "mountpath:"},
		{"kind: Pod", "kind: Pods"},
		{"runAsUser: 65534", "runAsUser: nobody"},
		{"readOnly: true", "readOnly: true\n          readOnly: true"},
	} {
		wrong := strings.Replace(manifests(t), mistake[0], mistake[1], 1)
		if _, err := decode(t, wrong); err == nil || wrong == manifests(t) {
			t.Errorf("nothing is said about %q", mistake[1])
		}
	}
	set := objects["DaemonSet profiles"].Spec
	if len(set.Selector.MatchLabels) == 0 || !maps.Equal(set.Selector.MatchLabels, set.Template.Metadata.Labels) {
		t.Errorf("the selector is %v and the labels %v", set.Selector.MatchLabels, set.Template.Metadata.Labels)
	}
	for _, pod := range []podSpec{objects["Pod server"].Spec.podSpec, objects["Pod confined"].Spec.podSpec, set.Template.Spec} {
		mountsVolumes(t, pod)
	}
}

// mountsVolumes checks that every mount has its volume, and every volume a mount.
func mountsVolumes(t *testing.T, pod podSpec) {
	t.Helper()
	mounted := map[string]bool{}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		for _, m := range c.VolumeMounts {
			mounted[m.Name] = true
		}
	}
	for _, v := range pod.Volumes {
		if !mounted[v.Name] {
			t.Errorf("nothing mounts %s", v.Name)
		}
		delete(mounted, v.Name)
	}
	for name := range mounted {
		t.Errorf("there is no volume %s", name)
	}
}

// TestManifestsProfile: the profile is what safeexec prints, and lies where the pod looks for it.
func TestManifestsProfile(t *testing.T) {
	programs(t)
	objects := cluster(t)
	local := objects["Pod confined"].Spec.Containers[0].SecurityContext.SeccompProfile.LocalhostProfile
	config := objects["ConfigMap profiles"]
	set := objects["DaemonSet profiles"].Spec.Template.Spec
	if where := volume(t, set, "seccomp").HostPath.Path; where != path.Join("/var/lib/kubelet/seccomp", path.Dir(local)) {
		t.Errorf("the profiles go to %s, and the pod asks for %s", where, local)
	}
	if from := volume(t, set, "profiles").ConfigMap.Name; from != config.Metadata.Name {
		t.Errorf("the profiles come from %s", from)
	}
	var has, prints any
	if err := json.Unmarshal([]byte(config.Data[path.Base(local)]), &has); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(policy(t, "--deny", "lock"), &prints); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(has, prints) {
		t.Errorf("the profile is\n%v\nand safeexec prints\n%v", has, prints)
	}
}

func volume(t *testing.T, pod podSpec, name string) podVolume {
	t.Helper()
	i := slices.IndexFunc(pod.Volumes, func(v podVolume) bool { return v.Name == name })
	if i < 0 {
		t.Fatalf("there is no volume %s", name)
	}
	return pod.Volumes[i]
}

// TestManifestsRun runs the pods' containers one after the other, as a kubelet would, with directories for the volumes.
func TestManifestsRun(t *testing.T) {
	programs(t)
	if err := buildKubernetesImages(); err != nil {
		t.Fatal(err)
	}
	objects := cluster(t)

	n := &node{volumes: map[string]string{"safeexec": open(t)}}
	server := objects["Pod server"].Spec.podSpec
	for _, c := range server.InitContainers {
		if r := n.run(t, server, c); r.status != 0 {
			t.Fatalf("%s: status %d: %s", c.Name, r.status, r.stderr)
		}
	}
	r := n.run(t, server, server.Containers[0])
	f := read(t, r.stdout)
	f.wantAll(t, found{
		"uid": "65534", "parent": "1", "descriptors": "0,1,2", "root": "EROFS", "capabilities": "0", "seccomp": "2 ok", "flock": "EPERM",
	})

	n.seccomp = t.TempDir()
	local := filepath.Join(n.seccomp, "safeexec")
	n.volumes = map[string]string{"profiles": open(t), "seccomp": local}
	if err := os.Mkdir(local, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range objects["ConfigMap profiles"].Data {
		if err := os.WriteFile(filepath.Join(n.volumes["profiles"], name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.serve(t, objects["DaemonSet profiles"].Spec.Template.Spec)

	confined := objects["Pod confined"].Spec.podSpec
	f = read(t, n.run(t, confined, confined.Containers[0]).stdout)
	f.wantAll(t, found{"uid": "65534", "parent": "0", "capabilities": "0", "seccomp": "2 ok", "flock": "EPERM"})
}

// open is a directory that everybody may write to, as an emptyDir is.
func open(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "volume")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A node stands in for a kubelet.
type node struct {
	volumes map[string]string // by name, the directories
	seccomp string            // where local profiles are
}

// command is podman's call for a container of a pod.
func (n *node) command(t *testing.T, pod podSpec, c podContainer, options ...string) *exec.Cmd {
	t.Helper()
	args := slices.Concat([]string{"run", "--rm", "--network", "none", "--ulimit", "nofile=1024:4096", "--ulimit", "nproc=1000:2000"},
		entrypoint(c.Command[0]), options)
	for _, m := range c.VolumeMounts {
		mode := ":rw"
		if m.ReadOnly {
			mode = ":ro"
		}
		args = append(args, "--volume", n.volumes[m.Name]+":"+m.MountPath+mode)
	}
	args = append(args, n.security(t, pod.SecurityContext, c.SecurityContext)...)
	return podman(slices.Concat(args, []string{c.Image}, c.Command[1:], c.Args)...)
}

// security are the options for the security contexts of pod and container.
func (n *node) security(t *testing.T, pod, c security) (options []string) {
	t.Helper()
	user, profile := c.RunAsUser, c.SeccompProfile
	if user == nil {
		user = pod.RunAsUser
	}
	if profile == nil {
		profile = pod.SeccompProfile
	}
	options = append(options, "--user", strconv.FormatInt(*user, 10))
	if !*c.AllowPrivilegeEscalation {
		options = append(options, "--security-opt", "no-new-privileges")
	}
	if c.ReadOnlyRootFilesystem {
		options = append(options, "--read-only")
	}
	for _, capability := range c.Capabilities.Drop {
		options = append(options, "--cap-drop", capability)
	}
	switch profile.Type {
	case "Localhost":
		options = append(options, "--security-opt", "seccomp="+filepath.Join(n.seccomp, profile.LocalhostProfile))
	case "RuntimeDefault": // podman's own
	default:
		t.Fatalf("profile %v", profile)
	}
	return options
}

func (n *node) run(t *testing.T, pod podSpec, c podContainer) result {
	t.Helper()
	return finish(t, n.command(t, pod, c))
}

// serve runs the container of a pod until it is ready, and ends it as a kubelet does: at SIGTERM the whole of it goes.
func (n *node) serve(t *testing.T, pod podSpec) {
	t.Helper()
	const name = "daemon"
	c := pod.Containers[0]
	cmd := n.command(t, pod, c, "--name", name)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for podman(slices.Concat([]string{"exec", name}, c.ReadinessProbe.Exec.Command)...).Run() != nil {
		select {
		case err := <-ended:
			t.Fatalf("%v: %s", err, said.String())
		default:
		}
	}
	if out, err := podman("kill", "--signal", "TERM", name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	<-ended
	if status := cmd.ProcessState.ExitCode(); status != 128+15 {
		t.Errorf("status %d: %s", status, said.String())
	}
}

// buildKubernetesImages makes the images that the manifests name: one with safeexec and the few programs that they call, and
// one with a server.
var buildKubernetesImages = sync.OnceValue(func() error {
	context := filepath.Join(scratch, "kubernetes")
	bin := filepath.Join(context, "bin")
	err := os.MkdirAll(bin, 0o755)
	for _, name := range []string{"safeexec", "busybox"} {
		err = errors.Join(err, copyFile(filepath.Join(bin, name), filepath.Join(scratch, "programs", name)))
	}
	for _, name := range []string{"sh", "cp", "cmp", "mv", "sleep", "test"} {
		err = errors.Join(err, os.Symlink("busybox", filepath.Join(bin, name)))
	}
	return errors.Join(err,
		copyFile(filepath.Join(context, "server"), filepath.Join(scratch, "programs", "inside")),
		buildFrom(context, "FROM scratch\nCOPY bin /bin\n", "registry.example.com/safeexec:1"),
		buildFrom(context, "FROM scratch\nCOPY server /\n", "registry.example.com/server:1"))
})
