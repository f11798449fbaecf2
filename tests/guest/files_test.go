package guest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/seccomp"
)

// helpFiles does in a directory what a Landlock domain may forbid.
func helpFiles(args []string) int {
	f := found{}
	from, to := filepath.Join(args[0], "from"), filepath.Join(args[0], "to")
	err := errors.Join(os.MkdirAll(from, 0o755), os.MkdirAll(to, 0o755), os.WriteFile(filepath.Join(from, "a"), nil, 0o644))
	if err != nil {
		f.try("preparation", err)
	}
	f.try("link across directories", os.Link(filepath.Join(from, "a"), filepath.Join(to, "b")))
	f.try("rename across directories", os.Rename(filepath.Join(from, "a"), filepath.Join(to, "a")))
	f.try("mount in a user namespace", mountInNamespace(args[0]))
	return f.print()
}

// mountInNamespace has a child in namespaces of its own mount something.
func mountInNamespace(dir string) error {
	cmd := exec.Command("/proc/self/exe", dir)
	cmd.Env = append(os.Environ(), "SAFEEXEC_TEST_HELPER=mount")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return unix.Errno(exit.ExitCode())
	}
	return err
}

// helpMount exits with the errno of a mount.
func helpMount(args []string) int {
	err := unix.Mount("none", args[0], "tmpfs", 0, "")
	var errno unix.Errno
	errors.As(err, &errno)
	return int(errno)
}

// TestFiles: under a guard renames work everywhere, and mounts where Landlock needn't know of files.
func TestFiles(t *testing.T) {
	safeexec := binary(t)
	control := found{}
	control.try("mount", mountInNamespace(t.TempDir()))
	free := control["mount"] // EPERM where user namespaces are not for us
	if free != "ok" {
		t.Logf("outside of any guard a mount in a user namespace says %s", free)
	}
	const works = "works"
	abi := seccomp.LandlockABI()
	crossing := expectation{"rename across directories", "ok", works}
	linking := expectation{"link across directories", "ok", works}
	if abi == 1 {
		crossing.want, crossing.how = "EXDEV", refusedWith("EXDEV")
		linking.want, linking.how = "EXDEV", refusedWith("EXDEV")
	}
	mounting := func(permitted bool) expectation {
		e := expectation{"mount in a user namespace", free, works}
		if !permitted {
			e.want = "EPERM"
		}
		if e.want != "ok" {
			e.how = refusedWith(e.want)
		}
		return e
	}
	for _, c := range []struct {
		name    string
		options []string
		mounts  bool
	}{
		// A root that could mount in the first user namespace is kept from it by the filter, in any namespace.
		{"a shared file, passing in the tree", guarding(), (abi == 0 || abi >= 6 && abi < 9) && os.Getuid() != 0},
		{"a shared file, no UNIX sockets", guarding("--fd-passing", "no-unix"), (abi == 0 || abi >= 6) && os.Getuid() != 0},
		{"all private", guarding()[:1], abi == 0 || abi >= 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			options := c.options
			if abi == 0 && len(options) == 1 {
				options = append(options[:1:1], "--guard-steal", "off")
			}
			cmd := under(t, safeexec, options, "files", t.TempDir())
			ask(t, cmd).hold(t, []expectation{linking, crossing, mounting(c.mounts)})
		})
	}
}
