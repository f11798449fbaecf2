package spawn

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/notify"
	"github.com/safeexec/safeexec/ofd"
	"github.com/safeexec/safeexec/seccomp"
)

// A guarded is one of the command's descriptors that a guard has to decide about.
type guarded struct {
	entry  int // its place in the table
	number int
	fd     int // the caller's; after settle perhaps a private one
	facts  facts
	group  int    // descriptors of one description have the same
	why    string // why it stays shared
}

func guardedEntry(i int, e *entry) guarded { return guarded{entry: i, number: e.number, fd: e.fd} }

// A settlement is what a guard takes, beside private descriptions.
type settlement struct {
	filter  *seccomp.Filter // nil when the guard only learns
	asking  *seccomp.Filter // nil unless something is guarded by description
	watched []notify.Description
}

// settle decides what each descriptor gets: private where that can be had, else a rule of the filters that it returns.
func (g *Guard) settle(all []guarded, reopen func(fd int) (int, error)) (s settlement, err error) {
	slices.SortFunc(all, func(a, b guarded) int { return cmp.Compare(a.number, b.number) })
	if err := look(all); err != nil && !g.Learn {
		return s, err
	}
	group(all)
	if err := g.reopen(all, reopen); err != nil {
		return s, err
	}
	privileged, err := isPrivileged()
	if err != nil {
		return s, err
	}
	rules := g.rules(all)
	policy := g.policy(rules, privileged)
	if !g.Learn {
		if s.filter, err = seccomp.Compile(policy); err != nil {
			return s, err
		}
	}
	if g.ByDescription {
		s.asking, err = seccomp.CompileAsking(policy)
		s.watched = watched(all, rules)
	}
	return s, err
}

// watched are the descriptions of what has a rule.
func watched(all []guarded, rules []seccomp.Descriptor) (list []notify.Description) {
	for _, rule := range rules {
		if rule.Guard == 0 {
			continue
		}
		i := slices.IndexFunc(all, func(d guarded) bool { return d.number == rule.Number })
		list = append(list, notify.Description{
			FD: all[i].fd, Number: rule.Number, Operations: rule.Guard, Advisory: rule.Advisory,
		})
	}
	return list
}

// look finds out what the descriptors refer to. The error is about the first that a guard can't hold.
func look(all []guarded) error {
	fds := make([]int, len(all))
	for i := range all {
		fds[i] = all[i].fd
	}
	descriptors, errs := fdtable.InspectEach(fds)
	var first error
	for i := range all {
		if err := all[i].take(&descriptors[i], errs[i]); first == nil {
			first = err
		}
	}
	return first
}

// take notes what was found out, and refuses what a guard can't hold.
func (d *guarded) take(what *fdtable.Descriptor, err error) error {
	if err != nil && !errors.Is(err, fdtable.ErrNoProc) {
		return &descriptorError{d.number, err}
	}
	d.facts = facts{kind: what.Kind, flags: what.Flags, socket: what.Socket}
	for _, lock := range what.Locks {
		d.facts.locked = d.facts.locked || lock.OnDescription()
	}
	if err != nil && d.facts.kind == fdtable.KindCharDevice {
		d.facts.kind = fdtable.KindUnknown // it may be a binder: only /proc knows the drivers' names
	}
	switch {
	case d.facts.kind == fdtable.KindUnknown:
		return &descriptorError{d.number, fmt.Errorf("what it is can't be seen without /proc, and a guard can't hold everything: %w", unix.EPERM)}
	case d.facts.unguardable():
		return &descriptorError{d.number, fmt.Errorf("a guard can't hold %s: %w", article(d.facts.kind), unix.EPERM)}
	}
	return nil
}

// group numbers descriptions.
func group(all []guarded) {
	for i := range all {
		all[i].group = i
		for j := range i {
			if all[j].group == j && same(all[i].fd, all[j].fd) {
				all[i].group = j
				break
			}
		}
	}
}

// reopen gives each group a private description where the command can't tell, and notes for the others why not.
func (g *Guard) reopen(all []guarded, reopen func(fd int) (int, error)) error {
	for i := range all {
		if all[i].group != i {
			continue
		}
		fd, why := all[i].fd, all[i].facts.whyShared()
		if why == "" && (g.KeepShared || g.Learn) {
			why = "reopening is turned off"
		}
		if why == "" {
			private, err := reopen(fd)
			var refusal *ofd.Refusal
			switch {
			case errors.As(err, &refusal):
				why = refusalText(refusal)
			case err != nil:
				return &descriptorError{all[i].number, err}
			default:
				fd = private
			}
		}
		for j := i; j < len(all); j++ {
			if all[j].group == i {
				all[j].fd, all[j].why = fd, why
			}
		}
	}
	return nil
}

func refusalText(r *ofd.Refusal) string {
	if r.Err != nil {
		return fmt.Sprintf("%v: %v", r.Reason, r.Err)
	}
	return r.Reason.Error()
}

// rules are for what stays shared.
func (g *Guard) rules(all []guarded) []seccomp.Descriptor {
	strict := map[int]bool{} // groups that are guarded under a number above 2
	for _, d := range all {
		if d.why != "" && d.number > 2 {
			strict[d.group] = true
		}
	}
	var rules []seccomp.Descriptor
	for _, d := range all {
		gets := "private (" + article(d.facts.kind) + ", opened again)"
		if d.why != "" {
			var rule seccomp.Descriptor
			rule, gets = g.rule(d.number, d.facts, strict[d.group])
			rules = append(rules, rule)
			if d.number <= 2 && strict[d.group] {
				d.why += ", and it is guarded under a higher number too"
			}
			gets += " (" + d.why + ")"
		}
		if g.Explain != nil {
			g.Explain(d.number, gets)
		}
	}
	return rules
}

// isPrivileged reports whether the command could mount in the first user namespace. Where /proc doesn't tell which namespace
// this is, it counts as the first.
func isPrivileged() (bool, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false, fmt.Errorf("read the capabilities: %w", err)
	}
	if data[0].Permitted&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return false, nil
	}
	return mapsAll(), nil
}

// mapsAll reports whether this user namespace maps everything to itself, as the first one does. The file is read without
// package os, which would start Go's poller for it.
func mapsAll() bool {
	fd, err := unix.Open("/proc/self/uid_map", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	var text [64]byte // of one line; where there are more, not all of it can be
	n, err := unix.Read(fd, text[:])
	return err != nil || strings.Join(strings.Fields(string(text[:n])), " ") == "0 0 4294967295"
}

// A descriptorError is about one of the command's descriptors.
type descriptorError struct {
	number int
	err    error
}

func (e *descriptorError) Error() string { return fmt.Sprintf("descriptor %d: %v", e.number, e.err) }

func (e *descriptorError) Unwrap() error { return e.err }

func article(k fdtable.Kind) string {
	if strings.ContainsRune("aeiou", rune(k[0])) {
		return "an " + k.Words()
	}
	return "a " + k.Words()
}
