package seccomp

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

func (p *profile) String() string {
	var names []string
	for _, table := range p.tables {
		names = append(names, tables[table].name)
	}
	return fmt.Sprintf("profile for %s; %d rules", strings.Join(names, ", "), len(p.rules))
}

// text lists what happens to the calls of each table: first those that are decided by their number alone.
func (p *profile) text() string {
	var text strings.Builder
	for _, table := range p.tables {
		fmt.Fprintf(&text, "\n%s\n", tables[table].name)
		chains, err := p.chains(table)
		if err != nil { // not after it has been compiled
			fmt.Fprintf(&text, "  %v\n", err)
			continue
		}
		plain, lines := map[string][]string{}, []string{}
		for _, chain := range chains {
			if chain.always {
				answer := answerName(chain.answer)
				plain[answer] = append(plain[answer], chain.name)
				continue
			}
			for _, r := range chain.list() {
				lines = append(lines, r.describe(chain.name))
			}
		}
		for _, answer := range slices.Sorted(maps.Keys(plain)) {
			slices.Sort(plain[answer])
			fmt.Fprintf(&text, "  %s: %s\n", strings.Join(plain[answer], ", "), answer)
		}
		for _, line := range lines {
			fmt.Fprintf(&text, "  %s\n", line)
		}
		if newest := p.newest(table); p.unheard(newest) {
			fmt.Fprintf(&text, "  all calls above %d, the newest that is mentioned: %s\n", newest&^x32Bit, answerName(refused(unix.ENOSYS)))
		}
	}
	fmt.Fprintf(&text, "\nall other calls: %s\nall other tables of calls: %s\n", answerName(p.fallback), answerName(unix.SECCOMP_RET_KILL_THREAD))
	return text.String()
}

// describe says what a call must look like for the rule to hold, and what happens then.
func (r *tableRule) describe(name string) string {
	tests := []string{"..."}
	for i, c := range r.tests {
		if i == 0 {
			tests = nil
		}
		tests = append(tests, c.String())
	}
	return fmt.Sprintf("%s(%s): %s", name, strings.Join(tests, ", "), answerName(r.answer))
}

func (o operator) sign() string {
	switch o {
	case opNE:
		return "!="
	case opLT:
		return "<"
	case opLE:
		return "<="
	case opGE:
		return ">="
	case opGT:
		return ">"
	}
	return "=="
}

func (c comparison) String() string {
	if c.op == opMasked {
		return fmt.Sprintf("argument %d & %#x == %#x", c.argument, c.mask, c.value)
	}
	return fmt.Sprintf("argument %d %s %d", c.argument, c.op.sign(), c.value)
}

// explain says what would happen to a call, and by which rule.
func (p *profile) explain(text string) (string, error) {
	table, name, words, err := splitCall(text, p.tables[0])
	if err != nil {
		return "", err
	}
	if !slices.Contains(p.tables, table) {
		return answerName(unix.SECCOMP_RET_KILL_THREAD) + ": the profile has no rules for " + tables[table].name, nil
	}
	number := numberOf(name, table)
	if number < 0 {
		return "", fmt.Errorf("%s has no call %s", tables[table].name, name)
	}
	if newest := p.newest(table); p.unheard(newest) && uint32(number) > newest {
		return answerName(refused(unix.ENOSYS)) + ": the call is newer than all that the profile mentions", nil
	}
	chains, err := p.chains(table)
	if err != nil {
		return "", err
	}
	arguments, err := plainArguments(name, words)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(chains, func(c *callChain) bool { return c.number == uint32(number) })
	if i < 0 {
		return answerName(p.fallback) + ": no rule is about the call", nil
	}
	return p.verdict(chains[i], arguments), nil
}

// plainArguments reads numbers, and the names of values that our own rules look at.
func plainArguments(name string, words []string) (arguments [6]argument, err error) {
	id := slices.IndexFunc(calls[:], func(c call) bool { return c.name == name })
	for i, word := range words {
		if arguments[i], err = parseArgument(callID(max(id, 0)), uint8(i), word); err != nil {
			return arguments, fmt.Errorf("argument %d: %w", i, err)
		}
	}
	return arguments, nil
}

// verdict finds the first rule that holds, and those that might before it.
func (p *profile) verdict(chain *callChain, arguments [6]argument) string {
	var open []string
	for _, r := range chain.list() {
		switch line := r.describe(chain.name); r.holds(arguments, chain.narrow) {
		case yes:
			return strings.Join(append(open, line), "\n")
		case maybe:
			open = append(open, "perhaps "+line)
		}
	}
	return strings.Join(append(open, answerName(p.fallback)+": no rule holds"), "\n")
}

func (r *tableRule) holds(arguments [6]argument, narrow bool) guess {
	result := yes
	for _, c := range r.tests {
		if a := arguments[c.argument]; a.known {
			result = min(result, truth(c.holds(a.value, narrow)))
		} else {
			result = min(result, maybe)
		}
	}
	return result
}

// holds does what the program does.
func (c comparison) holds(value uint64, narrow bool) bool {
	if narrow {
		value &= all
	}
	switch c.op {
	case opNE:
		return value != c.value
	case opLT:
		return value < c.value
	case opLE:
		return value <= c.value
	case opEQ:
		return value == c.value
	case opGE:
		return value >= c.value
	case opGT:
		return value > c.value
	}
	return value&c.mask == c.value
}
