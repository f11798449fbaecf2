package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/ofd"
)

// A holder is a descriptor of a process, as one that refers to a description.
type holder struct {
	process    *fdtable.Process
	identity   fdtable.Identity
	descriptor *fdtable.Descriptor // nil until it has been read
}

func (h holder) ref() ofd.Ref { return ofd.Ref{PID: h.process.PID, FD: h.identity.Number} }

// A description is what one or several descriptors refer to. Flags, offset and the rest are as the first holder's table had
// them.
type description struct {
	holders []holder
	locks   []fdtable.Lock // the description's own, and the POSIX locks of every holder
	owner   *owner         // nil where it isn't known
	unknown error          // why it isn't known whether others refer to it as well; it then has one holder
}

func (d description) first() fdtable.Descriptor { return *d.holders[0].descriptor }

// An owner receives the signals of a description.
type owner struct {
	ofd.Owner
	signal syscall.Signal // 0 stands for SIGIO
}

// sharing is what a comparison has found.
type sharing struct {
	descriptions []description // by their first holders, in the order of the listings
	looked       int           // how many descriptors
	unseen       int           // processes that aren't ours to see
}

// shared are the descriptions with several holders.
func (s sharing) shared() []description {
	return slices.DeleteFunc(slices.Clone(s.descriptions), func(d description) bool { return len(d.holders) < 2 })
}

// unknown are those of which nothing can be said, each for one holder.
func (s sharing) unknown() []description {
	return slices.DeleteFunc(slices.Clone(s.descriptions), func(d description) bool { return d.unknown == nil })
}

// errOtherNumbers says that asking by number would ask about other processes than those listed.
var errOtherNumbers = errors.New("/proc shows the numbers of another PID namespace: descriptions can't be compared")

// findSharing compares the descriptors of all listings, and returns the descriptions that are shared or may be, or all of them.
// Where listings hold identities, their descriptors are read afterwards, those that matter.
func findSharing(reader *fdtable.Reader, listings []listing, all bool) (s sharing, err error) {
	own, err := reader.Process(0)
	if err != nil {
		return s, err
	}
	if own.PID != os.Getpid() {
		return s, errOtherNumbers
	}
	holders := holdersOf(listings)
	s.looked = len(holders)
	s.descriptions = gather(holders, group)
	if !all {
		s.descriptions = slices.DeleteFunc(s.descriptions, description.private)
	}
	if err := readHolders(reader, listings, s.descriptions); err != nil {
		return s, err
	}
	s.descriptions = settle(s.descriptions, reader.Process)
	if !all {
		s.descriptions = slices.DeleteFunc(s.descriptions, description.private)
	}
	for i := range s.descriptions {
		if d := &s.descriptions[i]; d.unknown == nil {
			d.owner = d.findOwner()
		}
	}
	for _, l := range listings {
		if l.unseen() {
			s.unseen++
		}
	}
	return s, nil
}

func holdersOf(listings []listing) []holder {
	total := 0
	for _, l := range listings {
		total += l.size()
	}
	holders := make([]holder, 0, total)
	for i := range listings {
		l := &listings[i]
		for _, identity := range l.identities {
			holders = append(holders, holder{&l.process, identity, nil})
		}
		for j := range l.descriptors {
			holders = append(holders, holder{&l.process, l.descriptors[j].Identity(), &l.descriptors[j]})
		}
	}
	return holders
}

// group asks the kernel which holders refer to one description; two can only if their keys are equal. Ids and errors are those
// of ofd.Group.
func group(holders []holder) (ids []int, errs []error) {
	refs := make([]ofd.Ref, len(holders))
	for i, h := range holders {
		refs[i] = h.ref()
		refs[i].Key = keyOf(h.identity)
	}
	return ofd.Group(refs)
}

// keyOf is the identity without the number.
func keyOf(i fdtable.Identity) string {
	key := make([]byte, 0, 40)
	key = strconv.AppendUint(key, uint64(i.Device), 36)
	key = append(key, ' ')
	key = strconv.AppendUint(key, i.Inode, 36)
	return string(append(key, i.Name...))
}

// gather makes descriptions of holders. A descriptor that has been closed meanwhile, or whose process has ended, is left out.
func gather(holders []holder, group func([]holder) (ids []int, errs []error)) []description {
	ids, errs := group(holders)
	where := make(map[int]int, len(holders))
	var all []description
	for i, h := range holders {
		switch {
		case isGone(errs[i]):
			continue
		case errs[i] != nil:
			all = append(all, description{holders: []holder{h}, unknown: errs[i]})
			continue
		}
		at, known := where[ids[i]]
		if !known {
			at = len(all)
			where[ids[i]] = at
			all = append(all, description{})
		}
		all[at].holders = append(all[at].holders, h)
	}
	return all
}

func isGone(err error) bool { return errors.Is(err, unix.EBADF) || errors.Is(err, unix.ESRCH) }

// private reports whether a description is known to have a single holder.
func (d description) private() bool { return len(d.holders) < 2 && d.unknown == nil }

