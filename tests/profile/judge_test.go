//go:build seccomp && amd64

package profile

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
	"github.com/safeexec/safeexec/seccomp"
)

// dockersCapabilities are what docker gives a container.
var dockersCapabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP",
	"CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// capabilityNumbers are those that profiles look at.
var capabilityNumbers = map[string]int{
	"CAP_DAC_READ_SEARCH": unix.CAP_DAC_READ_SEARCH, "CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN, "CAP_SYS_BOOT": unix.CAP_SYS_BOOT,
	"CAP_SYS_CHROOT": unix.CAP_SYS_CHROOT, "CAP_SYS_MODULE": unix.CAP_SYS_MODULE, "CAP_SYS_PACCT": unix.CAP_SYS_PACCT,
	"CAP_SYS_PTRACE": unix.CAP_SYS_PTRACE, "CAP_SYS_RAWIO": unix.CAP_SYS_RAWIO, "CAP_SYS_TIME": unix.CAP_SYS_TIME,
	"CAP_SYS_TTY_CONFIG": unix.CAP_SYS_TTY_CONFIG, "CAP_SYS_NICE": unix.CAP_SYS_NICE, "CAP_SYSLOG": unix.CAP_SYSLOG, "CAP_BPF": unix.CAP_BPF,
	"CAP_PERFMON": unix.CAP_PERFMON,
}

