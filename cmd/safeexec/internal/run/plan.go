package run

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/ofd"
	"github.com/safeexec/safeexec/spawn"
)

// A table is the plan for the command's descriptors: for each number where it comes from, and which option says so.
type table struct {
	entries []entry
	all     bool // and everything inherited that isn't named
}

type entry struct {
	from, to int // from is spawn.DevNull for /dev/null
	option   string
	private  bool
	relayed  bool
	writing  ofd.Writing
}

// plan reads the options that say what the command gets. Nothing is opened or closed here.
func (o *Options) plan(command []string, env environment) (*table, error) {
	t := &table{}
	for _, item := range o.keep.items {
		if err := t.keep(item); err != nil {
			return nil, err
		}
	}
	for _, item := range o.private.items {
		if err := t.makePrivate(item); err != nil {
			return nil, err
		}
	}
	for _, item := range o.relay.items {
		if err := t.makeRelayed(item); err != nil {
			return nil, err
		}
	}
	for _, item := range o.close.items {
		if err := t.closeStandard(item); err != nil {
			return nil, err
		}
	}
	for _, source := range []struct {
		wanted  bool
		option  string
		numbers func() ([]int, error)
	}{
		{bool(o.keepArgs), "--keep-args", func() ([]int, error) { return descriptorsInArgs(command), nil }},
		{bool(o.keepListen), "--keep-listen", env.listenDescriptors},
		{bool(o.keepJobserver), "--keep-jobserver", env.jobserverDescriptors},
	} {
		if !source.wanted {
			continue
		}
		numbers, err := source.numbers()
		if err != nil {
			return nil, about(source.option, none, err)
		}
		for _, n := range numbers {
			if err := t.also(n, source.option); err != nil {
				return nil, err
			}
		}
	}
	if err := o.checkStatusDescriptor(t); err != nil {
		return nil, err
	}
	return t, t.checkInherited()
}

// keep adds what one ITEM of --keep names.
func (t *table) keep(item fdtable.Item) error {
	option := "--keep " + item.String()
	switch {
	case item.Suffix != "":
		return about(option, none, fmt.Errorf("@%s is for --private", item.Suffix))
	case item.All:
		t.all = true
		return nil
	}
	return t.addItem(item, entry{option: option})
}

// makePrivate adds what one ITEM of --private names.
func (t *table) makePrivate(item fdtable.Item) error {
	e := entry{option: "--private " + item.String(), private: true}
	if item.All {
		return about(e.option, none, fmt.Errorf("all is for --keep: say which ones"))
	}
	switch item.Suffix {
	case "append":
		e.writing = ofd.Append
	case "offset":
		e.writing = ofd.Offset
	}
	return t.addItem(item, e)
}

// addItem adds an entry like e for each descriptor that the item names.
func (t *table) addItem(item fdtable.Item, e entry) error {
	if item.To >= 0 {
		e.from, e.to = item.First, item.To
		return t.add(e)
	}
	for n := item.First; n <= item.Last; n++ {
		// A range may end far above what can be open: the first gap ends it.
		if !fdtable.Inherited(n) {
			return notOpen(e.option, n)
		}
		e.from, e.to = n, n
		if err := t.add(e); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) closeStandard(item fdtable.Item) error {
	option := "--close " + item.String()
	if item.All || item.To >= 0 || item.Suffix != "" || item.Last > 2 {
		return about(option, none, fmt.Errorf("only 0, 1 and 2 can be closed; what isn't kept is closed anyway"))
	}
	for n := item.First; n <= item.Last; n++ {
		if err := t.add(entry{from: spawn.DevNull, to: n, option: option}); err != nil {
			return err
		}
	}
	return nil
}

// add takes an entry in, unless its number is taken.
func (t *table) add(e entry) error {
	if i := t.index(e.to); i >= 0 {
		return about(e.option, e.to, fmt.Errorf("descriptor %d is named already, by %s", e.to, t.entries[i].option))
	}
	t.entries = append(t.entries, e)
	return nil
}

// also adds a descriptor at its own number, for an option that may find what another one names too.
func (t *table) also(n int, option string) error {
	if i := t.index(n); i >= 0 && t.entries[i].from == n {
		return nil
	}
	return t.add(entry{from: n, to: n, option: option})
}

func (t *table) index(to int) int {
	return slices.IndexFunc(t.entries, func(e entry) bool { return e.to == to })
}

// holds reports whether the command gets something at the number; 0, 1 and 2 it always does.
func (t *table) holds(n int) bool { return n <= 2 || t.index(n) >= 0 }

// passes reports whether the caller's descriptor goes to the command, at whatever number.
func (t *table) passes(n int) bool {
	if n <= 2 && t.index(n) < 0 {
		return true
	}
	return slices.ContainsFunc(t.entries, func(e entry) bool { return e.from == n })
}

// checkInherited makes sure that somebody handed over what is to be passed on.
func (t *table) checkInherited() error {
	for _, e := range t.entries {
		if e.from != spawn.DevNull && !fdtable.Inherited(e.from) {
			return notOpen(e.option, e.from)
		}
	}
	return nil
}

// expandAll adds, for --keep all, everything inherited that no option names. Status is never passed on.
func (t *table) expandAll(inherited []int, status number) {
	if !t.all {
		return
	}
	named := map[int]bool{}
	for _, e := range t.entries {
		named[e.from], named[e.to] = true, true
	}
	for _, n := range inherited {
		if n > 2 && !named[n] && (!status.set || n != status.n) {
			t.entries = append(t.entries, entry{from: n, to: n, option: "--keep all"})
		}
	}
}

// descriptors is the plan as package spawn takes it.
func (t *table) descriptors() []spawn.Descriptor {
	pass := make([]spawn.Descriptor, 0, len(t.entries))
	for _, e := range t.entries {
		d := spawn.Descriptor{Number: e.to, FD: e.from, Writing: e.writing}
		switch {
		case e.private:
			d.Mode = spawn.Private
		case e.relayed:
			d.Mode = spawn.Relayed
		}
		pass = append(pass, d)
	}
	return pass
}

// shared are the caller's descriptors whose descriptions the command shares, by the command's numbers.
func (t *table) shared() map[int]int {
	shared := map[int]int{}
	for n := range 3 {
		if t.index(n) < 0 && fdtable.Inherited(n) {
			shared[n] = n
		}
	}
	for _, e := range t.entries {
		if e.from != spawn.DevNull && !e.private && !e.relayed {
			shared[e.to] = e.from
		}
	}
	return shared
}

func notOpen(option string, n int) error {
	return about(option, n, fmt.Errorf("descriptor %d is not open", n))
}

// checkStatusDescriptor: what safeexec reports to is inherited, and never passed on.
func (o *Options) checkStatusDescriptor(t *table) error {
	if !o.statusFD.set {
		return nil
	}
	n, option := o.statusFD.n, fmt.Sprintf("--json-status-fd %d", o.statusFD.n)
	if !fdtable.Inherited(n) {
		return notOpen(option, n)
	}
	if !writable(n) { // it stays open until the program runs: a directory there would be a way out
		return about(option, n, fmt.Errorf("descriptor %d is not open for writing", n))
	}
	for _, e := range t.entries {
		if e.from == n {
			return about(option, n, fmt.Errorf("%s would pass it on", e.option))
		}
	}
	if t.passes(n) {
		return about(option, n, fmt.Errorf("the command would get it as its own %d, unless --close names it", n))
	}
	return nil
}

// writable reports whether a descriptor is open for writing, which a directory never is.
func writable(n int) bool {
	flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_PATH == 0 && flags&unix.O_ACCMODE != unix.O_RDONLY
}