// readHolders reads the descriptors of the descriptions, where that hasn't been done.
func readHolders(reader *fdtable.Reader, listings []listing, descriptions []description) error {
	wanted := map[*fdtable.Process][]int{}
	for _, d := range descriptions {
		for _, h := range d.holders {
			if h.descriptor == nil {
				wanted[h.process] = append(wanted[h.process], h.identity.Number)
			}
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	err := forEach(reader, listings, func(l *listing, reader *fdtable.Reader) {
		if numbers := wanted[&l.process]; len(numbers) > 0 {
			slices.Sort(numbers)
			l.descriptors, l.err = reader.Some(l.process.PID, numbers)
		}
	})
	if err != nil {
		return err
	}
	read := map[*fdtable.Process]*listing{}
	for i := range listings {
		read[&listings[i].process] = &listings[i]
	}
	for _, d := range descriptions {
		for i := range d.holders {
			if h := &d.holders[i]; h.descriptor == nil {
				h.descriptor = read[h.process].find(h.identity)
			}
		}
	}
	return nil
}

// find returns the descriptor if it is still the same.
func (l *listing) find(identity fdtable.Identity) *fdtable.Descriptor {
	at, found := slices.BinarySearchFunc(l.descriptors, identity.Number, func(d fdtable.Descriptor, n int) int { return d.Number - n })
	if !found || l.descriptors[at].Identity() != identity {
		return nil
	}
	return &l.descriptors[at]
}

// settle drops the holders that have gone while they were looked at, and those whose process has ended: its number may have come
// to mean another process between the reading of its table and the comparison. It completes what is left.
func settle(all []description, now func(pid int) (fdtable.Process, error)) []description {
	still := map[*fdtable.Process]bool{}
	isThere := func(p *fdtable.Process) bool {
		there, asked := still[p]
		if !asked {
			again, err := now(p.PID)
			there = err == nil && again.Started == p.Started
			still[p] = there
		}
		return there
	}
	left := all[:0]
	for _, d := range all {
		d.holders = slices.DeleteFunc(d.holders, func(h holder) bool { return h.descriptor == nil || !isThere(h.process) })
		if len(d.holders) > 0 {
			d.locks = locksOf(d.holders)
			left = append(left, d)
		}
	}
	return left
}

// locksOf are the description's locks, which each holder has, and the POSIX locks of each.
func locksOf(holders []holder) []fdtable.Lock {
	var locks []fdtable.Lock
	for _, h := range holders {
		for _, lock := range h.descriptor.Locks {
			if !slices.Contains(locks, lock) {
				locks = append(locks, lock)
			}
		}
	}
	return locks
}

// findOwner asks through the first holder that may be asked.
func (d description) findOwner() *owner {
	if !mayBorrow(d.first()) {
		return nil
	}
	for _, h := range d.holders {
		o, signal, err := ofd.OwnerIn(h.ref())
		if err == nil {
			return &owner{o, signal}
		}
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) { // the next one won't do better
			break
		}
	}
	return nil
}

// mayBorrow reports whether a duplicate can be taken and closed with nobody noticing. The last step of closing a file is up to
// its file system: one in user space, or on a server that is gone, would hold up the listing, so only files on a disk are
// asked. A device's driver may do anything. A socket would take our network class where cgroups have those.
func mayBorrow(d fdtable.Descriptor) bool {
	switch d.Kind {
	case fdtable.KindFile:
		return d.Flags.Access() != "path" && unix.Major(uint64(d.Device)) != 0
	case fdtable.KindSocket:
		return !hasNetworkClasses()
	case fdtable.KindDirectory, fdtable.KindFIFO, fdtable.KindTerminal, fdtable.KindMemoryDevice:
		return d.Flags.Access() != "path"
	case fdtable.KindPipe, fdtable.KindPTYMaster, fdtable.KindMemfd, fdtable.KindEventfd, fdtable.KindEpoll, fdtable.KindTimerfd,
		fdtable.KindSignalfd, fdtable.KindInotify, fdtable.KindPidfd:
		return true
	}
	return false
}

// hasNetworkClasses reports whether cgroups of version 1 give sockets a class or a priority.
var hasNetworkClasses = sync.OnceValue(func() bool {
	text, err := os.ReadFile("/proc/thread-self/cgroup")
	return err != nil || strings.Contains(string(text), "net_cls") || strings.Contains(string(text), "net_prio")
})

// ownerText is empty where nobody receives signals, and where it isn't known who does.
func (d description) ownerText() string {
	if d.owner == nil || d.owner.ID == 0 {
		return ""
	}
	return fmt.Sprintf("owner %v by %s", d.owner.Owner, d.owner.signalName())
}

func (o owner) signalName() string {
	signal := cmp.Or(o.signal, unix.SIGIO)
	return cmp.Or(unix.SignalName(signal), strconv.Itoa(int(signal)))
}

// unknownText says why it isn't known.
func unknownText(err error) string {
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		return "the kernel can't compare (kcmp(2): " + err.Error() + ")"
	}
	return "not ours to compare (kcmp(2): " + err.Error() + ")"
}
