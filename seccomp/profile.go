package seccomp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ProfileEnv is what the conditions in a profile are decided by.
type ProfileEnv struct {
	Arch         Arch   // whose calls are filtered; the zero value is the machine's own
	Capabilities uint64 // bit N is set when the command may have capability N
	Release      string // of the kernel, as uname(2) has it; only the first two numbers count
}

// ParseProfile makes a filter of a seccomp profile in JSON: the linux.seccomp object of the OCI runtime specification, or what
// docker, podman and Kubernetes take, which have conditions (archMap, includes, excludes) beside. The filter gives the answers
// that runc's would: all tables of calls that the profile doesn't name end the thread, a comparison is of 64 bits in the native
// table and of 32 bits in a narrow one, and under a default action that refuses, a call that is newer than all that the
// profile knows is answered ENOSYS. A call that no table has is left out.
//
// A field that isn't known is an error, and so is a profile that notifies a supervisor: there is none.
func ParseProfile(data []byte, env ProfileEnv) (*Filter, error) {
	filter, err := parseProfile(data, env)
	if err != nil {
		return nil, fmt.Errorf("seccomp: profile: %w", err)
	}
	return filter, nil
}

func parseProfile(data []byte, env ProfileEnv) (*Filter, error) {
	var document profileDocument
	if err := strictly(data, &document); err != nil {
		return nil, located(inEntry(err, data), data)
	}
	p, err := document.resolve(env)
	if err != nil {
		return nil, err
	}
	program, err := p.compile()
	if err != nil {
		return nil, err
	}
	return &Filter{program: program, profile: p}, nil
}

// profileDocument is a profile as it is written, in any of the dialects.
type profileDocument struct {
	DefaultAction    string                `json:"defaultAction"`
	DefaultErrnoRet  *uint                 `json:"defaultErrnoRet"`
	DefaultErrno     string                `json:"defaultErrno"` // podman's: the error number's name
	Architectures    []string              `json:"architectures"`
	ArchMap          []profileArchitecture `json:"archMap"`
	Flags            []string              `json:"flags"`
	ListenerPath     string                `json:"listenerPath"`
	ListenerMetadata string                `json:"listenerMetadata"`
	Syscalls         []profileEntry        `json:"syscalls"`
}

type profileArchitecture struct {
	Architecture     string   `json:"architecture"`
	SubArchitectures []string `json:"subArchitectures"`
}

type profileEntry struct {
	Name     string            `json:"name"`
	Names    []string          `json:"names"`
	Action   string            `json:"action"`
	ErrnoRet *uint             `json:"errnoRet"`
	Errno    string            `json:"errno"` // podman's
	Args     []profileArgument `json:"args"`
	Comment  string            `json:"comment"`
	Includes profileCondition  `json:"includes"`
	Excludes profileCondition  `json:"excludes"`
}

type profileArgument struct {
	Index    uint   `json:"index"`
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo"`
	Op       string `json:"op"`
}

type profileCondition struct {
	Caps      []string `json:"caps"`
	Arches    []string `json:"arches"`
	MinKernel *string  `json:"minKernel"`
}

// strictly decodes JSON that has no other fields than the target, and nothing behind.
func strictly(data []byte, target any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(target); err != nil {
		return plainly(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		line, column := position(data, decoder.InputOffset())
		return fmt.Errorf("line %d, column %d: there is more behind the profile", line, column)
	}
	return nil
}

// inEntry says in which entry of the list something is wrong, if it is in one.
func inEntry(err error, data []byte) error {
	var document struct {
		Syscalls []json.RawMessage `json:"syscalls"`
	}
	if json.Unmarshal(data, &document) != nil {
		return err
	}
	for i, raw := range document.Syscalls {
		if err := strictly(raw, new(profileEntry)); err != nil {
			return fmt.Errorf("syscalls[%d]: %w", i, err)
		}
	}
	return err
}

// plainly says in the profile's words what a decoder says in Go's.
func plainly(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		return fmt.Errorf("%s: %s isn't what belongs there", wrong.Field, wrong.Value)
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("there is no field %s", field)
	}
	return err
}

// located adds where in the text something is wrong.
func located(err error, data []byte) error {
	offset := int64(len(data))
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("the text ends in the middle")
	default:
		return err
	}
	line, column := position(data, offset)
	return fmt.Errorf("line %d, column %d: %w", line, column, err)
}

// position counts from 1; the offset is behind the byte that is meant.
func position(data []byte, offset int64) (line, column int) {
	before := data[:min(max(offset, 0), int64(len(data)))]
	return 1 + bytes.Count(before, []byte{'\n'}), max(1, len(before)-1-bytes.LastIndexByte(before, '\n'))
}

// profile is what a document means in an environment.
type profile struct {
	fallback  uint32 // the answer to calls that no rule is about
	tables    []int  // the tables of calls that have rules, the native one first
	rules     []profileRule
	mentioned []int  // the rows of all calls, those without a rule as well
	flags     uint32 // for seccomp(2)
}

// profileRule answers a call when all tests hold.
type profileRule struct {
	row    int // of the call in callTable
	answer uint32
	tests  []comparison
}

