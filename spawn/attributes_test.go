package spawn_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

// An attribute is a behaviour of fields of SysProcAttr.
type attribute struct {
	fields string
	root   bool
	behaviour
}

func TestAttributes(t *testing.T) {
	untested := map[string]bool{}
	for field := range reflect.TypeFor[syscall.SysProcAttr]().Fields() {
		untested[field.Name] = true
	}
	for _, a := range attributes {
		for field := range strings.FieldsSeq(a.fields) {
			delete(untested, field)
		}
		for _, l := range []library{osExec, ours} {
			want := a.want
			if a.exec != "" && l.name == osExec.name {
				want = a.exec
			}
			t.Run(a.name+"/"+l.name, func(t *testing.T) {
				if a.root {
					proctest.NeedRoot(t)
				}
				if got := a.run(t, l); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			})
		}
	}
	for field := range untested {
		t.Errorf("no test of SysProcAttr.%s", field)
	}
}

var attributes = []attribute{
	{"Credential", true, behaviour{name: "user, group and groups", run: func(t *testing.T, l library) string {
		return identity(l, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1001, Gid: 1002, Groups: []uint32{7, 8, 9}}})
	}, want: "uid 1001 1001 1001 1001 gid 1002 1002 1002 1002 groups 7 8 9"}},
	{"Credential", true, behaviour{name: "no groups", run: func(t *testing.T, l library) string {
		return identity(l, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1001, Gid: 1002}})
	}, want: "uid 1001 1001 1001 1001 gid 1002 1002 1002 1002 groups"}},
	{"Credential", true, behaviour{name: "group alone", run: func(t *testing.T, l library) string {
		own := identity(l, nil)
		_, groups, _ := strings.Cut(own, " groups")
		got := identity(l, &syscall.SysProcAttr{Credential: &syscall.Credential{Gid: 1002, NoSetGroups: true}})
		return strings.Replace(got+";", " groups"+groups+";", " groups as before", 1)
	}, want: "uid 0 0 0 0 gid 1002 1002 1002 1002 groups as before"}},
	{"Credential", false, behaviour{
		name: "a user that one may not become",
		run: func(t *testing.T, l library) string {
			if os.Geteuid() == 0 {
				t.Skip("root may become anybody")
			}
			return identity(l, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1, NoSetGroups: true, Gid: uint32(os.Getgid())}})
		},
		want: "spawn: /bin/cat: set the user 1: operation not permitted [*spawn.StartError *fs.PathError ErrPermission]",
		exec: "fork/exec /bin/cat: operation not permitted [*fs.PathError ErrPermission]",
	}},
	{"Chroot", true, behaviour{name: "root", run: func(t *testing.T, l library) string {
		c := l.command("/" + filepath.Base(tiny(t)))
		*c.Dir, *c.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: filepath.Dir(tiny(t))}
		return show(c.Run())
	}, want: "<nil>"}},
	{"Chroot", true, behaviour{
		name: "root that isn't there",
		run: func(t *testing.T, l library) string {
			c := l.command("/bin/true")
			*c.SysProcAttr = &syscall.SysProcAttr{Chroot: "/no/such/root"}
			return show(c.Run())
		},
		want: "spawn: /bin/true: change the root to /no/such/root: no such file or directory " +
			"[*spawn.StartError *fs.PathError ENOENT ErrNotExist]",
		exec: "fork/exec /bin/true: no such file or directory [*fs.PathError ENOENT ErrNotExist]",
	}},
	{"Setsid", false, behaviour{name: "session", run: func(t *testing.T, l library) string {
		return place(t, l, &syscall.SysProcAttr{Setsid: true}, nil)
	}, want: "leads a session, leads a group, no terminal"}},
	{"Setpgid", false, behaviour{name: "process group", run: func(t *testing.T, l library) string {
		got := place(t, l, &syscall.SysProcAttr{Setpgid: true}, nil)
		return strings.Join(strings.Split(got, ", ")[:2], ", ")
	}, want: "in a session, leads a group"}},
	{"Pgid", false, behaviour{name: "another's process group", run: func(t *testing.T, l library) string {
		leader := l.shell("read x")
		*leader.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		in, _ := leader.StdinPipe()
		leader.Start()
		defer leader.Wait()
		defer in.Close()
		pgid := (*leader.Process).Pid
		c := l.command("/bin/cat")
		*c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: pgid}
		hold, _ := c.StdinPipe()
		err := c.Start()
		defer c.Wait()
		defer hold.Close()
		got, _ := unix.Getpgid((*c.Process).Pid)
		return fmt.Sprint(err, got == pgid)
	}, want: "<nil> true"}},
	{"Setctty Ctty", false, behaviour{name: "controlling terminal", run: func(t *testing.T, l library) string {
		_, terminal := pty(t)
		return place(t, l, &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}, terminal)
	}, want: "leads a session, leads a group, terminal in the foreground"}},
	{"Foreground Ctty", false, behaviour{name: "foreground", run: func(t *testing.T, l library) string {
		return onTerminal(t, l, "foreground")
	}, want: "in a session, leads a group, terminal in the foreground"}},
	{"Noctty", false, behaviour{name: "detached from the terminal", run: func(t *testing.T, l library) string {
		return onTerminal(t, l, "noctty")
	}, want: "in a session, in a group, no terminal"}},
	{"Pdeathsig", false, behaviour{name: "signal on the parent's death", run: func(t *testing.T, l library) string {
		c := l.helper(t, "deathsig")
		*c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGUSR2}
		out, err := c.Output()
		return fmt.Sprint(string(out), err)
	}, want: "user defined signal 2<nil>"}},
	{"Pdeathsig", true, behaviour{name: "signal on the parent's death, for another user", run: func(t *testing.T, l library) string {
		c := l.helper(t, "deathsig")
		*c.Path = readable(t)
		*c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGUSR2, Credential: &syscall.Credential{Uid: 1001, Gid: 1002}}
		out, err := c.Output()
		return fmt.Sprint(string(out), err)
	}, want: "user defined signal 2<nil>"}},
	{"Ptrace", false, behaviour{name: "traced", run: func(t *testing.T, l library) string {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		c := l.command("/bin/true")
		*c.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
		err := c.Start()
		if err != nil {
			return show(err)
		}
		var status syscall.WaitStatus
		pid := (*c.Process).Pid
		syscall.Wait4(pid, &status, 0, nil)
		var regs syscall.PtraceRegs
		return fmt.Sprint(err, status.StopSignal(), syscall.PtraceGetRegs(pid, &regs), syscall.PtraceDetach(pid), show(c.Wait()))
	}, want: "<nil> trace/breakpoint trap <nil> <nil><nil>"}},
	{"Cloneflags", true, behaviour{name: "cloned into namespaces", run: func(t *testing.T, l library) string {
		return namespaces(t, l, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID})
	}, want: "pid 1 uid 0 gid 0 ipc uts"}},
	{"Unshareflags", true, behaviour{name: "unshared namespaces", run: func(t *testing.T, l library) string {
		return namespaces(t, l, &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWUTS | unix.CLONE_NEWNS})
	}, want: "uid 0 gid 0 mnt uts"}},
	{"Unshareflags", true, behaviour{name: "unshared mounts stay inside", run: func(t *testing.T, l library) string {
		dir := t.TempDir()
		c := l.shell("mount -t tmpfs none $1 && touch $1/inside && ls $1", dir)
		*c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
		out, err := c.CombinedOutput()
		left, _ := os.ReadDir(dir)
		return fmt.Sprint(string(out), err, len(left))
	}, want: "inside\n<nil> 0"}},
	{"Cloneflags UidMappings GidMappings", false, behaviour{name: "cloned into a user namespace", run: func(t *testing.T, l library) string {
		return namespaces(t, l, &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWUSER, UidMappings: own(0, os.Getuid()), GidMappings: own(0, os.Getgid()),
		})
	}, want: "uid 0 gid 0 user"}},
	{"Cloneflags UidMappings GidMappings Credential", false, behaviour{name: "another user in a user namespace", run: func(t *testing.T, l library) string {
		return namespaces(t, l, &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWUSER, UidMappings: own(5, os.Getuid()), GidMappings: own(6, os.Getgid()),
			Credential: &syscall.Credential{Uid: 5, Gid: 6},
		})
	}, want: "uid 5 gid 6 user"}},
	{"GidMappingsEnableSetgroups Credential", true, behaviour{name: "groups in a user namespace", run: func(t *testing.T, l library) string {
		return identity(l, &syscall.SysProcAttr{
			Cloneflags:                 unix.CLONE_NEWUSER,
			UidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 100}},
			GidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 50}, {ContainerID: 50, HostID: 60, Size: 50}},
			GidMappingsEnableSetgroups: true,
			Credential:                 &syscall.Credential{Uid: 1, Gid: 51, Groups: []uint32{7, 8}},
		})
	}, want: "uid 1 1 1 1 gid 51 51 51 51 groups 7 8"}},
	{"Cloneflags UidMappings", false, behaviour{
		name: "mappings that aren't permitted", run: func(t *testing.T, l library) string {
			return strings.Replace(namespaces(t, l, &syscall.SysProcAttr{
				Cloneflags:  unix.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: 0, HostID: 0, Size: 1}},
			}), programPath, "PROGRAM", 1)
		}, want: "spawn: PROGRAM: map users and groups: invalid argument [*spawn.StartError *fs.PathError EINVAL]",
		exec: "fork/exec PROGRAM: invalid argument [*fs.PathError EINVAL]",
	}},
	{"Unshareflags UidMappings GidMappings", false, behaviour{name: "unshared user namespace", run: func(t *testing.T, l library) string {
		return namespaces(t, l, &syscall.SysProcAttr{
			Unshareflags: unix.CLONE_NEWUSER, UidMappings: own(0, os.Getuid()), GidMappings: own(0, os.Getgid()),
		})
	}, want: "uid 0 gid 0 user"}},
	{"Cloneflags Unshareflags UidMappings GidMappings", false, behaviour{name: "namespaces of a user namespace", run: func(t *testing.T, l library) string {
		return namespaces(t, l, &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID, Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWUTS,
			UidMappings: own(0, os.Getuid()), GidMappings: own(0, os.Getgid()),
		})
	}, want: "pid 1 uid 0 gid 0 mnt user uts"}},
	{"AmbientCaps Credential", true, behaviour{name: "ambient capabilities", run: func(t *testing.T, l library) string {
		out := status(l, &syscall.SysProcAttr{
			Credential:  &syscall.Credential{Uid: 1001, Gid: 1002},
			AmbientCaps: []uintptr{unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_TIME},
		})
		return out["CapAmb"] + " " + out["CapEff"]
	}, want: "0000000002000400 0000000002000400"}},
	{"UseCgroupFD CgroupFD", true, behaviour{name: "cgroup", run: func(t *testing.T, l library) string {
		dir := cgroup(t)
		fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		c := l.command("/bin/cat", "/proc/self/cgroup")
		*c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
		out, err := c.Output()
		return fmt.Sprint(strings.Contains(string(out), "/"+filepath.Base(dir)+"\n"), err)
	}, want: "true <nil>"}},
	{"PidFD", false, behaviour{name: "handle of a failed start", run: func(t *testing.T, l library) string {
		before, fd := len(open(t)), -1
		c := l.command("/no/such/program")
		*c.SysProcAttr = &syscall.SysProcAttr{PidFD: &fd}
		c.Run()
		return fmt.Sprint(len(open(t)) - before)
	}, want: "0"}},
}

