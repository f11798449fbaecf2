package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// rawSize is the size of struct sock_filter.
const rawSize = 8

// Raw returns the program as an array of struct sock_filter, which is what bwrap --seccomp and setpriv --seccomp-filter
// read. It carries no Landlock domain.
func (f *Filter) Raw() []byte {
	raw := make([]byte, 0, len(f.program)*rawSize)
	for _, at := range f.program {
		raw = binary.NativeEndian.AppendUint16(raw, at.Code)
		raw = append(raw, at.Jt, at.Jf)
		raw = binary.NativeEndian.AppendUint32(raw, at.K)
	}
	return raw
}

// Import reads a program as Raw writes it. It accepts what the kernel accepts, except a program that notifies a
// supervisor: there is none, so the calls would wait for ever. The filter has no Landlock domain.
func Import(raw []byte) (*Filter, error) {
	if len(raw)%rawSize != 0 {
		return nil, fmt.Errorf("seccomp: import: %d bytes are no whole number of instructions of %d bytes: %w",
			len(raw), rawSize, unix.EINVAL)
	}
	if n := len(raw) / rawSize; n == 0 || n > maxInstructions {
		return nil, fmt.Errorf("seccomp: import: %d instructions, of which the kernel takes 1 to %d: %w",
			n, maxInstructions, unix.EINVAL)
	}
	program := decode(raw)
	if err := check(program); err != nil {
		return nil, fmt.Errorf("seccomp: import: %w: %w", err, unix.EINVAL)
	}
	return &Filter{program: program}, nil
}

func decode(raw []byte) []unix.SockFilter {
	program := make([]unix.SockFilter, 0, len(raw)/rawSize)
	for ; len(raw) > 0; raw = raw[rawSize:] {
		program = append(program, unix.SockFilter{
			Code: binary.NativeEndian.Uint16(raw), Jt: raw[2], Jf: raw[3], K: binary.NativeEndian.Uint32(raw[4:]),
		})
	}
	return program
}

// check applies the kernel's rules for seccomp programs, and ours about notification.
func check(program []unix.SockFilter) error {
	for i := range program {
		if err := checkInstruction(program, i); err != nil {
			return fmt.Errorf("instruction %d: %w", i, err)
		}
	}
	if program[len(program)-1].Code != opReturn {
		return errors.New("the program doesn't end with a return")
	}
	return checkMemory(program)
}

const (
	opReturnA = unix.BPF_RET | unix.BPF_A
	jump      = unix.BPF_JMP
	alu       = unix.BPF_ALU
	load      = unix.BPF_LD
	loadX     = unix.BPF_LDX

	dataSize    = 64 // of struct seccomp_data
	memoryWords = 16
)

func checkInstruction(program []unix.SockFilter, i int) error {
	at := program[i]
	left := uint32(len(program) - i - 1)
	switch at.Code {
	case opLoad:
		if at.K%4 != 0 || at.K >= dataSize {
			return fmt.Errorf("a load from %d, outside the words of the call's data", at.K)
		}
	case load | unix.BPF_W | unix.BPF_LEN, loadX | unix.BPF_W | unix.BPF_LEN, opImmediate, loadX | unix.BPF_IMM:
	case opRecall, loadX | unix.BPF_MEM, opStore, unix.BPF_STX:
		if at.K >= memoryWords {
			return fmt.Errorf("memory word %d of %d", at.K, memoryWords)
		}
	case unix.BPF_MISC | unix.BPF_TAX, unix.BPF_MISC | unix.BPF_TXA, alu | unix.BPF_NEG:
	case opGoto:
		if at.K >= left {
			return fmt.Errorf("a jump out of the program")
		}
	case opReturn:
		if at.K&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_USER_NOTIF {
			return fmt.Errorf("it notifies a supervisor, and there is none")
		}
	case opReturnA:
		return fmt.Errorf("it returns a computed answer, which may notify a supervisor, and there is none")
	default:
		return checkOperator(at, left)
	}
	return nil
}

// checkOperator checks the families that have a constant and a register form.
func checkOperator(at unix.SockFilter, left uint32) error {
	constant := at.Code&unix.BPF_X == 0
	switch at.Code &^ unix.BPF_X {
	case alu | unix.BPF_ADD, alu | unix.BPF_SUB, alu | unix.BPF_MUL, alu | unix.BPF_AND, alu | unix.BPF_OR, alu | unix.BPF_XOR:
	case alu | unix.BPF_DIV:
		if constant && at.K == 0 {
			return errors.New("a division by zero")
		}
	case alu | unix.BPF_LSH, alu | unix.BPF_RSH:
		if constant && at.K >= 32 {
			return fmt.Errorf("a shift by %d bits", at.K)
		}
	case opEqual, opAtLeast, opAbove, opSet:
		if uint32(at.Jt) >= left || uint32(at.Jf) >= left {
			return errors.New("a jump out of the program")
		}
	default:
		return fmt.Errorf("seccomp permits no code %#x", at.Code)
	}
	return nil
}

// checkMemory refuses a read of memory that wasn't written on every way to it. Jumps only go forward, so one pass will do.
func checkMemory(program []unix.SockFilter) error {
	written := make([]uint16, len(program)) // on every way to the instruction
	for i := range written {
		written[i] = all & 0xffff
	}
	written[0] = 0
	for i, at := range program {
		now := written[i]
		switch at.Code {
		case opStore, unix.BPF_STX:
			now |= 1 << at.K
		case opRecall, loadX | unix.BPF_MEM:
			if now&(1<<at.K) == 0 {
				return fmt.Errorf("instruction %d: memory word %d is read before it is written", i, at.K)
			}
		}
		for _, next := range successors(i, at) {
			if next < len(program) {
				written[next] &= now
			}
		}
	}
	return nil
}

func successors(i int, at unix.SockFilter) []int {
	switch {
	case at.Code == opGoto:
		return []int{i + 1 + int(at.K)}
	case at.Code&7 == jump:
		return []int{i + 1 + int(at.Jt), i + 1 + int(at.Jf)}
	case at.Code&7 == unix.BPF_RET:
		return nil
	}
	return []int{i + 1}
}