func (d *profileDocument) resolve(env ProfileEnv) (*profile, error) {
	arch, err := env.Arch.resolve()
	if err != nil {
		return nil, err
	}
	env.Arch = arch
	if d.DefaultAction == "" {
		return nil, errors.New("defaultAction is missing")
	}
	p := &profile{}
	of := actionFields{"defaultAction", "defaultErrnoRet", "defaultErrno"}
	if p.fallback, err = of.answer(d.DefaultAction, d.DefaultErrnoRet, d.DefaultErrno); err != nil {
		return nil, err
	}
	if err := p.setFlags(d.Flags); err != nil {
		return nil, err
	}
	if p.tables, err = d.tables(arch); err != nil {
		return nil, err
	}
	for i := range d.Syscalls {
		if err := p.addEntry(&d.Syscalls[i], env); err != nil {
			return nil, fmt.Errorf("syscalls[%d]: %w", i, err)
		}
	}
	return p, nil
}

// setFlags takes the flags of seccomp(2). Where there is no list of them, SPEC_ALLOW is meant.
func (p *profile) setFlags(flags []string) error {
	if flags == nil {
		p.flags = unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	}
	for _, flag := range flags {
		switch flag {
		case "SECCOMP_FILTER_FLAG_TSYNC": // there is one thread where the filter is loaded
		case "SECCOMP_FILTER_FLAG_LOG":
			p.flags |= unix.SECCOMP_FILTER_FLAG_LOG
		case "SECCOMP_FILTER_FLAG_SPEC_ALLOW":
			p.flags |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		case "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV":
			return fmt.Errorf("flags: %s is for filters that notify a supervisor, and there is none", flag)
		default:
			return fmt.Errorf("flags: there is no flag %q", flag)
		}
	}
	return nil
}

// otherArchitectures are those that runc knows and no filter here is for: their calls can't be made on this machine.
var otherArchitectures = [...]string{
	"SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32",
	"SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64", "SCMP_ARCH_S390", "SCMP_ARCH_S390X",
	"SCMP_ARCH_LOONGARCH64",
}

// tableOf finds an architecture's table of calls, none for one of another machine.
func tableOf(architecture string) (table int, known bool) {
	if table = slices.IndexFunc(tables[:], func(t callsTable) bool { return t.oci == architecture }); table >= 0 {
		return table, true
	}
	return none, slices.Contains(otherArchitectures[:], architecture)
}

// tables lists the tables that the profile has rules for: the native one, and what it names beside.
func (d *profileDocument) tables(arch Arch) ([]int, error) {
	if len(d.Architectures) > 0 && len(d.ArchMap) > 0 {
		return nil, errors.New("there are both architectures and archMap, and one is enough")
	}
	native := Policy{}.machines(arch)[0]
	list, named := []int{native}, d.Architectures
	for i, entry := range d.ArchMap {
		if table, known := tableOf(entry.Architecture); !known {
			return nil, fmt.Errorf("archMap[%d]: there is no architecture %q", i, entry.Architecture)
		} else if table == native && named == nil {
			named = append([]string{entry.Architecture}, entry.SubArchitectures...)
		}
	}
	for _, name := range named {
		table, known := tableOf(name)
		if !known {
			return nil, fmt.Errorf("architectures: there is no architecture %q", name)
		}
		if table != none && tables[table].arch == arch && !slices.Contains(list, table) {
			list = append(list, table)
		}
	}
	return list, nil
}

// addEntry adds the rules of an entry, if its conditions are met.
func (p *profile) addEntry(e *profileEntry, env ProfileEnv) error {
	applies, err := e.applies(env)
	if err != nil || !applies {
		return err
	}
	if e.Name != "" {
		if len(e.Names) > 0 {
			return errors.New("there are both name and names, and one is enough")
		}
		e.Names = []string{e.Name}
	}
	answer, err := actionFields{"action", "errnoRet", "errno"}.answer(e.Action, e.ErrnoRet, e.Errno)
	if err != nil {
		return err
	}
	alternatives, err := e.alternatives()
	if err != nil {
		return err
	}
	for _, name := range e.Names {
		if name == "" {
			return errors.New("names: the name of a call is empty")
		}
		row := rowOf(name)
		if row == none {
			continue // no machine that we know has it
		}
		p.mentioned = append(p.mentioned, row)
		if answer == p.fallback {
			continue // nothing new; and a rule that says otherwise stands
		}
		for _, tests := range alternatives {
			p.rules = append(p.rules, profileRule{row, answer, tests})
		}
	}
	return nil
}

// alternatives lists what an entry's arguments are compared with. Two comparisons of one argument make each of the
// comparisons a rule of its own.
func (e *profileEntry) alternatives() ([][]comparison, error) {
	var together []comparison
	var seen, twice uint8
	for i, a := range e.Args {
		c, err := a.comparison()
		if err != nil {
			return nil, fmt.Errorf("args[%d]: %w", i, err)
		}
		twice |= seen & (1 << c.argument)
		seen |= 1 << c.argument
		together = append(together, c)
	}
	if twice == 0 {
		slices.SortFunc(together, func(a, b comparison) int { return int(a.argument) - int(b.argument) })
		return [][]comparison{together}, nil
	}
	var list [][]comparison
	for _, c := range together {
		list = append(list, []comparison{c})
	}
	return list, nil
}