func names(numbers map[string]int) (list []string) {
	for name := range numbers {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// TestRunc compares the programs for profiles in both dialects, on the calls of amd64: runc's from what docker makes of them, and
// ours. Small ones with several rules don't name x32: libseccomp 2.5 makes programs of them that never look at the call's number.
func TestRunc(t *testing.T) {
	proctest.NeedRoot(t) // to read the filter of another process
	everything, err := os.ReadFile("../../testdata/profiles/everything.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		text         []byte
		capabilities []string
	}{
		{"docker's, no capability", dockersProfile(t), nil},
		{"docker's, docker's capabilities", dockersProfile(t), dockersCapabilities},
		{"docker's, CAP_SYS_ADMIN", dockersProfile(t), []string{"CAP_SYS_ADMIN"}},
		{"docker's, all capabilities", dockersProfile(t), names(capabilityNumbers)},
		{"ours, no capability", everything, nil},
		{"ours, all capabilities", everything, names(capabilityNumbers)},
		{"killing", []byte(`{"defaultAction": "SCMP_ACT_KILL_PROCESS", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
			{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}, {"names": ["openat2"], "action": "SCMP_ACT_KILL_PROCESS"}]}`), nil},
		{"permitting", []byte(`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
			{"names": ["read", "write"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7}]}`), nil},
		{"tracing", []byte(`{"defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": 9, "architectures": ["SCMP_ARCH_X32"], "syscalls": [
			{"names": ["read", "ioctl"], "action": "SCMP_ACT_TRAP"}]}`), nil},
		{"what i386 multiplexes", []byte(`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86"], "syscalls": [
			{"names": ["read", "socket", "connect", "recvmmsg", "shmctl", "semop"], "action": "SCMP_ACT_ALLOW"},
			{"names": ["bind"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_LE"}, {"index": 2, "value": 7, "op": "SCMP_CMP_NE"}]}]}`), nil},
		{"the first call alone", []byte(`{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X32", "SCMP_ARCH_X86"], "syscalls": [
			{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}`), nil},
		{"x32 without a call of its own", []byte(`{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X32"], "syscalls": [
			{"names": ["uselib"], "action": "SCMP_ACT_ALLOW"}]}`), nil},
		{"auditing refused, as podman does", []byte(`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
			"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": [
			{"names": ["socketcall"], "action": "SCMP_ACT_ALLOW"},
			{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "args": [
				{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 9, "op": "SCMP_CMP_EQ"}]},
			{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 2, "value": 9, "op": "SCMP_CMP_NE"}]},
			{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_NE"}]},
			{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 2, "value": 9, "op": "SCMP_CMP_NE"}]}]}`), nil},
		{"calls of other machines", []byte(`{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
			{"names": ["cacheflush", "s390_pci_mmio_read", "no_such_call", "chown32"], "action": "SCMP_ACT_ALLOW"}]}`), nil},
	} {
		t.Run(c.name, func(t *testing.T) { compare(t, c.text, c.capabilities) })
	}
}

// TestRuncRefuses: what contradicts for socketcall, where the first argument's condition is lost, is refused by both.
func TestRuncRefuses(t *testing.T) {
	proctest.NeedRoot(t)
	text := []byte(`{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
		{"names": ["socket"], "action": "SCMP_ACT_KILL", "args": [
			{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 9, "op": "SCMP_CMP_EQ"}]},
		{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_NE"}]}]}`)
	spec, err := moby.LoadProfile(string(text), &specs.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := installed(t, spec); err == nil || !strings.Contains(err.Error(), "file exists") {
		t.Errorf("runc: %v", err)
	}
	if _, err := seccomp.ParseProfile(text, seccomp.ProfileEnv{Arch: seccomp.AMD64}); err == nil || !strings.Contains(err.Error(), "the conditions of socketcall contradict") {
		t.Errorf("ours: %v", err)
	}
}

func compare(t *testing.T, text []byte, capabilities []string) {
	text = knownCalls(t, text)
	spec, err := moby.LoadProfile(string(text), &specs.Spec{
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: capabilities}},
	})
	if err != nil {
		t.Fatal(err)
	}
	their, err := installed(t, spec)
	if err != nil {
		t.Fatal(err)
	}
	env, err := seccomp.ProfileEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	env.Capabilities = 0
	for _, name := range capabilities {
		if number, known := capabilityNumbers[name]; known {
			env.Capabilities |= 1 << number
		}
	}
	filter, err := seccomp.ParseProfile(text, env)
	if err != nil {
		t.Fatal(err)
	}
	our := instructions(filter.Instructions())
	j := judge{t: t, their: machine(t, their), our: machine(t, our), answers: map[uint32]int{}}
	j.all(spec)
	t.Logf("%d calls, %d answers; runc's program has %d instructions and ours %d", j.compared, len(j.answers), len(their), len(our))
	if len(j.answers) < 2 {
		t.Errorf("all answers are %#x", j.answers)
	}
}

// knownCalls leaves out the calls that are newer than the libseccomp here: runc would leave them out, and we don't.
func knownCalls(t *testing.T, text []byte) []byte {
	t.Helper()
	var document map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // they have 64 bits
	if err := decoder.Decode(&document); err != nil {
		t.Fatal(err)
	}
	for _, entry := range document["syscalls"].([]any) {
		list, _ := entry.(map[string]any)["names"].([]any)
		list = slices.DeleteFunc(list, func(name any) bool {
			_, err := libseccomp.GetSyscallFromName(name.(string))
			return err != nil && name != "no_such_call"
		})
		if list != nil {
			entry.(map[string]any)["names"] = list
		}
	}
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func machine(t *testing.T, raw []bpf.RawInstruction) *bpf.VM {
	t.Helper()
	program, whole := bpf.Disassemble(raw)
	if !whole {
		t.Fatal("the interpreter doesn't know all instructions")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// judge asks both programs about calls.
type judge struct {
	t          *testing.T
	their, our *bpf.VM
	compared   int
	answers    map[uint32]int
}

// tables are what seccomp tells apart, with libseccomp's name for each; some aren't this machine's.
var tables = []struct {
	audit uint32
	arch  libseccomp.ScmpArch
	base  uint32
}{
	{unix.AUDIT_ARCH_X86_64, libseccomp.ArchAMD64, 0},
	{unix.AUDIT_ARCH_X86_64, libseccomp.ArchX32, 1 << 30},
	{unix.AUDIT_ARCH_I386, libseccomp.ArchX86, 0},
	{unix.AUDIT_ARCH_AARCH64, libseccomp.ArchARM64, 0},
	{unix.AUDIT_ARCH_S390X, libseccomp.ArchS390X, 0},
}

// all compares every call of every table, with some arguments around numbers in the profile, and those calls that have
// conditions with all combinations of them.
func (j *judge) all(spec *specs.LinuxSeccomp) {
	for _, table := range tables {
		numbers := []uint32{1<<30 - 1, 1<<31 - 1, 1 << 31, 1<<32 - 2, 1<<32 - 1}
		for n := range uint32(700) {
			numbers = append(numbers, table.base+n)
		}
		values := around(spec, nil)
		for i, number := range numbers {
			for k := range 16 {
				v, w := values[(i+k*11)%len(values)], values[(i*7+k*3)%len(values)]
				j.ask(table.audit, number, [6]uint64{v, w, v, w, v, w})
			}
		}
		for i := range spec.Syscalls {
			if s := &spec.Syscalls[i]; len(s.Args) > 0 {
				for _, name := range append(slices.Clone(s.Names), "socketcall", "ipc") {
					if number, err := libseccomp.GetSyscallFromNameByArch(name, table.arch); err == nil && number >= 0 {
						j.combinations(table.audit, uint32(number), around(spec, s.Names))
					}
				}
			}
		}
	}
}

// around lists numbers near to those in the conditions on some calls, or on all.
func around(spec *specs.LinuxSeccomp, calls []string) []uint64 {
	values := []uint64{0, 1, 1 << 31, 1<<32 - 1, 1<<64 - 1}
	for _, s := range spec.Syscalls {
		if calls != nil && !slices.ContainsFunc(s.Names, func(name string) bool { return slices.Contains(calls, name) }) {
			continue
		}
		for _, a := range s.Args {
			for _, v := range []uint64{a.Value, a.ValueTwo} {
				values = append(values, v-1, v, v+1, v|1<<32, v&(1<<32-1), v|a.ValueTwo, ^v)
			}
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// combinations asks about the first three arguments, which is where conditions are.
func (j *judge) combinations(audit, number uint32, values []uint64) {
	for _, a := range values {
		for _, b := range values {
			j.ask(audit, number, [6]uint64{a, b, 0, 0, 0, 0})
			j.ask(audit, number, [6]uint64{a, 0, b, 0, 0, 0})
			j.ask(audit, number, [6]uint64{0, a, b, 0, 0, 0})
			j.ask(audit, number, [6]uint64{a, b, a, b, a, b})
		}
	}
}

func (j *judge) ask(audit, number uint32, arguments [6]uint64) {
	j.t.Helper()
	// The interpreter loads big-endian, so each word is written that way.
	data := binary.BigEndian.AppendUint32(make([]byte, 0, 64), number)
	data = binary.BigEndian.AppendUint32(data, audit)
	data = binary.BigEndian.AppendUint64(data, 0)
	for _, a := range arguments {
		data = binary.BigEndian.AppendUint32(data, uint32(a))
		data = binary.BigEndian.AppendUint32(data, uint32(a>>32))
	}
	want, err := j.their.Run(data)
	if err != nil {
		j.t.Fatal(err)
	}
	got, err := j.our.Run(data)
	if err != nil {
		j.t.Fatal(err)
	}
	if got != want {
		j.t.Fatalf("call %#x of %#x with %#x: we answer %#x and runc %#x", number, audit, arguments, uint32(got), uint32(want))
	}
	j.compared++
	j.answers[uint32(want)]++
}
