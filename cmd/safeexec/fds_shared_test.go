package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/ofd"
)

// sample is a sharing with what the formats must carry: names that could command a terminal or end a label, locks, an owner,
// something unknown, a process that can't be seen.
func sample() ([]listing, sharing) {
	lock := fdtable.Lock{Type: "flock", Mode: "write", State: "advisory", PID: 7, End: 1<<63 - 1}
	posix := fdtable.Lock{Type: "posix", Mode: "read", State: "advisory", PID: 8, End: 4}
	file := fdtable.Descriptor{
		Number: 9, Kind: fdtable.KindFile, Flags: syscall.O_RDWR | syscall.O_APPEND, Offset: 5, Target: "/tmp/<\x1b>",
		Device: 0x801, Inode: 4, Locks: []fdtable.Lock{lock},
	}
	again, pipe := file, fdtable.Descriptor{Number: 1, Kind: fdtable.KindPipe, Flags: syscall.O_WRONLY, Target: "pipe:[8]", Inode: 8}
	again.Number, again.CloseOnExec, again.Locks = 3, true, []fdtable.Lock{lock, posix}
	listings := []listing{
		{process: fdtable.Process{PID: 7, Name: "a&b", Started: 1}, descriptors: []fdtable.Descriptor{pipe, file}},
		{process: fdtable.Process{PID: 8, Name: "c", Started: 2}, descriptors: []fdtable.Descriptor{again}},
		{process: fdtable.Process{PID: 1, Name: "init"}, why: byChance, err: fmt.Errorf("process 1: %w", syscall.EACCES)},
		{process: fdtable.Process{PID: 6, Name: "gone"}, why: byGroup, err: fmt.Errorf("process 6: %w", syscall.ESRCH)},
	}
	descriptions := gather(holdersOf(listings), func(holders []holder) ([]int, []error) {
		return []int{-1, 1, 1}, []error{syscall.EPERM, nil, nil}
	})
	descriptions = settle(descriptions, func(pid int) (fdtable.Process, error) {
		return fdtable.Process{PID: pid, Started: uint64(pid - 6)}, nil
	})
	descriptions[1].owner = &owner{ofd.Owner{Type: 1, ID: 7}, syscall.SIGUSR1}
	return listings, sharing{descriptions: descriptions, looked: 3, unseen: 1}
}

