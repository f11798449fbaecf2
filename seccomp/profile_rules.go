package seccomp

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

//go:generate go run ../internal/gencalls -o profile_table.go

// namedCall is a row of the table of all calls.
type namedCall struct {
	name   string
	number [tableCount]int32 // none where a table hasn't got it
}

// The tables of calls that a profile may have rules for: those of our own rules, and one more.
const (
	tableX32   = machineCount
	tableCount = machineCount + 1
)

// callsTable is what a filter must know of a table of calls.
type callsTable struct {
	machineTable
	arch Arch
	oci  string
}

var tables = [tableCount]callsTable{
	machineX86_64:  {machines[machineX86_64], AMD64, ociArchitectures[machineX86_64]},
	machineI386:    {machines[machineI386], AMD64, ociArchitectures[machineI386]},
	machineAArch64: {machines[machineAArch64], ARM64, ociArchitectures[machineAArch64]},
	machineARM:     {machines[machineARM], ARM64, ociArchitectures[machineARM]},
	tableX32:       {machineTable{"x32", machines[machineX86_64].audit, true, true}, AMD64, "SCMP_ARCH_X32"},
}

// x32Bit marks the number of a call of x32, which shares the audit value with x86_64.
const x32Bit = 0x40000000

// rowOf finds a call in callTable by its name, or none.
func rowOf(name string) int {
	row, found := slices.BinarySearchFunc(callTable[:], name, func(c namedCall, name string) int { return strings.Compare(c.name, name) })
	if !found {
		return none
	}
	return row
}

// numberOf is the number of a call by its name, or none.
func numberOf(name string, table int) int32 {
	row := rowOf(name)
	if row == none {
		return none
	}
	return callTable[row].number[table]
}

// operator is how a profile compares; masked, all that counts is what the mask leaves.
type operator string

const (
	opNE     operator = "SCMP_CMP_NE"
	opLT     operator = "SCMP_CMP_LT"
	opLE     operator = "SCMP_CMP_LE"
	opEQ     operator = "SCMP_CMP_EQ"
	opGE     operator = "SCMP_CMP_GE"
	opGT     operator = "SCMP_CMP_GT"
	opMasked operator = "SCMP_CMP_MASKED_EQ"
)

// comparison tests one argument.
type comparison struct {
	argument    uint8
	op          operator
	value, mask uint64 // the mask is all ones but for opMasked
}

// cut fits a comparison to a table: a narrow one has the low halves only, and what the mask leaves out counts nowhere.
func (c comparison) cut(narrow bool) comparison {
	if narrow {
		c.mask &= all
	}
	c.value &= c.mask
	return c
}

func cutAll(tests []comparison, narrow bool) []comparison {
	list := make([]comparison, 0, len(tests))
	for _, c := range tests {
		if c = c.cut(narrow); c.mask != 0 {
			list = append(list, c)
		}
	}
	return list
}

// tableRule is a rule in one table.
type tableRule struct {
	tests  []comparison
	answer uint32
}

// callChain holds the rules of one call: what always is the answer, or the rules of which the first that holds has it.
type callChain struct {
	name   string
	number uint32
	narrow bool
	always bool
	answer uint32
	rules  places
}

// add takes a rule in. What answers always stands, whatever comes later, and conditions don't count beside it.
func (c *callChain) add(tests []comparison, answer uint32) error {
	switch tests = cutAll(tests, c.narrow); {
	case c.always:
	case len(tests) == 0:
		c.always, c.answer, c.rules = true, answer, places{}
	case !c.rules.add(&tableRule{tests, answer}, stepsOf(tests, c.narrow)):
		return fmt.Errorf("the conditions of %s contradict: what one rule is about is answered otherwise by another", c.name)
	}
	return nil
}

func (c *callChain) list() []*tableRule {
	if c.always {
		return []*tableRule{{answer: c.answer}}
	}
	return c.rules.ordered(nil)
}

// chains are the rules of all calls in a table, by number.
func (p *profile) chains(table int) ([]*callChain, error) {
	chains := make([]*callChain, len(callTable))
	add := func(row int, tests []comparison, answer uint32) error {
		number := callTable[row].number[table]
		if number == none {
			return nil
		}
		if chains[row] == nil {
			chains[row] = &callChain{name: callTable[row].name, number: uint32(number), narrow: tables[table].narrow}
		}
		return chains[row].add(tests, answer)
	}
	for _, r := range p.rules {
		if through, operation := multiplexed(r.row, table); operation != 0 {
			tests := []comparison{{0, opEQ, operation, ^uint64(0)}}
			tests = append(tests, slices.DeleteFunc(slices.Clone(r.tests), func(c comparison) bool { return c.argument == 0 })...)
			if err := add(rowOf(through), tests, r.answer); err != nil {
				return nil, err
			}
		}
		if err := add(r.row, r.tests, r.answer); err != nil {
			return nil, err
		}
	}
	chains = slices.DeleteFunc(chains, func(c *callChain) bool { return c == nil })
	slices.SortFunc(chains, func(a, b *callChain) int { return cmp.Compare(a.number, b.number) })
	return chains, nil
}

// multiplexed says which call of i386 does what others have a call of their own for, and which operation of it. There a
// rule for socket is one for socketcall(1, ...) too, whose arguments are in memory.
func multiplexed(row, table int) (through string, operation uint64) {
	if table != machineI386 {
		return "", 0
	}
	name := callTable[row].name
	if i := slices.Index(socketOperations[:], name); i > 0 {
		return "socketcall", uint64(i)
	}
	if i := slices.Index(ipcOperations[:], name); i > 0 {
		return "ipc", uint64(i)
	}
	return "", 0
}

// The operations by their numbers (linux/net.h, linux/ipc.h).
var (
	socketOperations = [...]string{
		"", "socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send", "recv", "sendto",
		"recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg", "sendmmsg",
	}
	ipcOperations = [...]string{
		1: "semop", 2: "semget", 3: "semctl", 4: "semtimedop", 11: "msgsnd", 12: "msgrcv", 13: "msgget", 14: "msgctl",
		21: "shmat", 22: "shmdt", 23: "shmget", 24: "shmctl",
	}
)

// newest is the highest number of a call that the profile mentions, 0 for none. What i386 multiplexes doesn't count.
func (p *profile) newest(table int) uint32 {
	var newest int32
	for _, row := range p.mentioned {
		if number := callTable[row].number[table]; number > newest {
			if _, operation := multiplexed(row, table); operation == 0 {
				newest = number
			}
		}
	}
	return uint32(newest)
}
