package seccomp

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// machine1 is a machine of the tests, without capabilities.
var machine1 = ProfileEnv{Arch: AMD64, Release: "5.15.3-17-generic"}

func capability(names ...string) (mask uint64) {
	for _, name := range names {
		mask |= 1 << slices.Index(capabilityNames[:], name)
	}
	return mask
}

const (
	allowed  = unix.SECCOMP_RET_ALLOW
	nosys    = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	notPerm  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	noAccess = unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)
)

// asked is a call, by its name in a table.
func asked(t *testing.T, table int, name string, arguments ...uint64) event {
	t.Helper()
	number := numberOf(name, table)
	if number < 0 {
		t.Fatalf("%s has no call %s", tables[table].name, name)
	}
	e := event{arch: tables[table].audit, number: uint32(number)}
	copy(e.arguments[:], arguments)
	return e
}

// rulesOnly is a profile with these entries, under a default that permits.
func rulesOnly(entries string) string {
	return `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": [` + entries + `]}`
}

func TestProfileFeatures(t *testing.T) {
	arm := ProfileEnv{Arch: ARM64, Release: "6.1"}
	root := ProfileEnv{Arch: AMD64, Release: "6.1", Capabilities: capability("CAP_SYS_ADMIN", "CAP_BPF")}
	const high = 1 << 32
	for _, c := range []struct {
		name    string
		profile string
		env     ProfileEnv
		call    event
		want    uint32
	}{
		{"errno by default", rulesOnly(`{"names": ["read", "write"], "action": "SCMP_ACT_ERRNO"}`), machine1, asked(t, machineX86_64, "write"), notPerm},
		{"the others", rulesOnly(`{"names": ["read"], "action": "SCMP_ACT_ERRNO"}`), machine1, asked(t, machineX86_64, "write"), allowed},
		{"errno by number", rulesOnly(`{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}`), machine1, asked(t, machineX86_64, "read"), noAccess},
		{"errno by name", rulesOnly(`{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "errno": "EACCES"}`), machine1, asked(t, machineX86_64, "read"), noAccess},
		{"pretended", rulesOnly(`{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}`), machine1, asked(t, machineX86_64, "read"), unix.SECCOMP_RET_ERRNO},
		{"kill", rulesOnly(`{"names": ["read"], "action": "SCMP_ACT_KILL"}`), machine1, asked(t, machineX86_64, "read"), unix.SECCOMP_RET_KILL_THREAD},
		{"kill thread", rulesOnly(`{"names": ["read"], "action": "SCMP_ACT_KILL_THREAD"}`), machine1, asked(t, machineX86_64, "read"), unix.SECCOMP_RET_KILL_THREAD},
		{"kill process", rulesOnly(`{"names": ["read"], "action": "SCMP_ACT_KILL_PROCESS"}`), machine1, asked(t, machineX86_64, "read"), unix.SECCOMP_RET_KILL_PROCESS},
		{"trap", rulesOnly(`{"names": ["read"], "action": "SCMP_ACT_TRAP", "errnoRet": 3}`), machine1, asked(t, machineX86_64, "read"), unix.SECCOMP_RET_TRAP},
		{"trace", rulesOnly(`{"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 65535}`), machine1, asked(t, machineX86_64, "read"), unix.SECCOMP_RET_TRACE | 0xffff},
		{"log", rulesOnly(`{"names": ["read"], "action": "SCMP_ACT_LOG"}`), machine1, asked(t, machineX86_64, "read"), unix.SECCOMP_RET_LOG},
		{"name alone", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "comment": "c"}`), machine1, asked(t, machineX86_64, "read"), notPerm},
		{"an unknown call", rulesOnly(`{"names": ["nosuchcall", "read"], "action": "SCMP_ACT_ERRNO"}`), machine1, asked(t, machineX86_64, "read"), notPerm},
		{"another table", rulesOnly(`{"names": ["read"], "action": "SCMP_ACT_ERRNO"}`), machine1, asked(t, machineI386, "read"), notPerm},
		{"a table not named", `{"defaultAction": "SCMP_ACT_ALLOW"}`, machine1, asked(t, machineI386, "read"), unix.SECCOMP_RET_KILL_THREAD},
		{"x32 not named", rulesOnly(``), machine1, asked(t, tableX32, "read"), unix.SECCOMP_RET_KILL_THREAD},
		{"x32 named", `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X32", "SCMP_ARCH_X86_64"]}`, machine1, asked(t, tableX32, "read"), allowed},
		{"taken away by a tracer", rulesOnly(``), machine1, event{number: all, arch: machines[machineX86_64].audit}, allowed},
		{"an architecture that isn't this one", `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X", "SCMP_ARCH_ARM"]}`, machine1, asked(t, machineARM, "read"), unix.SECCOMP_RET_KILL_THREAD},
		{"arm beside arm64", `{"defaultAction": "SCMP_ACT_KILL", "architectures": ["SCMP_ARCH_ARM"], "syscalls": [{"name": "set_tls", "action": "SCMP_ACT_ALLOW"}]}`, arm, asked(t, machineARM, "set_tls"), allowed},
		{"archMap", `{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}, {"architecture": "SCMP_ARCH_AARCH64"}]}`, machine1, asked(t, machineI386, "read"), allowed},
		{"another line of archMap", `{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}, {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": null}]}`, arm, asked(t, machineARM, "read"), unix.SECCOMP_RET_KILL_THREAD},

		// Newer calls than the profile knows.
		{"the newest", `{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["openat2", "read"], "action": "SCMP_ACT_ALLOW"}]}`, machine1, asked(t, machineX86_64, "openat2"), allowed},
		{"newer", `{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["openat2", "read"], "action": "SCMP_ACT_ALLOW"}]}`, machine1, asked(t, machineX86_64, "pidfd_getfd"), nosys},
		{"older", `{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["openat2", "read"], "action": "SCMP_ACT_ALLOW"}]}`, machine1, asked(t, machineX86_64, "io_uring_setup"), notPerm},
		{"newer, where the default kills", `{"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [{"name": "read", "action": "SCMP_ACT_ALLOW"}, {"name": "openat2", "action": "SCMP_ACT_KILL_PROCESS"}]}`, machine1, asked(t, machineX86_64, "pidfd_getfd"), nosys},
		{"known by a refusal", `{"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [{"name": "read", "action": "SCMP_ACT_ALLOW"}, {"name": "openat2", "action": "SCMP_ACT_KILL_PROCESS"}]}`, machine1, asked(t, machineX86_64, "openat"), unix.SECCOMP_RET_KILL_PROCESS},
		{"newer, where the default permits", rulesOnly(`{"names": ["write"], "action": "SCMP_ACT_ERRNO"}`), machine1, asked(t, machineX86_64, "pidfd_getfd"), allowed},
		{"nothing known", `{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13}`, machine1, asked(t, machineX86_64, "pidfd_getfd"), noAccess},
		{"podman's default", `{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "defaultErrno": "EACCES"}`, machine1, asked(t, machineX86_64, "read"), noAccess},

		// Conditions on arguments.
		{"equal", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]}`), machine1, asked(t, machineX86_64, "read", 5), notPerm},
		{"equal in the low half", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]}`), machine1, asked(t, machineX86_64, "read", high|5), allowed},
		{"equal in a narrow table", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]}`), machine1, asked(t, machineI386, "read", high|5), notPerm},
		{"masked", rulesOnly(`{"name": "clone", "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 6, "valueTwo": 5, "op": "SCMP_CMP_MASKED_EQ"}]}`), machine1, asked(t, machineX86_64, "clone", high|13), notPerm},
		{"a mask of nothing", rulesOnly(`{"name": "clone", "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 0, "valueTwo": 5, "op": "SCMP_CMP_MASKED_EQ"}]}`), machine1, asked(t, machineX86_64, "clone"), notPerm},
		{"two arguments, one of them", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 5, "op": "SCMP_CMP_GT"}, {"index": 0, "value": 5, "op": "SCMP_CMP_LT"}]}`), machine1, asked(t, machineX86_64, "read", 5, 6), allowed},
		{"two arguments, both", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 5, "op": "SCMP_CMP_GT"}, {"index": 0, "value": 5, "op": "SCMP_CMP_LT"}]}`), machine1, asked(t, machineX86_64, "read", 4, high), notPerm},
		{"one argument twice is an alternative", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 5, "op": "SCMP_CMP_GE"}, {"index": 1, "value": 2, "op": "SCMP_CMP_LE"}]}`), machine1, asked(t, machineX86_64, "read", 0, 2), notPerm},
		{"several rules", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]}, {"name": "read", "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 5, "op": "SCMP_CMP_NE"}]}`), machine1, asked(t, machineX86_64, "read", 1, 4), notPerm},
		{"without a condition counts more", rulesOnly(`{"name": "read", "action": "SCMP_ACT_KILL", "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]}, {"name": "read", "action": "SCMP_ACT_ERRNO"}`), machine1, asked(t, machineX86_64, "read", 5), notPerm},
		{"the first without counts", rulesOnly(`{"name": "read", "action": "SCMP_ACT_LOG"}, {"name": "read", "action": "SCMP_ACT_ERRNO"}`), machine1, asked(t, machineX86_64, "read"), unix.SECCOMP_RET_LOG},
		{"what the default says is no rule", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ALLOW"}, {"name": "read", "action": "SCMP_ACT_ERRNO"}`), machine1, asked(t, machineX86_64, "read"), notPerm},
		{"the wider rule", rulesOnly(`{"name": "read", "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]}, {"name": "read", "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 5, "op": "SCMP_CMP_EQ"}]}`), machine1, asked(t, machineX86_64, "read", 5, 5), unix.SECCOMP_RET_LOG},

		// What i386 multiplexes.
		{"socketcall", rulesOnly(`{"name": "socket", "action": "SCMP_ACT_ERRNO"}`), machine1, asked(t, machineI386, "socketcall", 1), notPerm},
		{"another socketcall", rulesOnly(`{"name": "socket", "action": "SCMP_ACT_ERRNO"}`), machine1, asked(t, machineI386, "socketcall", 2), allowed},
		{"socket of i386", rulesOnly(`{"name": "socket", "action": "SCMP_ACT_ERRNO"}`), machine1, asked(t, machineI386, "socket"), notPerm},
		{"ipc", rulesOnly(`{"name": "shmat", "action": "SCMP_ACT_ERRNO"}`), machine1, asked(t, machineI386, "ipc", 21), notPerm},

		// docker's conditions.
		{"an older kernel is enough", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "5.15"}}`), machine1, asked(t, machineX86_64, "read"), notPerm},
		{"a newer kernel is needed", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "5.16"}}`), machine1, asked(t, machineX86_64, "read"), allowed},
		{"a newer major version", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "4.99"}}`), machine1, asked(t, machineX86_64, "read"), notPerm},
		{"not on newer kernels", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "excludes": {"minKernel": "4.8"}}`), machine1, asked(t, machineX86_64, "read"), allowed},
		{"on this machine", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "includes": {"arches": ["arm", "amd64"]}}`), machine1, asked(t, machineX86_64, "read"), notPerm},
		{"on others", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "includes": {"arches": ["arm64"]}}`), machine1, asked(t, machineX86_64, "read"), allowed},
		{"not on this machine", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "excludes": {"arches": ["amd64"]}}`), machine1, asked(t, machineX86_64, "read"), allowed},
		{"all capabilities are needed", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_BPF", "CAP_SYSLOG"]}}`), root, asked(t, machineX86_64, "read"), allowed},
		{"all are there", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_BPF", "CAP_SYS_ADMIN"]}}`), root, asked(t, machineX86_64, "read"), notPerm},
		{"one capability excludes", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYSLOG", "CAP_BPF"]}}`), root, asked(t, machineX86_64, "read"), allowed},
		{"a capability of the future", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_FUTURE"]}}`), root, asked(t, machineX86_64, "read"), notPerm},
		{"excluded, whatever its action", rulesOnly(`{"name": "read", "action": "SCMP_ACT_NOTIFY", "includes": {"arches": ["s390x"]}}`), root, asked(t, machineX86_64, "read"), allowed},
		{"an empty condition", rulesOnly(`{"name": "read", "action": "SCMP_ACT_ERRNO", "includes": {}, "excludes": null}`), root, asked(t, machineX86_64, "read"), notPerm},
	} {
		f, err := ParseProfile([]byte(c.profile), c.env)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got, _ := interpret(t, f.program, c.call); got != c.want {
			t.Errorf("%s: answer %#x, want %#x", c.name, got, c.want)
		}
	}
}

func TestProfileRefuses(t *testing.T) {
	entry := func(text string) string { return rulesOnly(`{"name": "read", ` + text + `}`) }
	argument := func(text string) string { return entry(`"action": "SCMP_ACT_ERRNO", "args": [{` + text + `}]`) }
	many := strings.Repeat(`{"name": "read", "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_MASKED_EQ"}]}, `, 3)
	for _, c := range []struct{ name, profile, want string }{
		{"nothing", "", "line 1, column 1: the text ends in the middle"},
		{"half", "{\n\"defaultAction\": ", "line 2, column 17: the text ends in the middle"},
		{"no JSON", "{\n  \"defaultAction\": oops\n}", "line 2, column 20: invalid character 'o'"},
		{"no object", `[]`, "cannot unmarshal array"},
		{"more behind", "{\"defaultAction\": \"SCMP_ACT_ALLOW\"}\n{}", "line 2, column 1: there is more behind the profile"},
		{"an unknown field", `{"defaultAction": "SCMP_ACT_ALLOW", "syscall": []}`, `there is no field "syscall"`},
		{"an unknown field of an entry", rulesOnly(`{"action": "SCMP_ACT_LOG"}, {"nmae": "read"}`), `syscalls[1]: there is no field "nmae"`},
		{"no action", rulesOnly(`{"name": "read"}`), `syscalls[0]: action: there is no action ""`},
		{"an unknown field of an argument", argument(`"index": 0, "mask": 1`), `syscalls[0]: there is no field "mask"`},
		{"an unknown field of a condition", entry(`"includes": {"cap": []}`), `syscalls[0]: there is no field "cap"`},
		{"a wrong type", `{"defaultAction": 3}`, "defaultAction: number isn't what belongs there"},
		{"a wrong type in an argument", argument(`"index": "0"`), "syscalls[0]: args.index: string isn't what belongs there"},
		{"a negative errno", entry(`"action": "SCMP_ACT_ERRNO", "errnoRet": -1`), "syscalls[0]: errnoRet: number -1 isn't what belongs there"},
		{"no default", `{"syscalls": []}`, "defaultAction is missing"},
		{"an unknown default", `{"defaultAction": "SCMP_ACT_MAYBE"}`, `defaultAction: there is no action "SCMP_ACT_MAYBE"`},
		{"a default that notifies", `{"defaultAction": "SCMP_ACT_NOTIFY"}`, "defaultAction: SCMP_ACT_NOTIFY notifies a supervisor, and there is none"},
		{"a large default errno", `{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}`, "defaultErrnoRet: 4096 is more than 4095"},
		{"an unknown default errno", `{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "EWHAT"}`, `defaultErrno: there is no error number "EWHAT"`},
		{"an unknown action", entry(`"action": "SCMP_ACT_MAYBE"`), `syscalls[0]: action: there is no action "SCMP_ACT_MAYBE"`},
		{"notification", entry(`"action": "SCMP_ACT_NOTIFY"`), "syscalls[0]: action: SCMP_ACT_NOTIFY notifies a supervisor"},
		{"a large message", entry(`"action": "SCMP_ACT_TRACE", "errnoRet": 65536`), "errnoRet: 65536 is more than 65535"},
		{"an unknown flag", `{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}`, `flags: there is no flag "SECCOMP_FILTER_FLAG_NEW_LISTENER"`},
		{"a flag for notification", `{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}`, "flags: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is for filters that notify"},
		{"an unknown architecture", `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}`, `architectures: there is no architecture "SCMP_ARCH_VAX"`},
		{"an unknown architecture in the map", `{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "amd64"}]}`, `archMap[0]: there is no architecture "amd64"`},
		{"two lists of architectures", `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}`, "both architectures and archMap"},
		{"two lists of names", rulesOnly(`{"name": "read", "names": ["write"], "action": "SCMP_ACT_LOG"}`), "both name and names"},
		{"an empty name", rulesOnly(`{"names": ["read", ""], "action": "SCMP_ACT_LOG"}`), "names: the name of a call is empty"},
		{"argument 6", argument(`"index": 6, "op": "SCMP_CMP_EQ"`), "args[0]: index: a call has no argument 6"},
		{"an unknown comparison", argument(`"index": 0, "op": "SCMP_CMP_LIKE"`), `args[0]: op: there is no comparison "SCMP_CMP_LIKE"`},
		{"no version", entry(`"action": "SCMP_ACT_LOG", "includes": {"minKernel": "5"}`), `includes: minKernel: "5" isn't a version like 4.8`},
		{"too much of a version", entry(`"action": "SCMP_ACT_LOG", "excludes": {"minKernel": "5.4.1"}`), `excludes: minKernel: "5.4.1" isn't a version like 4.8`},
		{"an empty version", entry(`"action": "SCMP_ACT_LOG", "excludes": {"minKernel": ""}`), `excludes: minKernel: "" isn't a version`},
		{"a contradiction", rulesOnly(many + `{"name": "read", "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_MASKED_EQ"}]}`), "the conditions of read contradict"},
	} {
		_, err := ParseProfile([]byte(c.profile), machine1)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "seccomp: profile: ") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := ParseProfile([]byte(entry(`"action": "SCMP_ACT_LOG", "includes": {"minKernel": "5.4"}`)), ProfileEnv{Arch: AMD64}); err == nil {
		t.Error("a condition on a kernel that isn't known was decided")
	}
}

func TestCallTableIsSorted(t *testing.T) {
	if !slices.IsSortedFunc(callTable[:], func(a, b namedCall) int { return strings.Compare(a.name, b.name) }) {
		t.Error("calls wouldn't be found by their names")
	}
}

func TestProfileFlags(t *testing.T) {
	for text, want := range map[string]uint32{
		``:               unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		`"flags": null,`: unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		`"flags": [],`:   0,
		`"flags": ["SECCOMP_FILTER_FLAG_TSYNC"],`:                                 0,
		`"flags": ["SECCOMP_FILTER_FLAG_LOG"],`:                                   unix.SECCOMP_FILTER_FLAG_LOG,
		`"flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],`: unix.SECCOMP_FILTER_FLAG_LOG | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
	} {
		f, err := ParseProfile([]byte(`{`+text+`"defaultAction": "SCMP_ACT_ALLOW"}`), machine1)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Flags(); got != want {
			t.Errorf("%s: flags %#x, want %#x", text, got, want)
		}
	}
}

func TestProfileTooLong(t *testing.T) {
	var entries []string
	for i := range 2000 {
		text, err := json.Marshal(profileEntry{Name: "read", Action: "SCMP_ACT_ERRNO", Args: []profileArgument{
			{Index: 0, Value: uint64(i) << 33, Op: string(opEQ)}, {Index: 1, Value: uint64(i), Op: string(opNE)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, string(text))
	}
	_, err := ParseProfile([]byte(rulesOnly(strings.Join(entries, ","))), machine1)
	if err == nil || !strings.Contains(err.Error(), "instructions and the kernel takes 4096") {
		t.Errorf("%v", err)
	}
}

// TestProfileAgainstItsRules compares programs with what the rules say when read one by one, whatever their number and conditions.
func TestProfileAgainstItsRules(t *testing.T) {
	r := rand.New(rand.NewPCG(testSeed(t), 11))
	matched := 0
	for range 800 {
		p := randomProfile(r, false)
		for range r.IntN(3) {
			if tests := randomTests(r, false, false); len(tests) > 0 {
				p.rules = append(p.rules, profileRule{p.rules[0].row, p.rules[0].answer, tests})
			}
		}
		program, err := p.compile()
		if err != nil {
			t.Fatal(err)
		}
		if err := check(program); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			e := randomProfileCall(r, p, false)
			want := meaning(p, e)
			if want != allowed {
				matched++
			}
			if got, _ := interpret(t, program, e); got != want {
				t.Fatalf("call %d of %#x %#x: answer %#x, want %#x\n%+v", e.number, e.arch, e.arguments, got, want, p.rules)
			}
		}
	}
	if matched < 1000 {
		t.Errorf("only %d calls met a rule", matched)
	}
}

// meaning reads rules that all have one answer.
func meaning(p *profile, e event) uint32 {
	table := slices.IndexFunc(p.tables, func(table int) bool {
		return tables[table].audit == e.arch && (!tables[table].x32 || (table == tableX32) == (e.number&x32Bit != 0))
	})
	tracer := e.number == all && e.arch == machines[machineX86_64].audit
	switch {
	case table < 0 && tracer:
		return p.fallback
	case table < 0:
		return unix.SECCOMP_RET_KILL_THREAD
	}
	table = p.tables[table]
	for _, r := range p.rules {
		through, operation := multiplexed(r.row, table)
		tests := slices.Clone(r.tests)
		switch {
		case operation != 0 && e.number == uint32(numberOf(through, table)):
			tests = slices.DeleteFunc(tests, func(c comparison) bool { return c.argument == 0 })
			tests = append(tests, comparison{0, opEQ, operation, ^uint64(0)})
		case e.number == all || e.number != uint32(callTable[r.row].number[table]):
			continue
		}
		if !slices.ContainsFunc(tests, func(c comparison) bool {
			return !c.cut(tables[table].narrow).holds(e.arguments[c.argument], tables[table].narrow)
		}) {
			return r.answer
		}
	}
	return p.fallback
}

// TestProfileOfAnExport reads back what our own filters export.
func TestProfileOfAnExport(t *testing.T) {
	r := rand.New(rand.NewPCG(testSeed(t), 13))
	for range 40 {
		policy := randomPolicy(r)
		if n := len(policy.descriptors()); n > 3 {
			policy.kept = policy.kept[:3*packedSize]
		}
		if policy.Action == Log {
			policy.Action = Kill
		}
		f, err := Compile(policy)
		if err != nil {
			t.Fatal(err)
		}
		text, _, err := f.OCI()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseProfile(text, ProfileEnv{Arch: policy.Arch})
		if err != nil {
			t.Fatal(err)
		}
		for range 500 {
			machine, e := randomCall(r, policy)
			if machine < 0 || !slices.Contains(policy.machines(f.policy.Arch), machine) || e.number >= x32Bit {
				continue
			}
			want, _ := interpret(t, f.program, e)
			if got, _ := interpret(t, again.program, e); got != want {
				t.Fatalf("%v\ncall %d of %#x %#x: the profile answers %#x and the filter %#x", policy, e.number, e.arch, e.arguments, got, want)
			}
		}
	}
}

func TestProfileTextAndExplain(t *testing.T) {
	f, err := ParseProfile([]byte(`{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X32"], "syscalls": [
		{"names": ["write", "read"], "action": "SCMP_ACT_ALLOW"},
		{"names": ["clone"], "action": "SCMP_ACT_TRAP", "args": [
			{"index": 0, "value": 16, "valueTwo": 16, "op": "SCMP_CMP_MASKED_EQ"}, {"index": 1, "value": 7, "op": "SCMP_CMP_GE"}]},
		{"names": ["flock"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}]},
		{"names": ["openat2"], "action": "SCMP_ACT_TRACE"}]}`), machine1)
	if err != nil {
		t.Fatal(err)
	}
	text := f.Text()
	for _, want := range []string{
		"profile for x86_64, x32; 5 rules\n", "\nx86_64\n", "  read, write: permitted\n",
		"  clone(argument 0 & 0x10 == 0x10, argument 1 >= 7): refused with the signal SIGSYS\n",
		"  openat2: left to a tracer, refused with ENOSYS where there is none\n",
		"  all calls above 437, the newest that is mentioned: refused with ENOSYS\n",
		"\nall other calls: refused with EPERM\nall other tables of calls: the thread is killed (SIGSYS)\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q isn't in\n%s", want, text)
		}
	}
	for call, want := range map[string]string{
		"read(3)":                 "read(...): permitted",
		"x32:read()":              "read(...): permitted",
		"clone(0x11, 7)":          "clone(argument 0 & 0x10 == 0x10, argument 1 >= 7): refused with the signal SIGSYS",
		"clone(?, 7)":             "perhaps clone(argument 0 & 0x10 == 0x10, argument 1 >= 7): refused with the signal SIGSYS\nrefused with EPERM: no rule holds",
		"clone(1, 7)":             "refused with EPERM: no rule holds",
		"flock(3, LOCK_EX)":       "flock(argument 1 == 2): permitted",
		"mount()":                 "refused with EPERM: no rule is about the call",
		"pidfd_getfd()":           "refused with ENOSYS: the call is newer than all that the profile mentions",
		"i386:read()":             "the thread is killed (SIGSYS): the profile has no rules for i386",
		"aarch64:read(1, 2, 3)":   "the thread is killed (SIGSYS): the profile has no rules for aarch64",
		"x32:openat2(1, 2, ?, 3)": "openat2(...): left to a tracer, refused with ENOSYS where there is none",
	} {
		if got, err := f.Explain(call); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", call, got, err, want)
		}
	}
	for _, call := range []string{"nosuchcall()", "read(", "flock(3, LOCK_WHAT)", "vax:read()"} {
		if got, err := f.Explain(call); err == nil {
			t.Errorf("%s: %q", call, got)
		}
	}
	if _, _, err := f.OCI(); err == nil {
		t.Error("a profile was exported as one")
	}
}

func TestProfileEnvironment(t *testing.T) {
	env, err := ProfileEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := version(env.Release); !ok {
		t.Errorf("release %q", env.Release)
	}
	var header unix.CapUserHeader
	header.Version = unix.LINUX_CAPABILITY_VERSION_3
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	if got, want := env.holds("CAP_SYS_ADMIN"), data[0].Permitted&(1<<unix.CAP_SYS_ADMIN) != 0; got != want {
		t.Errorf("CAP_SYS_ADMIN %v, want %v", got, want)
	}
}

// FuzzProfile: what is accepted is a program that the kernel takes.
func FuzzProfile(f *testing.F) {
	f.Add([]byte(rulesOnly(`{"names": ["read", "socket"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}`)))
	f.Add([]byte(`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X32"]}], "flags": [],
		"syscalls": [{"name": "clone", "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"], "minKernel": "4.8"}, "excludes": {"arches": ["arm"]}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		filter, err := ParseProfile(text, machine1)
		if err != nil {
			return
		}
		if err := check(filter.program); err != nil {
			t.Fatal(err)
		}
		if filter.Text() == "" {
			t.Error("no text")
		}
	})
}
