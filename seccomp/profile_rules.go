package seccomp

import (
	"fmt"
	"slices"
	"sort"
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

// numberOf is the number of a call by its name, or none.
func numberOf(name string, table int) int32 {
	i := sort.Search(len(callTable), func(i int) bool { return callTable[i].name >= name })
	if i == len(callTable) || callTable[i].name != name {
		return none
	}
	return callTable[i].number[table]
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

// callChain holds the rules of one call: the one that always answers, or those of which the first that holds does.
type callChain struct {
	name   string
	narrow bool
	always *tableRule
	rules  places
}

// add takes a rule in. What answers always stands, whatever comes later, and before it conditions don't count.
func (c *callChain) add(r *tableRule) error {
	switch {
	case c.always != nil:
		return nil
	case len(r.tests) == 0:
		c.always = r
		return nil
	}
	if !c.rules.add(r, stepsOf(r.tests, c.narrow)) {
		return fmt.Errorf("the conditions of %s contradict: what one rule is about is answered otherwise by another", c.name)
	}
	return nil
}

func (c *callChain) list() []*tableRule {
	if c.always != nil {
		return []*tableRule{c.always}
	}
	return c.rules.ordered(nil)
}

// chains are the rules of all calls in a table, by number.
func (p *profile) chains(table int) (map[uint32]*callChain, error) {
	chains := map[uint32]*callChain{}
	add := func(name string, number int32, answer uint32, tests []comparison) error {
		if number < 0 {
			return nil
		}
		chain := chains[uint32(number)]
		if chain == nil {
			chain = &callChain{name: name, narrow: tables[table].narrow}
			chains[uint32(number)] = chain
		}
		return chain.add(&tableRule{cutAll(tests, tables[table].narrow), answer})
	}
	for _, r := range p.rules {
		if through, operation := multiplexed(r.name, table); operation != 0 {
			tests := []comparison{{0, opEQ, operation, ^uint64(0)}}
			tests = append(tests, slices.DeleteFunc(slices.Clone(r.tests), func(c comparison) bool { return c.argument == 0 })...)
			if err := add(through, numberOf(through, table), r.answer, tests); err != nil {
				return nil, err
			}
		}
		if err := add(r.name, numberOf(r.name, table), r.answer, r.tests); err != nil {
			return nil, err
		}
	}
	return chains, nil
}

// multiplexed says which call of i386 does what others have a call of their own for, and which operation of it. There a
// rule for socket is one for socketcall(1, ...) too, whose arguments are in memory.
func multiplexed(name string, table int) (through string, operation uint64) {
	if table != machineI386 {
		return "", 0
	}
	if i := slices.Index(socketOperations[:], name); i > 0 && name != "" {
		return "socketcall", uint64(i)
	}
	if i := slices.Index(ipcOperations[:], name); i > 0 && name != "" {
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
	for _, name := range p.names {
		if _, operation := multiplexed(name, table); operation == 0 {
			newest = max(newest, numberOf(name, table))
		}
	}
	return uint32(newest)
}