func TestWriteSharing(t *testing.T) {
	listings, s := sample()
	var out bytes.Buffer
	if err := writeSharing(&out, listings, s, false); err != nil {
		t.Fatal(err)
	}
	want := `file  read-write  O_APPEND  offset 5  flock write by 7; posix read 0-4 by 8  owner process 7 by SIGUSR1  /tmp/<\x1b>
    PID  NAME  FD  CLOEXEC
      7  a&b   9
      8  c     3   3

unknown: whether these are shared, and with whom
    PID  NAME  FD  KIND  ACCESS  WHY                                                      TARGET
      7  a&b    1  pipe  write   not ours to compare (kcmp(2): operation not permitted)  pipe:[8]

1 description is known to be shared among 3 descriptors of 2 processes
unknown: what 1 process shares, not ours to see
`
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if squeeze(out.String()) != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestSharingJSON(t *testing.T) {
	listings, s := sample()
	var out, got bytes.Buffer
	if err := writeSharingJSON(&out, listings, s); err != nil {
		t.Fatal(err)
	}
	if err := json.Compact(&got, out.Bytes()); err != nil {
		t.Fatal(err)
	}
	want := `{"descriptions":[{"holders":[{"pid":7,"name":"a&b","number":9,"close_on_exec":false},` +
		`{"pid":8,"name":"c","number":3,"close_on_exec":true}],"owner":{"type":"process","id":7,"signal":"SIGUSR1"},` +
		`"kind":"file","access":"read-write","flags":["O_APPEND"],"offset":5,"locks":[` +
		`{"type":"flock","mode":"write","state":"advisory","pid":7,"start":0,"end":null},` +
		`{"type":"posix","mode":"read","state":"advisory","pid":8,"start":0,"end":4}],` +
		`"target":"/tmp/\u003c\u001b\u003e","device":"8:1","inode":4,"detail":null,"socket":null}],` +
		`"unknown":[{"pid":7,"name":"a&b","number":1,"close_on_exec":false,"reason":"EPERM",` +
		`"kind":"pipe","access":"write","flags":[],"offset":null,"locks":[],"target":"pipe:[8]","device":"0:0","inode":8,` +
		`"detail":null,"socket":null}],` +
		`"processes":[{"pid":7,"name":"a&b","descriptors":2},{"pid":8,"name":"c","descriptors":1},` +
		`{"pid":1,"name":"init","descriptors":null,"error":"EACCES"}]}`
	want = strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(want)
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

func TestWriteDot(t *testing.T) {
	listings, s := sample()
	var out bytes.Buffer
	if err := writeDot(&out, listings, s.descriptions); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<b>a&amp;b</b> 7`, `port="d3" align="right">3 <font color="#5b6770">cloexec</font>`, `<b>/tmp/&lt;\x1b&gt;</b>`,
		"\tp7:d1:e -> o0:w\n", "\tp7:d9:e -> o1:w\n", "\tp8:d3:e -> o1:w\n", `style="rounded,dashed"`, "unknown whether shared",
		"owner process 7 by SIGUSR1",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

// A number that has come to mean another process speaks for nobody, and neither does a descriptor that has changed.
func TestSettle(t *testing.T) {
	p := []*fdtable.Process{{PID: 1, Started: 10}, {PID: 2, Started: 20}, {PID: 3, Started: 30}}
	d := &fdtable.Descriptor{}
	all := []description{
		{holders: []holder{{process: p[0], descriptor: d}, {process: p[1], descriptor: d}, {process: p[2], descriptor: d}}},
		{holders: []holder{{process: p[1], descriptor: d}}, unknown: syscall.EPERM},
		{holders: []holder{{process: p[0], descriptor: d}, {process: p[0]}}},
	}
	asked := 0
	left := settle(all, func(pid int) (fdtable.Process, error) {
		asked++
		switch pid {
		case 2:
			return fdtable.Process{PID: 2, Started: 21}, nil
		case 3:
			return fdtable.Process{}, syscall.ESRCH
		}
		return fdtable.Process{PID: 1, Started: 10}, nil
	})
	if asked != 3 || len(left) != 2 || len(left[0].holders) != 1 || len(left[1].holders) != 1 || left[0].holders[0].process != p[0] {
		t.Errorf("asked %d times: %+v", asked, left)
	}
}

func TestNumbersText(t *testing.T) {
	for want, numbers := range map[string][]int{"": nil, "3": {3}, "3,4": {3, 4}, "0-2,7": {0, 1, 2, 7}, "1,3,5-7": {1, 3, 5, 6, 7}} {
		if got := numbersText(numbers); got != want {
			t.Errorf("%v: %q, want %q", numbers, got, want)
		}
	}
}

// Borrowing a descriptor to ask for its owner must not wait for a file server, nor run a driver.
func TestMayBorrow(t *testing.T) {
	const disk, server = fdtable.Device(8 << 8), fdtable.Device(0x2a)
	for _, c := range []struct {
		d    fdtable.Descriptor
		want bool
	}{
		{fdtable.Descriptor{Kind: fdtable.KindFile, Device: disk}, true},
		{fdtable.Descriptor{Kind: fdtable.KindFile, Device: server}, false},
		{fdtable.Descriptor{Kind: fdtable.KindPipe, Device: server}, true},
		{fdtable.Descriptor{Kind: fdtable.KindDirectory, Device: server}, true},
		{fdtable.Descriptor{Kind: fdtable.KindDirectory, Flags: syscall.O_RDONLY | 0x200000}, false}, // O_PATH
		{fdtable.Descriptor{Kind: fdtable.KindCharDevice}, false},
		{fdtable.Descriptor{Kind: fdtable.KindBinder}, false},
	} {
		if got := mayBorrow(c.d); got != c.want {
			t.Errorf("%+v: %v", c.d, got)
		}
	}
}

func TestReportFailures(t *testing.T) {
	gone, secret := fmt.Errorf("x: %w", syscall.ESRCH), fmt.Errorf("x: %w", syscall.EACCES)
	for _, c := range []struct {
		l            listing
		left, unseen bool
	}{
		{listing{why: byNumber, err: gone}, false, false},
		{listing{why: byGroup, err: gone}, true, false},
		{listing{why: byChance, err: gone}, true, false},
		{listing{why: byNumber, err: secret}, false, false},
		{listing{why: byGroup, err: secret}, false, false},
		{listing{why: byChance, err: secret}, false, true},
		{listing{why: byChance, err: errors.New("x")}, false, false},
	} {
		if c.l.left() != c.left || c.l.unseen() != c.unseen {
			t.Errorf("%+v: %v %v", c.l, c.l.left(), c.l.unseen())
		}
	}
}
