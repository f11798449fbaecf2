package seccomp

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// guess is a truth that may be unknown, because an argument isn't given.
type guess uint8

const (
	no guess = iota
	maybe
	yes
)

// argument is a value that may be unknown.
type argument struct {
	value uint64
	known bool
}

// Explain says what would happen to a call, and by which rule. The call is written as in C: "fcntl(1, F_SETFL)". Numbers and
// the names of the values that rules look at are understood, several joined by "|"; "?" or a missing argument is any.
// The name of a table in front ("i386:", "x32:", "arm:") asks for a call through it.
func (f *Filter) Explain(call string) (string, error) {
	if f.set == nil && f.profile == nil {
		return "", errors.New("seccomp: explain: an imported program has no rules to explain")
	}
	text, err := f.explain(call)
	if err != nil {
		return "", fmt.Errorf("seccomp: explain %q: %w", call, err)
	}
	return text, nil
}

func (f *Filter) explain(text string) (string, error) {
	if f.profile != nil {
		return f.profile.explain(text)
	}
	machine, name, words, err := splitCall(text, f.policy.machines(f.policy.Arch)[0])
	if err != nil {
		return "", err
	}
	if !slices.Contains(f.policy.machines(f.policy.Arch), machine) {
		return answerName(unix.SECCOMP_RET_KILL_PROCESS) + ": the filter has no rules for " + tables[machine].name, nil
	}
	id := slices.IndexFunc(calls[:], func(c call) bool { return c.name == name })
	if id < 0 {
		return fmt.Sprintf("%s: no rule names %s", answerName(unix.SECCOMP_RET_ALLOW), name), nil
	}
	if calls[id].number[machine] < 0 {
		return "", fmt.Errorf("%s has no call %s", machines[machine].name, name)
	}
	list := f.set.rulesFor(callID(id))
	arguments, err := parseArguments(callID(id), words, list)
	if err != nil {
		return "", err
	}
	return f.set.verdict(list, arguments, machine), nil
}

// rulesFor lists the rules of a call, the strictest first.
func (s *ruleSet) rulesFor(id callID) []*rule {
	var list []*rule
	for i := range s.rules {
		if r := &s.rules[i]; r.call == id {
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, strictestFirst)
	return list
}

// verdict finds the first rule that holds, and those that might before it.
func (s *ruleSet) verdict(list []*rule, arguments [6]argument, machine int) string {
	var open []string
	for _, r := range list {
		switch s.holds(r, arguments, machine) {
		case yes:
			return strings.Join(append(open, s.reason(r)), "\n")
		case maybe:
			open = append(open, "perhaps "+s.reason(r))
		}
	}
	if len(list) == 0 {
		return "permitted: no rule names the call"
	}
	return strings.Join(append(open, "permitted: no rule refuses it"), "\n")
}

func (s *ruleSet) reason(r *rule) string {
	return fmt.Sprintf("%s: %s [%v]", answerName(r.answer), s.describe(r), r.op)
}

// holds tests a rule on arguments that may be unknown.
func (s *ruleSet) holds(r *rule, arguments [6]argument, machine int) guess {
	result := yes
	for _, test := range r.fds[:r.fdCount] {
		result = min(result, s.fdHolds(test, arguments[test.argument]))
	}
	for _, v := range r.values {
		if !v.narrow || machines[machine].narrow {
			result = min(result, v.holds(arguments[v.argument], isWide(r.call, v.argument, machine)))
		}
	}
	return result
}

func (s *ruleSet) fdHolds(test fdTest, a argument) guess {
	if !a.known {
		return maybe
	}
	return truth(test.classes&(1<<s.class(uint32(a.value))) != 0)
}

func (s *ruleSet) class(number uint32) int {
	for _, next := range s.spans {
		if next.lo <= number && number <= next.hi {
			return next.class
		}
	}
	return 0
}

func (v value) holds(a argument, wide bool) guess {
	if !a.known {
		return maybe
	}
	if wide {
		return truth((a.value == uint64(v.set[0])<<32|uint64(v.set[0])) != v.not)
	}
	return truth(slices.Contains(v.set, uint32(a.value)&v.mask) != v.not)
}

func truth(b bool) guess {
	if b {
		return yes
	}
	return no
}

// splitCall takes "machine:name(word, word)" apart.
func splitCall(text string, native int) (machine int, name string, words []string, err error) {
	machine, rest := native, strings.TrimSpace(text)
	if table, after, found := strings.Cut(rest, ":"); found {
		machine = slices.IndexFunc(tables[:], func(t callsTable) bool { return t.name == table })
		if machine < 0 {
			return 0, "", nil, fmt.Errorf("there is no table %q", table)
		}
		rest = after
	}
	name, rest, found := strings.Cut(rest, "(")
	inner, closed := strings.CutSuffix(strings.TrimSpace(rest), ")")
	if !found || !closed || !isName(name) {
		return 0, "", nil, errors.New("write a call, like fcntl(1, F_SETFL)")
	}
	if strings.TrimSpace(inner) != "" {
		words = strings.Split(inner, ",")
	}
	if len(words) > 6 {
		return 0, "", nil, errors.New("a call has six arguments at most")
	}
	return machine, name, words, nil
}

func isName(name string) bool {
	outside := func(c rune) bool {
		return c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z')
	}
	return name != "" && strings.IndexFunc(name, outside) < 0
}

func parseArguments(id callID, words []string, list []*rule) (arguments [6]argument, err error) {
	for i, word := range words {
		arguments[i], err = parseArgument(id, uint8(i), word)
		if err != nil && looked(list, uint8(i)) { // else it is an address, or a value that makes no difference
			return arguments, fmt.Errorf("%s: %w", argumentName(id, uint8(i)), err)
		}
	}
	return arguments, nil
}

func parseArgument(id callID, index uint8, word string) (argument, error) {
	if word = strings.TrimSpace(word); word == "?" {
		return argument{}, nil
	}
	var value uint64
	for _, part := range strings.Split(word, "|") {
		v, err := parseValue(id, index, strings.TrimSpace(part))
		if err != nil {
			return argument{}, err
		}
		value |= v
	}
	return argument{value, true}, nil
}

func looked(list []*rule, index uint8) bool {
	return slices.ContainsFunc(list, func(r *rule) bool {
		return r.looksAt(int(index)) || slices.ContainsFunc(r.values, func(v value) bool { return v.argument == index })
	})
}

func parseValue(id callID, index uint8, word string) (uint64, error) {
	for _, c := range constantsOf(id, index) {
		if c.name == word {
			return uint64(c.value), nil
		}
	}
	if word == "NULL" {
		return 0, nil
	}
	if v, err := strconv.ParseUint(word, 0, 64); err == nil {
		return v, nil
	}
	if v, err := strconv.ParseInt(word, 0, 64); err == nil {
		return uint64(v), nil
	}
	return 0, fmt.Errorf("%q is no number and no name for it", word)
}
