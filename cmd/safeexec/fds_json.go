package main

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"syscall"
	"unicode/utf8"

	"github.com/safeexec/safeexec/fdtable"
)

// The JSON of "safeexec fds --json" is one object:
//
//	processes            list of objects, in the order of the command line
//	  pid                number
//	  name               string: the name that the process gave itself; null when it couldn't be listed
//	  error              only when it couldn't be listed: an errno's name or a text, such as "ESRCH" for a process that is gone
//	  descriptors        list of objects, by number; empty when it couldn't be listed
//	    number           number
//	    close_on_exec    true or false
//	    kind             string: "file", "directory", "pipe", "fifo", "socket", "terminal", "pty-master", "memory-device",
//	                     "char-device", "block-device", "memfd", "eventfd", "epoll", "pidfd", "anon-inode", ...: the Kinds of
//	                     package fdtable; new ones may come
//	    access           "read", "write", "read-write", "path" (O_PATH) or "none" (ioctl only)
//	    flags            list of strings: the status flags by their names in open(2)
//	    offset           number; null where the kind has none
//	    locks            list of objects
//	      type           "flock", "ofd", "posix", "lease" or "delegation"
//	      mode           "read", "write" or "none"
//	      state          "advisory"; of leases "active", "breaking" or "breaker"
//	      pid            number: who took it; null for OFD locks and for a process that is gone
//	      start          number: the first byte
//	      end            number: the last byte; null for the end of the file
//	    target           string: what the kernel's link says, " (deleted)" included
//	    target_bytes     only where target isn't UTF-8 and so had to be changed: the bytes in base64
//	    device           string: major and minor number, "8:1"
//	    inode            number
//	    detail           string: what the kind adds, "pid 123", "counter 4"; null where it adds nothing
//	    socket           object; null where there is none
//	      family         "unix", "inet", "inet6", "netlink", "packet", ...
//	      type           "stream", "dgram", "seqpacket", "raw", ...
//	      protocol       "tcp", "udp", ...; of netlink "route", "audit", ...
//	      state          "listening", "connected", "unconnected", "established", ...
//	      local, peer    strings: host:port, a path, @ABSTRACT
//	                     (each of the six is empty where there is none or it can't be seen)
//
// Names and meanings stay; fields may be added.
type listingsJSON struct {
	Processes []processJSON `json:"processes"`
}

type processJSON struct {
	PID         int              `json:"pid"`
	Name        *string          `json:"name"`
	Error       string           `json:"error,omitempty"`
	Descriptors []descriptorJSON `json:"descriptors"`
}

type descriptorJSON struct {
	Number      int  `json:"number"`
	CloseOnExec bool `json:"close_on_exec"`
	stateJSON
}

// stateJSON is what belongs to the description.
type stateJSON struct {
	Kind        string      `json:"kind"`
	Access      string      `json:"access"`
	Flags       []string    `json:"flags"`
	Offset      *int64      `json:"offset"`
	Locks       []lockJSON  `json:"locks"`
	Target      string      `json:"target"`
	TargetBytes []byte      `json:"target_bytes,omitempty"`
	Device      string      `json:"device"`
	Inode       uint64      `json:"inode"`
	Detail      *string     `json:"detail"`
	Socket      *socketJSON `json:"socket"`
}

type lockJSON struct {
	Type  string `json:"type"`
	Mode  string `json:"mode"`
	State string `json:"state"`
	PID   *int   `json:"pid"`
	Start int64  `json:"start"`
	End   *int64 `json:"end"`
}

type socketJSON struct {
	Family   string `json:"family"`
	Type     string `json:"type"`
	Protocol string `json:"protocol"`
	State    string `json:"state"`
	Local    string `json:"local"`
	Peer     string `json:"peer"`
}

func writeListingsJSON(w io.Writer, listings []listing) error {
	all := listingsJSON{Processes: []processJSON{}}
	for _, l := range listings {
		all.Processes = append(all.Processes, newProcessJSON(l))
	}
	return writeJSON(w, all)
}

// writeJSON writes one object for programs that a person can read as well.
func writeJSON(w io.Writer, object any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(object)
}

func newProcessJSON(l listing) processJSON {
	p := processJSON{PID: l.process.PID, Descriptors: []descriptorJSON{}}
	if l.err != nil {
		p.Error = errorName(l.err)
		return p
	}
	p.Name = &l.process.Name
	for _, d := range l.descriptors {
		p.Descriptors = append(p.Descriptors, newDescriptorJSON(d))
	}
	return p
}

// errorName is the errno's name for those that a program may want to tell apart, and the text for all others.
func errorName(err error) string {
	switch {
	case errors.Is(err, syscall.ESRCH):
		return "ESRCH"
	case errors.Is(err, syscall.EACCES):
		return "EACCES"
	case errors.Is(err, syscall.EPERM):
		return "EPERM"
	}
	return err.Error()
}

func newDescriptorJSON(d fdtable.Descriptor) descriptorJSON {
	return descriptorJSON{d.Number, d.CloseOnExec, newStateJSON(d, d.Locks)}
}

func newStateJSON(d fdtable.Descriptor, locks []fdtable.Lock) stateJSON {
	j := stateJSON{
		Kind: string(d.Kind), Access: d.Flags.Access(), Flags: append([]string{}, d.Flags.Names()...),
		Locks: []lockJSON{}, Target: d.Target, Device: d.Device.String(), Inode: d.Inode,
	}
	if hasOffset(d) {
		j.Offset = &d.Offset
	}
	if !utf8.ValidString(d.Target) {
		j.TargetBytes = []byte(d.Target)
	}
	if d.Detail != "" {
		j.Detail = &d.Detail
	}
	for _, l := range locks {
		j.Locks = append(j.Locks, newLockJSON(l))
	}
	if s := d.Socket; s != nil {
		j.Socket = &socketJSON{s.Family, s.Type, s.Protocol, s.State, s.Local, s.Peer}
	}
	return j
}

func newLockJSON(l fdtable.Lock) lockJSON {
	j := lockJSON{Type: l.Type, Mode: l.Mode, State: l.State, Start: l.Start}
	if l.PID > 0 {
		j.PID = &l.PID
	}
	if l.End != math.MaxInt64 {
		j.End = &l.End
	}
	return j
}
