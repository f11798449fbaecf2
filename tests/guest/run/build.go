package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/safeexec/safeexec/tests/guest/job"
)

// A package whose tests are run for a second time, for its 32-bit program, and the name that this goes by.
const (
	guards    = "safeexec/tests/guard"
	narrowJob = "safeexec/tests/guard/programs"
)

// user is who ordinary users' tests run as.
const user = 65534

// notInGuests are tests that have nothing to do with the kernel and take emulation minutes, or want what a guest hasn't.
var notInGuests = map[string]string{
	"safeexec/fdtable":           "TestArrangeRandom",
	"safeexec/internal/gencalls": "TestTableIsGenerated", // takes Go
	"safeexec/ofd":               "TestAgainstOS|TestMapConcurrently",
	"safeexec/seccomp":           "TestOCIMeansTheSame|TestFiltersKeepTheContract",
	"safeexec/spawn":             "TestNames|TestHostileParent|TestSoak", // reads Go's own source; waits for os/exec to lose a race; collects garbage all the time
	"safeexec/tests/guard":       "TestPrograms|TestNode.*|TestSSH|TestMake|TestJobserver|TestRefusals|TestCarelessOnATerminal",
	// on an interpreter; with programs that a C compiler makes
	"safeexec/tests/seccomp": "TestDenied|TestRingsAreAbsent|TestGuardedByNumber|TestOneGuardedOperation|TestAdvisory|TestGuardOfNothing|TestPassing|TestKeptUnixSockets|TestDuplicatesOntoKeptNumbers|TestMounts|TestActions|TestForeignTables|TestX32|TestForeignTablesOnTheKernel|TestX32OnTheKernel",
}

// hostOnly are packages whose tests drive Node, compilers, systemd and container runtimes, or that run around the guests.
var hostOnly = regexp.MustCompile(`^tests/(cli|container|manual|packages|profile|systemd|guest/.*)$`)

// wholeOnly are tests, by their packages, that drive shells, which only a guest with a system of its own has all programs for; a machine
// runs them itself for its own architecture. They are those that what is written in assembly, or goes by the machine's numbers, shows in.
// All of these packages' tests would take emulation an hour.
var wholeOnly = map[string]string{
	"safeexec/tests/command":     "^TestCommand$/^(EarlyLists|Process|Signals)$",
	"safeexec/tests/description": "^TestDescription$/^(operations|swaps|a thread's own table|killed)$",
}

// programs are taken from this machine with their libraries, in the place of busybox's, because tests drive just these.
var programs = []string{"sh", "bash", "setpriv", "unshare", "flock", "script", "strace", "env", "ls", "cat", "getent"}

// A suite is a package with tests.
type suite struct {
	name string // safeexec/spawn
	dir  string // from the root of the tree
}

// buildInitramfs makes the file system that every guest starts from, with the programs of a system, or of this one, and then with
// its servers if they are wanted.
func buildInitramfs(arch, root, system, work string, servers bool, only *regexp.Regexp) (image string, err error) {
	image = filepath.Join(work, "initramfs.cpio")
	file, err := os.Create(image)
	if err != nil {
		return "", err
	}
	defer file.Close()
	a := newArchive(file)
	a.device("/dev/console", 5, 1)
	a.device("/dev/null", 1, 3) // Go's runtime wants it before init has mounted anything
	a.directory("/root", 0o700)
	a.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n")
	a.text("/etc/group", "root:x:0:\nnogroup:x:65534:\n")
	a.text("/etc/hosts", "127.0.0.1 localhost\n")
	a.text("/etc/nsswitch.conf", "hosts: files dns\n")
	a.tree("/src/testdata", filepath.Join(root, "testdata"))
	a.tree("/src/tests/guard/programs", filepath.Join(root, "tests/guard/programs"))
	if err := addPrograms(a, system); err != nil {
		return "", err
	}
	env := []string{"SAFEEXEC_BINARY=/bin/safeexec", "SAFEEXEC_NARROW=/bin/narrow", "SAFEEXEC_I386=/bin/i386"}
	switch {
	case servers:
		env = append(env, "SAFEEXEC_PROGRAMS="+scripts)
		if err := addServers(a); err != nil {
			return "", err
		}
	case system == "":
		env = append(env, "SAFEEXEC_PROGRAMS=")
	}
	jobs, err := addBinaries(a, builder(arch), root, work, env, func(s suite) bool {
		return only.MatchString(s.name) && (system != "" || wholeOnly[s.name] == "")
	})
	if err != nil {
		return "", err
	}
	list, err := json.Marshal(jobs)
	if err != nil {
		return "", err
	}
	a.text(job.List, string(list))
	return image, a.close()
}

