package seccomp

import (
	"math/rand/v2"
	"slices"

	"golang.org/x/sys/unix"
)

var randomNames = []string{"read", "clone", "socket", "semget", "personality", "openat", "fadvise64"}

// randomWords are what numbers are put together of.
var randomWords = []uint32{0, 1, 2, 5, 7, 0x80000000, all}

func randomNumber(r *rand.Rand) uint64 {
	low := uint64(randomWords[r.IntN(len(randomWords))])
	if r.IntN(3) > 0 {
		return low
	}
	return uint64(randomWords[r.IntN(len(randomWords))])<<32 | low
}

var randomTables = [][]int{
	{machineX86_64},
	{machineX86_64, machineI386},
	{machineX86_64, tableX32},
	{machineX86_64, tableX32, machineI386},
	{machineAArch64, machineARM},
}

var randomAnswers = []uint32{refused(unix.EPERM), refused(unix.EACCES), unix.SECCOMP_RET_KILL_PROCESS}

// randomProfile has one rule with up to three conditions, or several with one each; mixed ones have several answers.
func randomProfile(r *rand.Rand, mixed bool) *profile {
	p := &profile{fallback: unix.SECCOMP_RET_ALLOW, tables: randomTables[r.IntN(len(randomTables))]}
	row, answer := rowOf(randomNames[r.IntN(len(randomNames))]), randomAnswers[0]
	if r.IntN(4) == 0 {
		p.rules = append(p.rules, profileRule{row, answer, randomTests(r, false, false)})
		return p
	}
	for count := 1 + r.IntN(5); len(p.rules) < count; {
		if mixed {
			answer = randomAnswers[r.IntN(len(randomAnswers))]
		}
		tests := randomTests(r, count > 1, mixed)
		if len(tests) > 0 || r.IntN(4) == 0 {
			p.rules = append(p.rules, profileRule{row, answer, tests[:min(1, len(tests))]})
		}
	}
	return p
}

var randomOperators = []operator{opNE, opLT, opLE, opEQ, opGE, opGT, opMasked}

// randomTests makes up to three tests; values below 2^32 in those for an order, or in all.
func randomTests(r *rand.Rand, smallOrder, small bool) []comparison {
	var tests []comparison
	for argument := range uint8(3) {
		c := comparison{argument, randomOperators[r.IntN(len(randomOperators))], randomNumber(r), ^uint64(0)}
		ordering := c.op != opMasked && c.op != opEQ && c.op != opNE
		if small || ordering && smallOrder {
			c.value &= all
		}
		if c.op == opMasked {
			c.mask = randomNumber(r)
		}
		if r.IntN(2) == 0 {
			tests = append(tests, c)
		}
	}
	return tests
}

// randomProfileCall is a call that comes near to the rules, more often than not; a small one has arguments below 2^32.
func randomProfileCall(r *rand.Rand, p *profile, small bool) event {
	table := p.tables[r.IntN(len(p.tables))]
	names := append(slices.Clone(randomNames), "socketcall", "ipc")
	if len(p.rules) > 0 && r.IntN(4) > 0 {
		names = []string{callTable[p.rules[0].row].name}
		if through, operation := multiplexed(p.rules[0].row, table); operation != 0 {
			names = append(names, through)
		}
	}
	e := event{arch: tables[table].audit, number: uint32(numberOf(names[r.IntN(len(names))], table))}
	if r.IntN(50) == 0 {
		e.number = []uint32{x32Bit, x32Bit | 5, all, all - 1}[r.IntN(4)]
	}
	for i := range e.arguments {
		e.arguments[i] = randomNumber(r) + uint64(r.IntN(3)) - 1
		for _, rule := range p.rules {
			for _, c := range rule.tests {
				if int(c.argument) == i && r.IntN(3) == 0 {
					e.arguments[i] = c.value + uint64(r.IntN(3)) - 1
				}
			}
		}
		if small {
			e.arguments[i] &= all
		}
	}
	return e
}
