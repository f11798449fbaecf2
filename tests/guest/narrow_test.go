package guest

import (
	"bytes"
	"debug/elf"
	encoding "encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/seccomp"
)

// needProgram is the program of 32 bits. SAFEEXEC_NARROW names one that has been built already, on a kernel that must run it.
func needProgram(t *testing.T) string {
	t.Helper()
	if built := os.Getenv("SAFEEXEC_NARROW"); built != "" {
		return built
	}
	if err := exec.Command(smallest(t)).Run(); errors.Is(err, unix.ENOEXEC) {
		t.Skip("programs of 32 bits (IA32_EMULATION, COMPAT) aren't in this kernel, or not in the processor")
	} // another one has started it, and it has crashed
	path, err := buildProgram()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildProgram = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "narrow")
	cmd := exec.Command("go", "build", "-o", path, "./narrow")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+map[string]string{"amd64": "386", "arm64": "arm"}[runtime.GOARCH])
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// smallest makes the least that a kernel takes for a program of 32 bits.
func smallest(t *testing.T) string {
	t.Helper()
	const address, headers = 0x10000, 52 + 32
	header := elf.Header32{
		Ident:   [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS32), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Machine: uint16(map[string]elf.Machine{"amd64": elf.EM_386, "arm64": elf.EM_ARM}[runtime.GOARCH]),
		Version: uint32(elf.EV_CURRENT), Entry: address, Phoff: 52, Ehsize: 52, Phentsize: 32, Phnum: 1,
		Flags: 0x5000000, // of arm's EABI
	}
	segment := elf.Prog32{
		Type: uint32(elf.PT_LOAD), Vaddr: address, Filesz: headers, Memsz: headers, Flags: uint32(elf.PF_R | elf.PF_X), Align: 4096,
	}
	var file bytes.Buffer
	if err := errors.Join(encoding.Write(&file, encoding.LittleEndian, header), encoding.Write(&file, encoding.LittleEndian, segment)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "smallest")
	if err := os.WriteFile(path, file.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// A shared has the files that go as 3 and 4, and how they were before.
type shared struct {
	file, directory *os.File
	before          string
}

func newShared(t *testing.T) *shared {
	t.Helper()
	dir := t.TempDir()
	file, err := os.OpenFile(filepath.Join(dir, "shared"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	directory, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { directory.Close() })
	if _, err := file.WriteString(strings.Repeat("0123456789", 100)); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Seek(100, 0); err != nil {
		t.Fatal(err)
	}
	s := &shared{file: file, directory: directory}
	s.before = s.state(t)
	return s
}

// state is what the command isn't to change: all but the offset, which some guards leave alone.
func (s *shared) state(t *testing.T) string {
	t.Helper()
	fd := int(s.file.Fd())
	var values []int
	for _, command := range []int{unix.F_GETFL, unix.F_GETOWN, unix.F_GETSIG, unix.F_GETLEASE} {
		value, err := unix.FcntlInt(uintptr(fd), command, 0)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, value)
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(values, strings.Count(string(info), "lock:"))
}

func (s *shared) offset(t *testing.T) int64 {
	t.Helper()
	at, err := s.file.Seek(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// command runs a program under safeexec, or with nil by itself.
func (s *shared) command(t *testing.T, options []string, program string, args ...string) *exec.Cmd {
	t.Helper()
	words := append([]string{program}, args...)
	if options != nil {
		words = slices.Concat([]string{binary(t)}, options, []string{"--"}, words)
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.ExtraFiles = []*os.File{s.file, s.directory}
	return cmd
}

// operations sorts what was found by the operation that its name begins with.
func (f found) operations() map[string]found {
	sorted := map[string]found{}
	for what, got := range f {
		operation, _, _ := strings.Cut(what, ":")
		if sorted[operation] == nil {
			sorted[operation] = found{}
		}
		sorted[operation][what] = got
	}
	return sorted
}

// came makes sure that each attempt at an operation came to what is wanted, and tells how.
func (f found) came(t *testing.T, want map[string]string) {
	t.Helper()
	sorted := f.operations()
	if len(sorted) != len(want) {
		t.Errorf("tried %v, expected %v", slices.Sorted(maps.Keys(sorted)), slices.Sorted(maps.Keys(want)))
	}
	for _, operation := range slices.Sorted(maps.Keys(sorted)) {
		t.Run(operation, func(t *testing.T) {
			for what, got := range sorted[operation] {
				if got != want[operation] {
					t.Errorf("%s: %s, want %s", what, got, want[operation])
				}
			}
			if want[operation] == "ok" {
				tell(t, "works")
			} else {
				tell(t, refusedWith(want[operation]))
			}
		})
	}
}

// guardingBoth guards the file and the directory, for operations that are named or for those that are meant without a name.
func guardingBoth(operations string, options ...string) []string {
	options = append(guarding("--keep", "4", "--abi", "compat"), options...)
	if operations != "" {
		options[0] = "--guard=" + operations
	}
	return options
}

// A compat is a guard that permits programs of 32 bits, and what attempts at each operation come to under it.
type compat struct {
	name    string
	options []string
	want    map[string]string
}

func compats() []compat {
	unixSockets := "EPERM"
	if seccomp.LandlockABI() >= 9 { // which confines them
		unixSockets = "ok"
	}
	byNumber := map[string]string{
		"flags": "EPERM", "owner": "EPERM", "lock": "EPERM", "seek": "EPERM", "offset": "ok", "mode": "ok", "dup": "EPERM",
		"steal": "EPERM", "pass": "EPERM", "a copy": "EPERM", "io_uring": "ENOSYS", "UNIX socket": unixSockets,
		"wberr": "ok", "tty": "EPERM",
	}
	changed := func(pairs ...string) map[string]string {
		want := maps.Clone(byNumber)
		for i := 0; i < len(pairs); i += 2 {
			want[pairs[i]] = pairs[i+1]
		}
		return want
	}
	return []compat{
		{"guarded by number", guardingBoth(""), byNumber},
		{"guarded by number, offsets too", guardingBoth("flags,owner,lock,offset,mode"), changed("offset", "EPERM", "mode", "EPERM")},
		{"guarded by description", guardingBoth("", "--supervise"), changed("dup", "ok", "seek", "ok")},
		{"guarded by description, seek too", guardingBoth("flags,owner,lock,seek", "--supervise"), changed("dup", "ok")},
	}
}

// Test32Bit runs a program of 32 bits, which works as ever under a guard with --abi compat, and can't do by its own numbers what
// others can't do by theirs.
func Test32Bit(t *testing.T) {
	program := needProgram(t)
	s := newShared(t)
	for what, got := range ask(t, s.command(t, nil, program, "attempts")) {
		want := "ok"
		switch what { // where it fails, the kernel has had the call
		case "pass: a seccomp listener", "io_uring: setup":
			want = "EFAULT"
		case "tty: TIOCSTI", "tty: TIOCLINUX":
			want = "ENOTTY"
		}
		if got != want {
			t.Errorf("outside of any guard %s: %s, want %s", what, got, want)
		}
	}
	if s.state(t) == s.before {
		t.Error("outside of any guard nothing changes")
	}
	for _, c := range append([]compat{{name: "no guard", options: []string{}}}, compats()...) {
		t.Run(c.name+": a program works", func(t *testing.T) { works(t, c.options, program) })
	}
	for _, c := range compats() {
		t.Run(c.name, func(t *testing.T) { c.try(t, program) })
	}
}

func works(t *testing.T, options []string, program string) {
	got := ask(t, newShared(t).command(t, options, program, "works"))
	for what, result := range got {
		if result != "ok" {
			t.Errorf("%s: %s", what, result)
		}
	}
	if len(got) < 14 {
		t.Errorf("did only %v", got)
	}
	tell(t, "works")
}

func (c *compat) try(t *testing.T, program string) {
	s := newShared(t)
	got := ask(t, s.command(t, c.options, program, "attempts"))
	if c.want["dup"] == "ok" { // a received copy is one like any other
		const pair = "pass: a copy over a pair"
		if got[pair] != "ok" {
			t.Errorf("%s: %s", pair, got[pair])
		}
		delete(got, pair)
	}
	got.came(t, c.want)
	if now := s.state(t); now != s.before {
		t.Errorf("the caller's description changed from %s to %s", s.before, now)
	}
	if now := s.offset(t); c.want["offset"] != "ok" && now != 100 {
		t.Errorf("the caller's offset moved to %d", now)
	}
}

// A denial is of an operation, and refuses the attempts whose names begin with one of these: its own, and what does it on the way.
type denial struct {
	operation string
	refused   []string
}

var denials = []denial{
	{"dup", []string{"dup:", "steal: pidfd_getfd", "io_uring:"}},
	{"pass", []string{"pass: a copy over a pair", "pass: a seccomp listener", "pass: socketcall", "io_uring:"}},
	{"steal", []string{"steal:"}},
	{"flags", []string{"flags:"}},
	{"owner", []string{"owner:", "flags: fcntl", "flags: FIOASYNC", "lock: fcntl F_SETLEASE", "lock: fcntl64 F_SETLEASE"}},
	{"lock", []string{"lock:"}},
	{"seek", []string{"seek:"}},
	{"mode", []string{"mode:", "offset: splice", "io_uring:"}},
	{"wberr", []string{"wberr:", "io_uring:"}},
	{"tty", []string{"tty:"}},
}

// want is what an attempt must come to that without the denial comes to something else.
func (d *denial) want(attempt, otherwise string) string {
	switch {
	case !slices.ContainsFunc(d.refused, func(name string) bool { return strings.HasPrefix(attempt, name) }):
		return otherwise
	case attempt == "io_uring: setup":
		return "ENOSYS"
	}
	return "EPERM"
}

// Test32BitDenied: a denial holds for the numbers of 32-bit programs too, and refuses nothing more.
func Test32BitDenied(t *testing.T) {
	program := needProgram(t)
	usual := ask(t, newShared(t).command(t, []string{"--keep", "3,4"}, program, "attempts"))
	for _, d := range denials {
		t.Run(d.operation, func(t *testing.T) {
			cmd := newShared(t).command(t, []string{"--deny", d.operation, "--abi", "compat", "--keep", "3,4"}, program, "attempts")
			if d.operation == "steal" && seccomp.LandlockABI() == 0 {
				if out, err := cmd.CombinedOutput(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 125 {
					t.Fatalf("%v: %s; want status 125", err, out)
				}
				tell(t, "not started: no Landlock")
				return
			}
			got := ask(t, cmd)
			for attempt, otherwise := range usual {
				if want := d.want(attempt, otherwise); got[attempt] != want {
					t.Errorf("%s: %s, want %s", attempt, got[attempt], want)
				}
			}
			tell(t, "refused: EPERM, and nothing else")
		})
	}
}

// Test32BitNative: without --abi compat a program of 32 bits is killed by its first call under a filter.
func Test32BitNative(t *testing.T) {
	program := needProgram(t)
	for _, c := range []struct {
		name    string
		options []string
	}{
		{"a guard", append(guarding(), "--keep", "4")},
		{"a guard, and --abi native", append(guarding("--abi", "native"), "--keep", "4")},
		{"a denial", []string{"--deny", "lock"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := newShared(t).command(t, c.options, program, "works").Run()
			if !killed(err) {
				t.Fatalf("%v, want SIGSYS", err)
			}
			tell(t, "killed: SIGSYS")
		})
	}
	t.Run("a guard by description", func(t *testing.T) {
		cmd := newShared(t).command(t, append(guarding("--supervise"), "--keep", "4"), program, "works")
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 128+int(unix.SIGSYS) {
			t.Fatalf("%v: %s; want status 159", err, out)
		}
		tell(t, "killed: SIGSYS, exit status 159")
	})
}

// killed reports whether a command died of SIGSYS.
func killed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == unix.SIGSYS
}
