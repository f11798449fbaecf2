//go:build libseccomp

package seccomp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

var libseccompArchitectures = [machineCount]libseccomp.ScmpArch{
	machineX86_64:  libseccomp.ArchAMD64,
	machineI386:    libseccomp.ArchX86,
	machineAArch64: libseccomp.ArchARM64,
	machineARM:     libseccomp.ArchARM,
}

// PFC returns libseccomp's own listing of the same rules, one filter after the other where there are several tables. It is
// there in programs built with the tag libseccomp.
func (f *Filter) PFC() ([]byte, error) {
	if f.set == nil {
		return nil, errors.New("seccomp: export to PFC: an imported program or a profile has no rules of ours to export")
	}
	var listing []byte
	for _, machine := range f.policy.machines(f.policy.Arch) {
		part, err := f.set.export(machine, (*libseccomp.ScmpFilter).ExportPFC)
		if err != nil {
			return nil, fmt.Errorf("seccomp: export to PFC: %w", err)
		}
		listing = append(listing, part...)
		if machine == machineI386 {
			listing = append(listing, "# libseccomp knows socket calls of i386 as socketcall only: their own numbers aren't listed\n"...)
		}
	}
	return listing, nil
}

// export makes libseccomp's filter of the rules for one machine, and has it written to a file in memory: libseccomp before
// 2.6 can't export to a buffer.
func (s *ruleSet) export(machine int, write func(*libseccomp.ScmpFilter, *os.File) error) ([]byte, error) {
	filter, err := s.libseccomp(machine)
	if err != nil {
		return nil, err
	}
	defer filter.Release()
	fd, err := unix.MemfdCreate("seccomp", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a file in memory: %w", err)
	}
	file := os.NewFile(uintptr(fd), "seccomp")
	defer file.Close()
	if err := write(filter, file); err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(file, 0, 1<<20))
}

// libseccomp makes libseccomp's filter of the rules; the caller releases it.
func (s *ruleSet) libseccomp(machine int) (*libseccomp.ScmpFilter, error) {
	rules, err := s.flat(machine)
	if err != nil {
		return nil, err
	}
	filter, err := libseccomp.NewFilter(libseccomp.ActAllow)
	if err != nil {
		return nil, err
	}
	if err := fill(filter, rules, machine); err != nil {
		filter.Release()
		return nil, err
	}
	return filter, nil
}

func fill(filter *libseccomp.ScmpFilter, rules []flatRule, machine int) error {
	if err := onlyArchitecture(filter, libseccompArchitectures[machine]); err != nil {
		return err
	}
	if err := filter.SetBadArchAction(libseccomp.ActKillProcess); err != nil {
		return err
	}
	for _, r := range rules {
		if machine == machineI386 && slices.Contains(socketCalls, r.call) {
			continue // it would become a socketcall with a first argument of its own; socketcall is refused whole
		}
		if err := r.add(filter); err != nil {
			return fmt.Errorf("%s on %s: %w", calls[r.call].name, machines[machine].name, err)
		}
	}
	return nil
}

func onlyArchitecture(filter *libseccomp.ScmpFilter, arch libseccomp.ScmpArch) error {
	native, err := libseccomp.GetNativeArch()
	if err != nil || native == arch {
		return err
	}
	if err := filter.AddArch(arch); err != nil {
		return err
	}
	return filter.RemoveArch(native)
}

// add adds a rule in exact form: libseccomp otherwise drops what it can't say for an architecture.
func (r flatRule) add(filter *libseccomp.ScmpFilter) error {
	number, err := libseccomp.GetSyscallFromName(calls[r.call].name)
	if err != nil {
		return err
	}
	conditions := make([]libseccomp.ScmpCondition, len(r.tests))
	for i, t := range r.tests {
		if conditions[i], err = t.condition(); err != nil {
			return err
		}
	}
	err = filter.AddRuleConditionalExact(number, libseccompAction(r.answer), conditions)
	if errors.Is(err, unix.EEXIST) {
		return nil // it holds this already
	}
	return err
}

func (t flatTest) condition() (libseccomp.ScmpCondition, error) {
	switch {
	case t.whole && t.not:
		return libseccomp.MakeCondition(uint(t.argument), libseccomp.CompareNotEqual, t.value)
	case t.whole:
		return libseccomp.MakeCondition(uint(t.argument), libseccomp.CompareEqual, t.value)
	}
	return libseccomp.MakeCondition(uint(t.argument), libseccomp.CompareMaskedEqual, t.mask, t.value)
}

func libseccompAction(answer uint32) libseccomp.ScmpAction {
	switch answer {
	case unix.SECCOMP_RET_KILL_PROCESS:
		return libseccomp.ActKillProcess
	case unix.SECCOMP_RET_LOG:
		return libseccomp.ActLog
	}
	return libseccomp.ActErrno.SetReturnCode(int16(answer & unix.SECCOMP_RET_DATA))
}
