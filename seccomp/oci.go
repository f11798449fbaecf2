package seccomp

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// ociProfile is the seccomp object of the OCI runtime specification (linux.seccomp), which docker, podman and Kubernetes
// take as a profile by itself.
type ociProfile struct {
	DefaultAction string       `json:"defaultAction"`
	Architectures []string     `json:"architectures"`
	Syscalls      []ociSyscall `json:"syscalls"`
}

type ociSyscall struct {
	Names    []string `json:"names"`
	Action   string   `json:"action"`
	ErrnoRet *uint32  `json:"errnoRet,omitempty"`
	Args     []ociArg `json:"args,omitempty"`
}

// ociArg compares the argument with Value; under SCMP_CMP_MASKED_EQ, Value is the mask and ValueTwo what is compared.
type ociArg struct {
	Index    uint8  `json:"index"`
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo"`
	Op       string `json:"op"`
}

var ociArchitectures = [machineCount]string{
	machineX86_64:  "SCMP_ARCH_X86_64",
	machineI386:    "SCMP_ARCH_X86",
	machineAArch64: "SCMP_ARCH_AARCH64",
	machineARM:     "SCMP_ARCH_ARM",
}

// OCI returns the rules as a seccomp profile in JSON, and what the profile can't carry. Rules that it can't say are an
// error, as is an imported filter.
func (f *Filter) OCI() (profile []byte, missing []string, err error) {
	if f.profile != nil {
		return nil, nil, errors.New("seccomp: export to OCI: the filter was made of a profile, which is one already")
	}
	if f.set == nil {
		return nil, nil, errors.New("seccomp: export to OCI: an imported program has no rules to export")
	}
	document := ociProfile{DefaultAction: "SCMP_ACT_ALLOW"}
	list := f.policy.machines(f.policy.Arch)
	for i, machine := range list {
		document.Architectures = append(document.Architectures, ociArchitectures[machine])
		rules, err := f.set.flat(machine)
		if err != nil {
			return nil, nil, fmt.Errorf("seccomp: export to OCI: %w", err)
		}
		if i > 0 {
			rules = onlyOf(rules, list[0])
		}
		document.Syscalls = append(document.Syscalls, ociSyscalls(rules)...)
	}
	profile, err = json.MarshalIndent(document, "", "\t")
	if err != nil {
		return nil, nil, fmt.Errorf("seccomp: export to OCI: %w", err)
	}
	return append(profile, '\n'), append(f.Missing(),
		"calls through another table of calls: the runtime's own answer stands, which may end only the thread"), nil
}

// onlyOf keeps the rules for calls that the native table has not: a profile has one list for all tables, and what the
// native rules say holds for the narrow table too.
func onlyOf(rules []flatRule, native int) []flatRule {
	return slices.DeleteFunc(rules, func(r flatRule) bool { return calls[r.call].number[native] >= 0 })
}

// ociSyscalls joins the calls that have the same rule.
func ociSyscalls(rules []flatRule) []ociSyscall {
	var list []ociSyscall
	index := map[string]int{}
	for _, r := range rules {
		key := fmt.Sprint(r.answer, r.tests)
		if i, found := index[key]; found {
			list[i].Names = append(list[i].Names, calls[r.call].name)
			continue
		}
		index[key] = len(list)
		list = append(list, ociSyscallOf(r))
	}
	return list
}

func ociSyscallOf(r flatRule) ociSyscall {
	syscall := ociSyscall{Names: []string{calls[r.call].name}}
	switch r.answer {
	case unix.SECCOMP_RET_KILL_PROCESS:
		syscall.Action = "SCMP_ACT_KILL_PROCESS"
	case unix.SECCOMP_RET_LOG:
		syscall.Action = "SCMP_ACT_LOG"
	default:
		errno := r.answer & unix.SECCOMP_RET_DATA
		syscall.Action, syscall.ErrnoRet = "SCMP_ACT_ERRNO", &errno
	}
	for _, t := range r.tests {
		arg := ociArg{Index: t.argument, Value: t.mask, ValueTwo: t.value, Op: "SCMP_CMP_MASKED_EQ"}
		switch {
		case t.whole && t.not:
			arg = ociArg{Index: t.argument, Value: t.value, Op: "SCMP_CMP_NE"}
		case t.whole:
			arg = ociArg{Index: t.argument, Value: t.value, Op: "SCMP_CMP_EQ"}
		}
		syscall.Args = append(syscall.Args, arg)
	}
	return syscall
}
