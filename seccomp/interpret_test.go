package seccomp

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// event is what a filter sees of a call: struct seccomp_data without the instruction pointer.
type event struct {
	number    uint32
	arch      uint32
	arguments [6]uint64
}

func (e event) bytes() []byte {
	b := binary.LittleEndian.AppendUint32(nil, e.number)
	b = binary.LittleEndian.AppendUint32(b, e.arch)
	b = binary.LittleEndian.AppendUint64(b, 0)
	for _, a := range e.arguments {
		b = binary.LittleEndian.AppendUint64(b, a)
	}
	return b
}

// interpret runs a program as the kernel would; looked says whether it read an argument.
func interpret(t testing.TB, program []unix.SockFilter, e event) (answer uint32, looked bool) {
	t.Helper()
	data := e.bytes()
	var a uint32
	var memory [16]uint32
	for pc := 0; pc < len(program); pc++ {
		jump := func(yes bool, at unix.SockFilter) {
			if yes {
				pc += int(at.Jt)
			} else {
				pc += int(at.Jf)
			}
		}
		switch at := program[pc]; at.Code {
		case opLoad:
			looked = looked || at.K >= 16
			a = binary.LittleEndian.Uint32(data[at.K:])
		case opImmediate:
			a = at.K
		case opRecall:
			a = memory[at.K]
		case opStore:
			memory[at.K] = a
		case opAnd:
			a &= at.K
		case opEqual:
			jump(a == at.K, at)
		case opAtLeast:
			jump(a >= at.K, at)
		case opAbove:
			jump(a > at.K, at)
		case opSet:
			jump(a&at.K != 0, at)
		case opGoto:
			pc += int(at.K)
		case opReturn:
			return at.K, looked
		default:
			t.Fatalf("instruction %d has the unknown code %#x", pc, at.Code)
		}
	}
	t.Fatal("the program has no end")
	return 0, false
}
