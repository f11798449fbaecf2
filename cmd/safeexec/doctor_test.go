package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/safeexec/safeexec/fdtable"
)

// The relatives of process 10: 1 is init, 5 the parent, 12 a child, 8 a neighbour in the session, 20 a stranger.
func someFamily() []fdtable.Process {
	return []fdtable.Process{
		{PID: 1, Name: "init", Session: 1},
		{PID: 5, Parent: 1, Name: "par\x1bent", Session: 5},
		{PID: 8, Parent: 5, Name: "neighbour", Session: 5},
		{PID: 10, Parent: 5, Name: "self", Session: 5},
		{PID: 12, Parent: 10, Name: "child", Session: 12},
		{PID: 20, Parent: 1, Name: "stranger", Session: 20},
	}
}

func TestFamilyOf(t *testing.T) {
	f := familyOf(someFamily(), 10)
	if !slices.Equal(f.ancestors, []int{5, 1}) || !slices.Equal(f.descendants, []int{12}) || !slices.Equal(f.session, []int{5, 8}) {
		t.Errorf("%+v", f)
	}
	// Numbers that were used again while the list was read can make a circle.
	f = familyOf([]fdtable.Process{{PID: 3, Parent: 4}, {PID: 4, Parent: 3}, {PID: 6, Parent: 7}, {PID: 7, Parent: 8}, {PID: 8, Parent: 7}}, 6)
	if !slices.Equal(f.ancestors, []int{7, 8}) {
		t.Errorf("%+v", f)
	}
}

// also are descriptors of other processes, as numbers of processes, each under the same number.
func also(number int, closing bool, pids ...int) (others []holder) {
	for _, pid := range pids {
		others = append(others, holder{
			&fdtable.Process{PID: pid}, fdtable.Identity{Number: number}, &fdtable.Descriptor{Number: number, CloseOnExec: closing},
		})
	}
	return others
}

func flock(pid int) []fdtable.Lock {
	return []fdtable.Lock{{Type: "flock", Mode: "write", State: "advisory", PID: pid, End: 1<<63 - 1}}
}