var programPath, _ = os.Executable()

// readable is a copy of this program in a directory that everybody may search.
func readable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for at := dir; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
		os.Chmod(at, 0o755)
	}
	program, err := os.ReadFile(programPath)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "program")
	write(t, path, string(program))
	return path
}

func own(inside, outside int) []syscall.SysProcIDMap {
	return []syscall.SysProcIDMap{{ContainerID: inside, HostID: outside, Size: 1}}
}

// status is /proc/self/status of a command with the attributes, or its error as the only field.
func status(l library, attr *syscall.SysProcAttr) map[string]string {
	c := l.command("/bin/cat", "/proc/self/status")
	*c.SysProcAttr = attr
	out, err := c.Output()
	if err != nil {
		return map[string]string{"": show(err)}
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	return fields
}

func identity(l library, attr *syscall.SysProcAttr) string {
	fields := status(l, attr)
	if err, failed := fields[""]; failed {
		return err
	}
	return strings.TrimSpace(fmt.Sprintf("uid %s gid %s groups %s", fields["Uid"], fields["Gid"], fields["Groups"]))
}

// place is where a command with the attributes finds itself among sessions, groups and terminals.
func place(t *testing.T, l library, attr *syscall.SysProcAttr, terminal *os.File) string {
	t.Helper()
	c := l.helper(t, "place")
	*c.SysProcAttr = attr
	if terminal != nil {
		*c.Stdin = terminal
	}
	out, err := c.Output()
	if err != nil {
		return show(err)
	}
	return string(out)
}

func placeHelper([]string) int {
	pid := os.Getpid()
	sid, _ := unix.Getsid(0)
	fmt.Print(map[bool]string{true: "leads a session", false: "in a session"}[sid == pid], ", ")
	fmt.Print(map[bool]string{true: "leads a group", false: "in a group"}[unix.Getpgrp() == pid], ", ")
	tty, err := os.Open("/dev/tty")
	if err != nil {
		fmt.Print("no terminal")
		return 0
	}
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	fmt.Print(map[bool]string{true: "terminal in the foreground", false: "terminal"}[err == nil && group == unix.Getpgrp()])
	return 0
}

// onTerminal has a helper with a controlling terminal start another one.
func onTerminal(t *testing.T, l library, what string) string {
	t.Helper()
	_, terminal := pty(t)
	c := proctest.Command(t, "on-terminal", l.name, what)
	proctest.Environment("place")
	c.Stdin, c.SysProcAttr = terminal, &syscall.SysProcAttr{Setsid: true, Setctty: true}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func onTerminalHelper(args []string) int {
	l := map[string]library{osExec.name: osExec, ours.name: ours}[args[0]]
	c := l.command(programPath)
	*c.Env, *c.Stdout, *c.Stderr = proctest.Environment("place"), os.Stdout, os.Stderr
	switch args[1] {
	case "foreground":
		*c.SysProcAttr = &syscall.SysProcAttr{Foreground: true, Ctty: 0}
	case "noctty":
		*c.Stdin, *c.SysProcAttr = os.Stdin, &syscall.SysProcAttr{Noctty: true}
	}
	if err := c.Run(); err != nil {
		fmt.Print(show(err))
	}
	return 0
}

// namespaces says which namespaces of a command with the attributes aren't those of this process, and who it is in them.
func namespaces(t *testing.T, l library, attr *syscall.SysProcAttr) string {
	t.Helper()
	if attr.Cloneflags&unix.CLONE_NEWUSER != 0 {
		probe := l.command("/bin/true")
		*probe.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
		if err := probe.Run(); err != nil {
			proctest.Skip(t, "user namespaces: "+err.Error())
		}
	}
	here := map[string]string{}
	for _, name := range namespaceNames {
		here[name], _ = os.Readlink("/proc/self/ns/" + name)
	}
	c := l.helper(t, "namespaces")
	*c.SysProcAttr = attr
	out, err := c.Output()
	if err != nil {
		return show(err)
	}
	var text []string
	fields := strings.Fields(string(out))
	if fields[0] == "1" {
		text = append(text, "pid 1")
	}
	text = append(text, "uid "+fields[1], "gid "+fields[2])
	for i, name := range namespaceNames {
		if fields[3+i] != here[name] {
			text = append(text, name)
		}
	}
	return strings.Join(text, " ")
}

var namespaceNames = []string{"ipc", "mnt", "user", "uts"}

func namespacesHelper([]string) int {
	fmt.Print(os.Getpid(), " ", os.Getuid(), " ", os.Getgid())
	for _, name := range namespaceNames {
		link, _ := os.Readlink("/proc/thread-self/ns/" + name)
		fmt.Print(" ", link)
	}
	return 0
}

func deathsigHelper([]string) int {
	// The setting is the thread's that was started; init has kept this goroutine on it.
	var signal int32
	if err := unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&signal)), 0, 0, 0); err != nil {
		fmt.Print(err)
		return 0
	}
	fmt.Print(syscall.Signal(signal))
	return 0
}

// pty opens a pseudo-terminal.
func pty(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	go io.Copy(io.Discard, master)
	return master, terminal
}

// cgroup makes a cgroup of version 2 below the root of the hierarchy.
func cgroup(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if fields[2] != "cgroup2" {
			continue
		}
		dir := filepath.Join(fields[1], fmt.Sprintf("spawn-test-%d", os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			break
		}
		t.Cleanup(func() { os.Remove(dir) })
		return dir
	}
	proctest.Skip(t, "a cgroup2 hierarchy to write to")
	return ""
}

// open lists this process's descriptors.
func open(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}
