//go:build libseccomp

package seccomp

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

var libseccompTables = [tableCount]libseccomp.ScmpArch{
	machineX86_64: libseccomp.ArchAMD64, machineI386: libseccomp.ArchX86,
	machineAArch64: libseccomp.ArchARM64, machineARM: libseccomp.ArchARM, tableX32: libseccomp.ArchX32,
}

// TestCallTableIsLibseccomps compares all names and numbers that libseccomp knows.
func TestCallTableIsLibseccomps(t *testing.T) {
	compared := 0
	for row, call := range callTable {
		for table, number := range call.number {
			theirs, err := libseccomp.GetSyscallFromNameByArch(call.name, libseccompTables[table])
			if err != nil {
				continue // it is older than the call
			}
			if _, operation := multiplexed(row, table); operation != 0 {
				base := libseccomp.ScmpSyscall(100)
				if slices.Contains(ipcOperations[:], call.name) {
					base = 200
				}
				if theirs != -base-libseccomp.ScmpSyscall(operation) {
					t.Errorf("%s on i386: operation %d, libseccomp says %d", call.name, operation, theirs)
				}
				continue
			}
			if compared++; int32(theirs) != number && (theirs >= 0 || number >= 0) {
				t.Errorf("%s on %s: %d, libseccomp says %d", call.name, tables[table].name, number, theirs)
			}
		}
	}
	if compared < 2000 {
		t.Errorf("only %d numbers compared", compared)
	}
}

// theirs is libseccomp's filter of a resolved profile, made by the calls that runc makes. The error satisfies EEXIST where
// it refuses rules that contradict.
func theirs(t *testing.T, p *profile) ([]unix.SockFilter, error) {
	t.Helper()
	filter, err := libseccomp.NewFilter(theirAction(t, p.fallback))
	if err != nil {
		t.Fatal(err)
	}
	defer filter.Release()
	for _, table := range p.tables {
		if err := filter.AddArch(libseccompTables[table]); err != nil {
			t.Fatal(err)
		}
	}
	if p.tables[0] != machineX86_64 {
		if err := filter.RemoveArch(libseccomp.ArchAMD64); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.rules) > 32 {
		if err := filter.SetOptimize(2); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range p.rules {
		number, err := libseccomp.GetSyscallFromName(callTable[r.row].name)
		if err != nil {
			continue
		}
		if err := addTheirs(filter, number, r); err != nil {
			return nil, fmt.Errorf("%s: %w", callTable[r.row].name, err)
		}
	}
	return exported(t, filter), nil
}

func addTheirs(filter *libseccomp.ScmpFilter, number libseccomp.ScmpSyscall, r profileRule) error {
	action := libseccompProfileAction(r.answer)
	if len(r.tests) == 0 {
		return filter.AddRule(number, action)
	}
	var conditions []libseccomp.ScmpCondition
	for _, c := range r.tests {
		operands := []uint64{c.value}
		if c.op == opMasked {
			operands = []uint64{c.mask, c.value}
		}
		condition, err := libseccomp.MakeCondition(uint(c.argument), theirOperators[c.op], operands...)
		if err != nil {
			return err
		}
		conditions = append(conditions, condition)
	}
	return filter.AddRuleConditional(number, action, conditions)
}

var theirOperators = map[operator]libseccomp.ScmpCompareOp{
	opNE: libseccomp.CompareNotEqual, opLT: libseccomp.CompareLess, opLE: libseccomp.CompareLessOrEqual,
	opEQ: libseccomp.CompareEqual, opGE: libseccomp.CompareGreaterEqual, opGT: libseccomp.CompareGreater,
	opMasked: libseccomp.CompareMaskedEqual,
}

func theirAction(t *testing.T, answer uint32) libseccomp.ScmpAction {
	t.Helper()
	action := libseccompProfileAction(answer)
	if action == libseccomp.ActInvalid {
		t.Fatalf("answer %#x", answer)
	}
	return action
}

func libseccompProfileAction(answer uint32) libseccomp.ScmpAction {
	code := int16(answer & unix.SECCOMP_RET_DATA)
	switch answer & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_ALLOW:
		return libseccomp.ActAllow
	case unix.SECCOMP_RET_LOG:
		return libseccomp.ActLog
	case unix.SECCOMP_RET_TRACE:
		return libseccomp.ActTrace.SetReturnCode(code)
	case unix.SECCOMP_RET_ERRNO:
		return libseccomp.ActErrno.SetReturnCode(code)
	case unix.SECCOMP_RET_TRAP:
		return libseccomp.ActTrap
	case unix.SECCOMP_RET_KILL_THREAD:
		return libseccomp.ActKillThread
	case unix.SECCOMP_RET_KILL_PROCESS:
		return libseccomp.ActKillProcess
	}
	return libseccomp.ActInvalid
}

// exported reads the program through a file in memory.
func exported(t *testing.T, filter *libseccomp.ScmpFilter) []unix.SockFilter {
	t.Helper()
	fd, err := unix.MemfdCreate("seccomp", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "seccomp")
	defer file.Close()
	if err := filter.ExportBPF(file); err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(io.NewSectionReader(file, 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return decode(raw)
}

// TestProfilesMeanWhatLibseccompMakesOfThem compares random profiles of a few calls with many conditions.
//
// They stay clear of what libseccomp 2.5 gets wrong: falling through from a condition on several arguments, and "less" or
// "greater" than numbers beyond 32 bits, where several rules look at the same argument.
func TestProfilesMeanWhatLibseccompMakesOfThem(t *testing.T) {
	r := rand.New(rand.NewPCG(testSeed(t), 7))
	t.Run("one answer", func(t *testing.T) { judgeProfiles(t, r, false, 600) })
	t.Run("several answers", func(t *testing.T) { judgeProfiles(t, r, true, 1500) })
}

func judgeProfiles(t *testing.T, r *rand.Rand, mixed bool, count int) {
	compared, refused := 0, 0
	for range count {
		p := randomProfile(r, mixed)
		their, err := theirs(t, p)
		our, ourErr := p.compile()
		if (err != nil) != (ourErr != nil) || err != nil && !errors.Is(err, unix.EEXIST) {
			t.Fatalf("libseccomp: %v, ours: %v\n%+v", err, ourErr, p.rules)
		}
		if err != nil {
			refused++
			continue
		}
		for range 400 {
			e := randomProfileCall(r, p, mixed)
			want, _ := interpret(t, their, e)
			if got, _ := interpret(t, our, e); got != want {
				t.Fatalf("call %d of %#x %#x: we answer %#x and libseccomp %#x\n%+v",
					e.number, e.arch, e.arguments, got, want, p.rules)
			}
			compared++
		}
	}
	if compared == 0 || mixed && refused == 0 {
		t.Errorf("%d calls compared, %d profiles refused by both", compared, refused)
	}
}