// addBinaries builds init, the command and every package's tests, and says what is to run, with what in the environment.
func addBinaries(a *archive, b builder, root, work string, env []string, wanted func(suite) bool) ([]job.Job, error) {
	binary := filepath.Join(work, "init")
	if err := b.build(filepath.Join(root, "tests"), "build", "-o", binary, "./guest/init"); err != nil {
		return nil, err
	}
	a.file("/init", binary)
	binary = filepath.Join(work, "safeexec")
	if err := b.build(root, "build", "-tags", "urfave_cli_no_docs", "-o", binary, "./cmd/safeexec"); err != nil {
		return nil, err
	}
	a.file("/bin/safeexec", binary)
	binary = filepath.Join(work, "narrow")
	if err := b.narrow().build(filepath.Join(root, "tests"), "build", "-o", binary, "./guest/narrow"); err != nil {
		return nil, err
	}
	a.file("/bin/narrow", binary)
	jobs := []job.Job{
		{Name: "check", Dir: "/", Args: []string{"/bin/safeexec", "check", "--json"}},
		{Name: "check-user", Dir: "/", UID: user, Args: []string{"/bin/safeexec", "check", "--json"}},
	}
	suites, err := b.allSuites(root)
	if err != nil {
		return nil, err
	}
	for _, s := range suites {
		if !wanted(s) {
			continue
		}
		base := strings.ReplaceAll(s.name, "/", "_") + ".test"
		binary := filepath.Join(work, base)
		module, dir := root, "./"+s.dir
		if below, ok := strings.CutPrefix(s.dir, "tests/"); ok {
			module, dir = filepath.Join(root, "tests"), "./"+below
		}
		if err := b.build(module, "test", "-c", "-o", binary, dir); err != nil {
			return nil, err
		}
		a.file("/test/"+base, binary)
		a.directory("/src/"+s.dir, 0o755)
		if data := filepath.Join(root, s.dir, "testdata"); isDirectory(data) {
			a.tree(path.Join("/src", s.dir, "testdata"), data)
		}
		// The limit shows where a guest hangs; it is far above what emulation takes.
		args := []string{"/test/" + base, "-test.v=test2json", "-test.short", "-test.timeout=10m"}
		add := func(name string, more ...string) {
			for _, uid := range []int{0, user} {
				jobs = append(jobs, job.Job{Name: testName(name, uid), Dir: "/src/" + s.dir, UID: uid, Args: slices.Concat(args, more), Env: env})
			}
		}
		var picked []string
		if skip := notInGuests[s.name]; skip != "" {
			picked = append(picked, "-test.skip=^("+skip+")$")
		}
		if run := wholeOnly[s.name]; run != "" {
			picked = append(picked, "-test.run="+run)
		}
		add(s.name, picked...)
		if s.name == guards && b == "amd64" { // whose machines run the 32-bit program of a job
			if err := addI386(a, root, work); err != nil {
				return nil, err
			}
			add(narrowJob, "-test.run=^TestPrograms$/^all$/^i386$", "-full")
		}
	}
	return jobs, nil
}

// addI386 builds the program of the job i386, which a guest has no compiler for.
func addI386(a *archive, root, work string) error {
	binary := filepath.Join(work, "i386")
	gcc := exec.Command("gcc", "-m32", "-static", "-o", binary, filepath.Join(root, "tests/guard/programs/i386.c"))
	if out, err := gcc.CombinedOutput(); err != nil {
		return fmt.Errorf("gcc -m32 (scripts/need programs installs it): %w\n%s", err, out)
	}
	a.file("/bin/i386", binary)
	return nil
}

// testName is the name of a suite's job.
func testName(suite string, uid int) string {
	return fmt.Sprintf("test:%s:%d", strings.ReplaceAll(suite, "/", "."), uid)
}

// A builder runs the go command for an architecture.
type builder string

// narrow is for the 32-bit programs that such a machine runs too.
func (b builder) narrow() builder { return map[builder]builder{"amd64": "386", "arm64": "arm"}[b] }

func (b builder) environment() []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+string(b))
}

// build is for a machine without C libraries and debuggers.
func (b builder) build(dir, verb string, args ...string) error {
	cmd := exec.Command("go", append([]string{verb, "-trimpath", "-ldflags=-s -w"}, args...)...)
	cmd.Dir = dir
	cmd.Env = b.environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s %s: %w\n%s", verb, strings.Join(args, " "), err, out)
	}
	return nil
}

// allSuites lists the packages with tests of both modules.
func (b builder) allSuites(root string) ([]suite, error) {
	var all []suite
	for _, module := range []string{".", "tests"} {
		list := exec.Command("go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}", "./...")
		list.Dir = filepath.Join(root, module)
		list.Env = b.environment()
		list.Stderr = os.Stderr
		out, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("go list in %s: %w", module, err)
		}
		for dir := range strings.FieldsSeq(string(out)) {
			below, err := filepath.Rel(root, dir)
			if err != nil {
				return nil, err
			}
			if hostOnly.MatchString(below) {
				continue
			}
			all = append(all, suite{name: "safeexec/" + below, dir: below})
		}
	}
	return all, nil
}

func isDirectory(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// addPrograms adds a system, or busybox, and before it what must be the real thing. Init gives busybox all its names.
func addPrograms(a *archive, system string) error {
	if system != "" {
		a.tree("/", system)
		return nil
	}
	for _, name := range programs {
		source, err := exec.LookPath(name)
		if err != nil {
			return err
		}
		if err := addDynamic(a, name, source); err != nil {
			return err
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	a.file("/bin/busybox", busybox)
	a.link("/usr/bin", "../bin")
	return nil
}

// library is a path in what ldd prints.
var library = regexp.MustCompile(`(/\S+) \(0x`)

func addDynamic(a *archive, name, source string) error {
	a.file("/bin/"+name, source)
	return addLibraries(a, source)
}

// addLibraries adds what programs or libraries are linked with, where it stands on this machine.
func addLibraries(a *archive, linked ...string) error {
	out, err := exec.Command("ldd", linked...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ldd %s: %w: %s", strings.Join(linked, " "), err, out)
	}
	for _, match := range library.FindAllStringSubmatch(string(out), -1) {
		a.file(match[1], match[1])
	}
	return nil
}
