package main

import "io"

// The JSON of "safeexec fds --shared --json" is one object:
//
//	descriptions         list of objects: each description that several descriptors refer to
//	  holders            list of objects: the descriptors, in the order of the processes below
//	    pid              number
//	    name             string: of the process
//	    number           number: of the descriptor
//	    close_on_exec    true or false
//	  owner              object: who receives its signals (fcntl(2), F_SETOWN); null where it isn't known: without the right
//	                     to ask, and where asking could hold somebody up (files that aren't on a disk, most devices)
//	    type             "nobody", "thread", "process" or "process-group"
//	    id               number: of the thread, process or group; 0 of nobody
//	    signal           string: "SIGIO", or what F_SETSIG has set
//	  kind, access, flags, offset, locks, target, target_bytes, device, inode, detail, socket
//	                     as in "safeexec fds --json"; the locks are the description's, and the POSIX locks of all holders
//	unknown              list of objects: the descriptors that may share a description and can't be compared
//	  pid, name, number, close_on_exec
//	                     as above
//	  reason             an errno's name or a text, "EPERM" above all
//	  kind, access, ...  as above
//	processes            list of objects: what was looked at, in the order of the command line, then by number
//	  pid                number
//	  name               string; null for a process that is gone
//	  descriptors        number: how many it has; null where that isn't known
//	  error              only where its descriptors couldn't be listed: "EACCES", "EPERM", "ESRCH" or a text. Whether such
//	                     a process shares anything isn't known
//
// Names and meanings stay; fields may be added.
type sharingJSON struct {
	Descriptions []descriptionJSON `json:"descriptions"`
	Unknown      []unknownJSON     `json:"unknown"`
	Processes    []lookedAtJSON    `json:"processes"`
}

type descriptionJSON struct {
	Holders []holderJSON `json:"holders"`
	Owner   *ownerJSON   `json:"owner"`
	stateJSON
}

type holderJSON struct {
	PID         int    `json:"pid"`
	Name        string `json:"name"`
	Number      int    `json:"number"`
	CloseOnExec bool   `json:"close_on_exec"`
}

type ownerJSON struct {
	Type   string `json:"type"`
	ID     int    `json:"id"`
	Signal string `json:"signal"`
}

type unknownJSON struct {
	holderJSON
	Reason string `json:"reason"`
	stateJSON
}

type lookedAtJSON struct {
	PID         int     `json:"pid"`
	Name        *string `json:"name"`
	Descriptors *int    `json:"descriptors"`
	Error       string  `json:"error,omitempty"`
}

func writeSharingJSON(w io.Writer, listings []listing, s sharing) error {
	all := sharingJSON{Descriptions: []descriptionJSON{}, Unknown: []unknownJSON{}, Processes: []lookedAtJSON{}}
	for _, d := range s.shared() {
		j := descriptionJSON{Owner: newOwnerJSON(d.owner), stateJSON: newStateJSON(d.first(), d.locks)}
		for _, h := range d.holders {
			j.Holders = append(j.Holders, newHolderJSON(h))
		}
		all.Descriptions = append(all.Descriptions, j)
	}
	for _, d := range s.unknown() {
		all.Unknown = append(all.Unknown, unknownJSON{newHolderJSON(d.holders[0]), errorName(d.unknown), newStateJSON(d.first(), d.locks)})
	}
	for _, l := range listings {
		if !l.left() {
			all.Processes = append(all.Processes, newLookedAtJSON(l))
		}
	}
	return writeJSON(w, all)
}

func newHolderJSON(h holder) holderJSON {
	return holderJSON{h.process.PID, h.process.Name, h.descriptor.Number, h.descriptor.CloseOnExec}
}

func newOwnerJSON(o *owner) *ownerJSON {
	if o == nil {
		return nil
	}
	j := &ownerJSON{Type: "nobody", ID: o.ID, Signal: o.signalName()}
	if o.ID != 0 {
		j.Type = [...]string{"thread", "process", "process-group"}[o.Type]
	}
	return j
}

func newLookedAtJSON(l listing) lookedAtJSON {
	j := lookedAtJSON{PID: l.process.PID}
	if l.process.Name != "" {
		j.Name = &l.process.Name
	}
	if l.err != nil {
		j.Error = errorName(l.err)
		return j
	}
	n := l.size()
	j.Descriptors = &n
	return j
}