func TestJudge(t *testing.T) {
	const nonBlocking = syscall.O_RDWR | syscall.O_NONBLOCK
	type d = fdtable.Descriptor
	for _, c := range []struct {
		name   string
		d      d
		others []holder
		change func(*patient, *held)
		want   string // kind=option, separated by blanks
	}{
		{"its own, closed on exec", d{Number: 3, Kind: fdtable.KindFile, CloseOnExec: true}, nil, nil, ""},
		{"its own", d{Number: 3, Kind: fdtable.KindFile}, nil, nil, "passed-on=--keep"},
		{"standard", d{Number: 1, Kind: fdtable.KindFile}, also(1, false, 5, 8), nil, ""},
		{"from the parent", d{Number: 3, Kind: fdtable.KindFile}, also(4, false, 5), nil, "inherited=--keep"},
		{"from init", d{Number: 3, Kind: fdtable.KindFile, CloseOnExec: true}, also(4, false, 1), nil, "inherited=--keep"},
		{"with a child", d{Number: 3, Kind: fdtable.KindFile, CloseOnExec: true}, also(4, false, 12), nil, ""},
		{"with a neighbour", d{Number: 3, Kind: fdtable.KindFile, CloseOnExec: true}, also(4, false, 8), nil, ""},
		{"with a stranger", d{Number: 3, Kind: fdtable.KindPipe, CloseOnExec: true}, also(4, false, 20), nil, "shared=--private"},
		{"a socket with a stranger", d{Number: 3, Kind: fdtable.KindSocket, CloseOnExec: true}, also(4, false, 20), nil, "shared=--guard"},
		{"standard, with a stranger", d{Number: 1, Kind: fdtable.KindFile}, also(1, false, 20), nil, "shared=--private"},
		{"standard, with the parent and a stranger", d{Number: 1, Kind: fdtable.KindFile}, also(1, false, 5, 20), nil, ""},
		{"a fork", d{Number: 3, Kind: fdtable.KindFile, CloseOnExec: true}, also(3, true, 5), func(p *patient, _ *held) { p.forked = true }, ""},
		{
			"meant",
			d{Number: 3, Kind: fdtable.KindBlockDevice, Locks: flock(5)},
			also(3, false, 5),
			func(p *patient, _ *held) { p.meant = []fdtable.Item{{First: 2, Last: 3, To: -1}} }, "",
		},
		{
			"a directory outside",
			d{Number: 0, Kind: fdtable.KindDirectory},
			nil,
			func(_ *patient, h *held) { h.outside = true }, "escape=--close",
		},
		{"its own lock", d{Number: 3, CloseOnExec: true, Locks: flock(10)}, nil, nil, ""},
		{"a child's", d{Number: 3, CloseOnExec: true, Locks: flock(12)}, nil, nil, ""},
		{"one of a child that is gone", d{Number: 3, CloseOnExec: true, Locks: flock(13)}, nil, nil, ""},
		{"one of a parent that is gone", d{Number: 3, CloseOnExec: true, Locks: flock(9)}, nil, nil, "lock=--keep"},
		{"the parent's", d{Number: 3, CloseOnExec: true, Locks: flock(5)}, also(3, false, 5), nil, "lock=--keep inherited=--keep"},
		{"one that another namespace knows", d{Number: 3, CloseOnExec: true, Locks: flock(0)}, nil, nil, "lock=--keep"},
		{"nobody's", d{Number: 3, CloseOnExec: true, Locks: []fdtable.Lock{{Type: "ofd", PID: -1}}}, nil, nil, ""},
		{"nobody's, shared", d{Number: 3, CloseOnExec: true, Locks: []fdtable.Lock{{Type: "ofd", PID: -1}}}, also(3, false, 12), nil, "lock=--keep"},
		{"POSIX", d{Number: 3, CloseOnExec: true, Locks: []fdtable.Lock{{Type: "posix", PID: 10}}}, nil, nil, ""},
		{
			"POSIX on what was inherited",
			d{Number: 3, Locks: []fdtable.Lock{{Type: "posix", PID: 10}}},
			also(3, false, 5), nil,
			"lock=--keep inherited=--keep",
		},
		{"a power of its own", d{Number: 3, Kind: fdtable.KindIOUring, CloseOnExec: true}, nil, nil, ""},
		{"a power for its children", d{Number: 3, Kind: fdtable.KindIOUring}, nil, nil, "power=--keep"},
		{"an inherited power", d{Number: 3, Kind: fdtable.KindKVM, CloseOnExec: true}, also(3, false, 5), nil, "power=--keep inherited=--keep"},
		{"deleted", d{Number: 3, CloseOnExec: true, Deleted: true}, nil, nil, "deleted="},
		{"deleted, for its children", d{Number: 3, Deleted: true}, nil, nil, "deleted= passed-on=--keep"},
		{"deleted, inherited", d{Number: 3, Deleted: true}, also(3, false, 5), nil, "inherited=--keep deleted=--keep"},
		{"non-blocking", d{Number: 1, Kind: fdtable.KindPipe, Flags: nonBlocking}, nil, nil, ""},
		{"non-blocking with a child", d{Number: 1, Kind: fdtable.KindPipe, Flags: nonBlocking}, also(1, false, 12), nil, ""},
		{"non-blocking with a neighbour", d{Number: 1, Kind: fdtable.KindTerminal, Flags: nonBlocking}, also(1, false, 8), nil, "non-blocking=--guard"},
		{"blocking", d{Number: 1, Kind: fdtable.KindTerminal, Flags: syscall.O_RDWR}, also(1, false, 8), nil, ""},
		{"a non-blocking socket", d{Number: 1, Kind: fdtable.KindSocket, Flags: nonBlocking}, also(1, false, 5), nil, "non-blocking=--guard"},
		{
			"a non-blocking socket of its own number",
			d{Number: 4, CloseOnExec: true, Kind: fdtable.KindSocket, Flags: nonBlocking},
			also(4, false, 8), nil, "",
		},
	} {
		p := &patient{process: someFamily()[3], family: familyOf(someFamily(), 10)}
		h := held{descriptor: c.d, others: c.others}
		if c.change != nil {
			c.change(p, &h)
		}
		p.held = []held{h}
		var got []string
		for _, f := range p.judge() {
			got = append(got, f.kind+"="+f.option)
			if f.text == "" || (f.how == "") != (f.option == "") {
				t.Errorf("%s: %+v", c.name, f)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// A description that both have close-on-exec under the same number has seen no exec.
func TestSharesClosing(t *testing.T) {
	for _, c := range []struct {
		closing bool
		others  []holder
		want    bool
	}{
		{true, also(3, true, 5), true},
		{false, also(3, true, 5), false},
		{true, also(3, false, 5), false},
		{true, also(4, true, 5), false},
		{true, also(3, true, 8), false},
	} {
		p := &patient{process: someFamily()[3], held: []held{{descriptor: fdtable.Descriptor{Number: 3, CloseOnExec: c.closing}, others: c.others}}}
		if got := p.sharesClosing(); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func sickPatient() *patient {
	file := fdtable.Descriptor{Number: 3, Kind: fdtable.KindFile, Flags: syscall.O_WRONLY, Target: "/tmp/\x1b", Locks: flock(5)}
	p := &patient{
		process: someFamily()[3], family: familyOf(someFamily(), 10), unseen: 2,
		held: []held{
			{descriptor: file, others: also(4, false, 5, 8, 20, 12, 1)},
			{descriptor: fdtable.Descriptor{Number: 5, CloseOnExec: true}, unknown: syscall.EPERM, unknownPlace: syscall.EACCES},
		},
	}
	p.findings = p.judge()
	return p
}

func TestWriteDoctor(t *testing.T) {
	var out bytes.Buffer
	if err := sickPatient().writeText(&out, false); err != nil {
		t.Fatal(err)
	}
	want := `process 10 (self), child of 5 (par\x1bent)

descriptor 3: file  write  flock write by 5  /tmp/\x1b
    lock          keeps alive flock write by 5 (par\x1bent): it isn't free before this is closed here
    inherited     par\x1bent (5) has the same description, as 4
    shared        shared with stranger (20), neither of its tree nor of its session: offset, flags and locks are common
    prevent it:   start it as safeexec [--keep LIST] -- COMMAND, without 3 in the LIST
    prevent it:   start it as safeexec --private 3@append (or @offset) -- COMMAND

unknown: descriptor 5: with whom it is shared: not ours to compare (kcmp(2): operation not permitted)

unknown: descriptor 5: where it leads: permission denied

unknown: what 2 processes share with it, not ours to see

3 findings among 2 descriptors
`
	if out.String() != want {
		t.Errorf("%s", out.String())
	}
}

func TestDoctorJSON(t *testing.T) {
	var out bytes.Buffer
	if err := writeJSON(&out, newDoctorJSON(sickPatient())); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Findings []struct {
			Finding, Option, Kind string
			Number                int
			Holders               []struct{ PID int }
		}
		Unknown []struct {
			Number int
			Reason string
		}
		Descriptors, Unseen int
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Findings) != 3 || got.Findings[0].Finding != "lock" || got.Findings[0].Option != "--keep" || got.Findings[0].Number != 3 ||
		got.Findings[0].Kind != "file" || len(got.Findings[0].Holders) != 5 || len(got.Unknown) != 2 || got.Descriptors != 2 || got.Unseen != 2 {
		t.Errorf("%+v", got)
	}
	well := newDoctorJSON(&patient{process: someFamily()[3]})
	if well.Findings == nil || well.Unknown == nil {
		t.Errorf("%+v: lists are never null", well)
	}
}

func TestParseMeant(t *testing.T) {
	for list, ok := range map[string]bool{"3": true, "3-7,9": true, "all": false, "3:4": false, "3@append": false, "": false, "x": false} {
		if _, err := parseMeant([]string{list}); (err == nil) != ok {
			t.Errorf("%q: %v", list, err)
		}
	}
}