func (a *profileArgument) comparison() (comparison, error) {
	if a.Index > 5 {
		return comparison{}, fmt.Errorf("index: a call has no argument %d, only 0 to 5", a.Index)
	}
	c := comparison{argument: uint8(a.Index), op: operator(a.Op), mask: ^uint64(0), value: a.Value}
	switch c.op {
	case opMasked:
		c.mask, c.value = a.Value, a.ValueTwo
	case opNE, opLT, opLE, opEQ, opGE, opGT:
	default:
		return comparison{}, fmt.Errorf("op: there is no comparison %q", a.Op)
	}
	return c, nil
}

// actionFields are the names of the fields that say an action.
type actionFields struct{ action, errnoRet, errno string }

// answer is the kernel's answer for an action.
func (f actionFields) answer(action string, errnoRet *uint, errnoWord string) (uint32, error) {
	data := uint32(unix.EPERM)
	limit := uint(lastErrno)
	if action == "SCMP_ACT_TRACE" {
		limit = unix.SECCOMP_RET_DATA
	}
	if errnoRet != nil {
		if *errnoRet > limit {
			return 0, fmt.Errorf("%s: %d is more than %d", f.errnoRet, *errnoRet, limit)
		}
		data = uint32(*errnoRet)
	}
	if errnoWord != "" {
		named, err := ParseAction("errno=" + errnoWord)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", f.errno, err)
		}
		data = uint32(named)
	}
	switch action {
	case "SCMP_ACT_ALLOW":
		return unix.SECCOMP_RET_ALLOW, nil
	case "SCMP_ACT_ERRNO":
		return unix.SECCOMP_RET_ERRNO | data, nil
	case "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD":
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case "SCMP_ACT_KILL_PROCESS":
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case "SCMP_ACT_LOG":
		return unix.SECCOMP_RET_LOG, nil
	case "SCMP_ACT_TRAP":
		return unix.SECCOMP_RET_TRAP, nil
	case "SCMP_ACT_TRACE":
		return unix.SECCOMP_RET_TRACE | data, nil
	case "SCMP_ACT_NOTIFY":
		return 0, fmt.Errorf("%s: %s notifies a supervisor, and there is none", f.action, action)
	}
	return 0, fmt.Errorf("%s: there is no action %q", f.action, action)
}

// applies decides includes, all of which must hold, and excludes, none of which may.
func (e *profileEntry) applies(env ProfileEnv) (bool, error) {
	arch := "amd64" // docker's name for it
	if env.Arch == ARM64 {
		arch = "arm64"
	}
	newer, err := e.Includes.reached(env.Release)
	if err != nil {
		return false, fmt.Errorf("includes: %w", err)
	}
	excluded, err := e.Excludes.reached(env.Release)
	if err != nil {
		return false, fmt.Errorf("excludes: %w", err)
	}
	held := func(name string) bool { return env.holds(name) }
	missing := func(name string) bool { return !env.holds(name) }
	switch in, ex := e.Includes, e.Excludes; {
	case len(in.Arches) > 0 && !slices.Contains(in.Arches, arch), slices.ContainsFunc(in.Caps, missing):
		return false, nil
	case slices.Contains(ex.Arches, arch), slices.ContainsFunc(ex.Caps, held):
		return false, nil
	case in.MinKernel != nil && !newer, ex.MinKernel != nil && excluded:
		return false, nil
	}
	return true, nil
}

// holds reports whether the command may have a capability. One that isn't known here it hasn't.
func (env ProfileEnv) holds(name string) bool {
	n := slices.Index(capabilityNames[:], name)
	return n >= 0 && env.Capabilities>>n&1 != 0
}

// reached reports whether the kernel is at least the condition's.
func (c profileCondition) reached(release string) (bool, error) {
	if c.MinKernel == nil {
		return false, nil
	}
	want, rest, ok := version(*c.MinKernel)
	if !ok || rest != "" || want == [2]int{} {
		return false, fmt.Errorf("minKernel: %q isn't a version like 4.8", *c.MinKernel)
	}
	have, _, ok := version(release)
	if !ok {
		return false, fmt.Errorf("minKernel: the kernel's own version isn't known: %q", release)
	}
	return slices.Compare(have[:], want[:]) >= 0, nil
}

// version reads the first two numbers of a kernel's version.
func version(text string) (v [2]int, rest string, ok bool) {
	rest = text
	for i := range v {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.ParseUint(rest[:digits], 10, 16)
		if err != nil {
			return v, text, false
		}
		v[i], rest = int(n), rest[digits:]
		if i == 0 {
			if rest, ok = strings.CutPrefix(rest, "."); !ok {
				return v, text, false
			}
		}
	}
	return v, rest, true
}

// capabilityNames are the kernel's, by number (linux/capability.h).
var capabilityNames = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW",
	"CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
	"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
	"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}
