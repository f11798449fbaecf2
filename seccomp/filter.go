package seccomp

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Filter is a program for the kernel's seccomp, and the Landlock domain that belongs to it. It never changes: any number
// of goroutines may use it for any number of processes.
type Filter struct {
	program []unix.SockFilter
	domain  domain
	policy  Policy
	set     *ruleSet // nil when the filter was imported, or made of a profile
	profile *profile // nil when it wasn't made of one
}

// Compile makes a filter of a policy. What can't be held is an error, never a weaker filter.
func Compile(p Policy) (*Filter, error) {
	filter, err := compile(p)
	if err != nil {
		return nil, fmt.Errorf("seccomp: compile: %w", err)
	}
	return filter, nil
}

func compile(p Policy) (*Filter, error) {
	kept, err := p.settle()
	if err != nil {
		return nil, err
	}
	set, err := p.rules(kept)
	if err != nil {
		return nil, err
	}
	program, err := set.compile(p.machines(p.Arch))
	if err != nil {
		return nil, err
	}
	return &Filter{program: program, domain: p.domain(kept), policy: p, set: set}, nil
}

// settle refuses what no filter can hold, and fills in the machine.
func (p *Policy) settle() (kept []Descriptor, err error) {
	kept = p.descriptors()
	if err := p.check(kept); err != nil {
		return nil, err
	}
	p.Arch, err = p.Arch.resolve()
	return kept, err
}

// CompileAsking makes the filter that asks a supervisor (seccomp_unotify(2)) about what a policy holds by description; it is
// nil when nothing is held so. It belongs beside the one that Compile makes of the same policy: that has all the rest.
func CompileAsking(p Policy) (*Filter, error) {
	filter, err := compileAsking(p)
	if err != nil {
		return nil, fmt.Errorf("seccomp: compile: %w", err)
	}
	return filter, nil
}

func compileAsking(p Policy) (*Filter, error) {
	kept, err := p.settle()
	if err != nil {
		return nil, err
	}
	set := p.asking(kept)
	if len(set.rules) == 0 || !p.ByDescription {
		return nil, nil
	}
	program, err := set.compile(p.machines(p.Arch))
	if err != nil {
		return nil, err
	}
	return &Filter{program: program, policy: p, set: set}, nil
}

// Instructions returns a copy of the program, for code that loads it itself. The order there: PR_SET_NO_NEW_PRIVS, then
// landlock_restrict_self with the descriptor from Ruleset, then seccomp(SECCOMP_SET_MODE_FILTER) with the Flags.
func (f *Filter) Instructions() []unix.SockFilter { return slices.Clone(f.program) }

// Flags returns the flags that seccomp(2) loads the program with: SECCOMP_FILTER_FLAG_SPEC_ALLOW, which keeps kernels before
// 5.16 from slowing the command down, unless a profile says otherwise.
func (f *Filter) Flags() uint32 {
	if f.profile == nil {
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	}
	return f.profile.flags
}
