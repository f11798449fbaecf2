package seccomp

import (
	"fmt"
	"slices"
	"strings"
)

// String says what the filter enforces.
func (f *Filter) String() string {
	if f.profile != nil {
		return f.profile.String()
	}
	if f.set == nil {
		return fmt.Sprintf("imported program of %d instructions", len(f.program))
	}
	return f.policy.String()
}

// Text lists the rules for reading: what a call must look like, what it is answered, and which operation that is. Of an
// imported filter only the length is known.
func (f *Filter) Text() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%v\n%d instructions\n", f, len(f.program))
	if f.profile != nil {
		return text.String() + f.profile.text()
	}
	if f.set == nil {
		return text.String()
	}
	for _, machine := range f.policy.machines(f.policy.Arch) {
		fmt.Fprintf(&text, "\n%s\n", machines[machine].name)
		for _, line := range f.set.lines(machine) {
			fmt.Fprintf(&text, "  %s\n", line)
		}
	}
	fmt.Fprintf(&text, "\nall other calls: permitted\nall other tables of calls: the process is killed (SIGSYS)\n")
	for _, missing := range f.Missing() {
		fmt.Fprintf(&text, "besides the filter: %s\n", missing)
	}
	return text.String()
}

// lines says each rule of a machine in one line, the calls in alphabetical order.
func (s *ruleSet) lines(machine int) []string {
	var lines []string
	for i := range s.rules {
		if r := &s.rules[i]; calls[r.call].number[machine] >= 0 {
			lines = append(lines, fmt.Sprintf("%s: %s [%v]", s.describe(r), answerName(r.answer), r.op))
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// describe says what a call must look like for a rule to hold.
func (s *ruleSet) describe(r *rule) string {
	var tests []string
	for _, test := range r.fds[:r.fdCount] {
		tests = append(tests, argumentName(r.call, test.argument)+" "+s.numbers(test.classes))
	}
	for _, v := range r.values {
		tests = append(tests, describeValue(r.call, v))
	}
	if len(tests) == 0 {
		tests = []string{"..."}
	}
	return fmt.Sprintf("%s(%s)", calls[r.call].name, strings.Join(tests, ", "))
}

// numbers lists the numbers of classes as ranges.
func (s *ruleSet) numbers(classes uint32) string {
	prefix := ""
	if classes&1 != 0 {
		prefix, classes = "none of ", ^classes
	}
	var list []string
	for _, r := range s.ranges(classes) {
		if r.lo == r.hi {
			list = append(list, fmt.Sprint(r.lo))
		} else {
			list = append(list, fmt.Sprintf("%d-%d", r.lo, r.hi))
		}
	}
	if len(list) == 0 {
		return "any"
	}
	return prefix + strings.Join(list, ",")
}

// ranges are the numbers of classes in ascending order; class 0 must not be among them.
func (s *ruleSet) ranges(classes uint32) []span {
	var list []span
	for _, next := range s.spans {
		last := len(list) - 1
		switch {
		case classes&(1<<next.class) == 0:
		case last >= 0 && list[last].hi+1 == next.lo:
			list[last].hi = next.hi
		default:
			list = append(list, next)
		}
	}
	return list
}

func describeValue(id callID, v value) string {
	name := argumentName(id, v.argument)
	if v.mask != all {
		name += fmt.Sprintf(" & %#x", v.mask)
	}
	values := make([]string, len(v.set))
	for i, x := range v.set {
		values[i] = valueName(id, v.argument, x)
		if x == all {
			values[i] = "-1"
		}
	}
	if v.not {
		return fmt.Sprintf("%s not %s", name, strings.Join(values, "|"))
	}
	return fmt.Sprintf("%s %s", name, strings.Join(values, "|"))
}

// Missing lists what no export of the program carries.
func (f *Filter) Missing() []string {
	switch f.domain {
	case stealDomain:
		return []string{"a Landlock domain, which keeps the command from driving processes outside through /proc/PID/mem"}
	case socketDomain:
		return []string{
			"a Landlock domain, which keeps the command from driving processes outside through /proc/PID/mem, " +
				"and from UNIX sockets outside",
		}
	}
	return nil
}
