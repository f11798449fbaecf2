package seccomp_test

import (
	"encoding/binary"
	"testing"

	"github.com/safeexec/safeexec/seccomp"
	"golang.org/x/net/bpf"
)

// machine is a table of calls as seccomp tells them apart.
type machine struct {
	name   string
	column int // in the table of numbers
	audit  uint32
	bits   int
	arch   seccomp.Arch
	abi    seccomp.ABI
}

var machines = []machine{
	{"x86_64", 0, 0xc000003e, 64, seccomp.AMD64, seccomp.ABINative},
	{"x86_64 beside i386", 0, 0xc000003e, 64, seccomp.AMD64, seccomp.ABICompat},
	{"i386", 1, 0x40000003, 32, seccomp.AMD64, seccomp.ABICompat},
	{"aarch64", 2, 0xc00000b7, 64, seccomp.ARM64, seccomp.ABINative},
	{"aarch64 beside arm", 2, 0xc00000b7, 64, seccomp.ARM64, seccomp.ABICompat},
	{"arm", 3, 0x40000028, 32, seccomp.ARM64, seccomp.ABICompat},
}

// judge runs a filter on an interpreter that isn't ours.
type judge struct {
	t  *testing.T
	vm *bpf.VM
}

func newJudge(t *testing.T, p seccomp.Policy) judge {
	t.Helper()
	f, err := seccomp.Compile(p)
	if err != nil {
		t.Fatalf("%v: %v", p, err)
	}
	var program []bpf.Instruction
	for _, at := range f.Instructions() {
		program = append(program, bpf.RawInstruction{Op: at.Code, Jt: at.Jt, Jf: at.Jf, K: at.K}.Disassemble())
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatalf("%v: %v", p, err)
	}
	return judge{t, vm}
}

// answer runs the filter on a call. The interpreter loads big-endian, so each word is written that way.
func (j judge) answer(audit, number uint32, args [6]uint64) uint32 {
	j.t.Helper()
	data := binary.BigEndian.AppendUint32(nil, number)
	data = binary.BigEndian.AppendUint32(data, audit)
	data = binary.BigEndian.AppendUint64(data, 0)
	for _, a := range args {
		data = binary.BigEndian.AppendUint32(data, uint32(a))
		data = binary.BigEndian.AppendUint32(data, uint32(a>>32))
	}
	answer, err := j.vm.Run(data)
	if err != nil {
		j.t.Fatal(err)
	}
	return uint32(answer)
}
