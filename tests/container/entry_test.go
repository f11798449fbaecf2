package container

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// A circumstance changes a bundle, and says by what inside can see that it did.
type circumstance struct {
	name   string
	change func(t *testing.T, b *bundle, runtime string)
	signs  found
	ways   int // how many of the ways of starting are tried: containers take time
}

var circumstances = []circumstance{
	{"root", func(*testing.T, *bundle, string) {}, found{"uid": "0", "root": "ok", "proc": "ok"}, len(ways)},
	{"ordinary user", func(_ *testing.T, b *bundle, _ string) {
		b.spec.Process.User = specs.User{UID: 65534, GID: 65534}
	}, found{"uid": "65534", "capabilities": "0", "root": "EACCES"}, 2},
	{"read-only root", func(_ *testing.T, b *bundle, _ string) {
		b.spec.Root.Readonly = true
	}, found{"uid": "0", "root": "EROFS"}, 2},
	{"without proc", withoutProc, found{"uid": "0", "proc": "ENOENT"}, 2},
	{"without capabilities", func(_ *testing.T, b *bundle, _ string) {
		b.capabilities()
	}, found{"uid": "0", "capabilities": "0"}, 2},
	{"docker's profile", dockersProfile, found{"seccomp": "2 ok"}, len(ways)},
	{"docker's profile, ordinary user", func(t *testing.T, b *bundle, runtime string) {
		dockersProfile(t, b, runtime)
		b.spec.Process.User = specs.User{UID: 65534, GID: 65534}
		b.spec.Process.NoNewPrivileges = true
	}, found{"uid": "65534", "seccomp": "2 ok", "no-new-privs": "1 ok"}, 2},
	{"user namespace", func(_ *testing.T, b *bundle, _ string) {
		b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		mapping := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
		b.spec.Linux.UIDMappings, b.spec.Linux.GIDMappings = mapping, mapping
	}, found{"uid": "0", "root": "EACCES"}, 2}, // the root directory is the host's root's
	{"all at once", func(t *testing.T, b *bundle, runtime string) {
		dockersProfile(t, b, runtime)
		b.capabilities()
		b.spec.Process.User = specs.User{UID: 65534, GID: 65534}
		b.spec.Process.NoNewPrivileges = true
		b.spec.Root.Readonly = true
	}, found{"uid": "65534", "capabilities": "0", "root": "EROFS", "seccomp": "2 ok", "no-new-privs": "1 ok"}, 2},
}

// dockersProfile is what docker makes of its default profile for the bundle's capabilities on this kernel.
func dockersProfile(t *testing.T, b *bundle, _ string) {
	t.Helper()
	profile, err := seccomp.GetDefaultProfile(&b.spec)
	if err != nil {
		t.Fatal(err)
	}
	b.spec.Linux.Seccomp = profile
}

// withoutProc leaves /proc out. runc can't do without it itself, so there it goes before safeexec comes.
func withoutProc(_ *testing.T, b *bundle, runtime string) {
	if runtime == "runc" {
		b.capabilities("CAP_SYS_ADMIN")
		b.first = []string{"/busybox", "sh", "-c", `/busybox umount /proc && exec "$@"`, "sh"}
		return
	}
	b.spec.Mounts = slices.DeleteFunc(b.spec.Mounts, func(m specs.Mount) bool { return m.Type == "proc" })
}

// TestEntrypoint: wherever a container puts it, safeexec starts what it is told to, with the descriptors that are named.
func TestEntrypoint(t *testing.T) {
	everyRuntime(t, func(t *testing.T, runtime string) {
		leak := hostDirectory(t)
		for _, c := range circumstances {
			t.Run(c.name, func(t *testing.T) {
				b := newBundle(t).hand(leak, leak)
				c.change(t, b, runtime)
				for _, way := range ways[:c.ways] {
					way.start(t, b, runtime, c.signs)
				}
			})
		}
	})
}

// A way of starting a command, with 3 and 4 inherited, and what the command then has and whose child it is.
type way struct{ options, descriptors, parent string }

var ways = []way{
	{"--keep 4:3", "0,1,2,3", "0"},
	{"--supervise", "0,1,2", "1"},
	{"", "0,1,2", "0"},
	{"--supervise --keep 3", "0,1,2,3", "1"},
	{"--deny lock --keep 3-4", "0,1,2,3,4", "0"},
	{"--guard --keep 3", "0,1,2,3", "0"},
}

func (w way) start(t *testing.T, b *bundle, runtime string, signs found) {
	t.Helper()
	args := append([]string{"/safeexec"}, strings.Fields(w.options)...)
	f := b.arguments(append(args, "--", "/inside", "report")...).report(t, runtime)
	f.wantAll(t, signs)
	f.want(t, "descriptors", w.descriptors)
	f.want(t, "parent", w.parent)
	if t.Failed() {
		t.Fatalf("safeexec %s", w.options)
	}
}

// hostDirectory is an open directory of the host's.
func hostDirectory(t *testing.T) *os.File {
	t.Helper()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

// hostFile is an open file of the host's, with text in it.
func hostFile(t *testing.T, text string) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}
