package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"syscall"
	"testing"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/internal/probe"
)

func TestWriteTable(t *testing.T) {
	columns := []column{{title: "N", right: true}, {title: "WORD"}, {title: "NOBODY"}, {title: "LAST", paint: paintRed}}
	rows := [][]string{{"1", "é", "", "x"}, {"100", "", "", "y"}, {"20", "longer", "", ""}}
	for _, c := range []struct {
		colours bool
		want    string
	}{
		{false, "  N  WORD    LAST\n  1  é       x\n100          y\n 20  longer\n"},
		{true, "  \x1b[2mN\x1b[0m  \x1b[2mWORD\x1b[0m    \x1b[2mLAST\x1b[0m\n" +
			"  1  é       \x1b[31mx\x1b[0m\n100          \x1b[31my\x1b[0m\n 20  longer\n"},
	} {
		var out bytes.Buffer
		writeTable(&out, columns, rows, c.colours)
		if out.String() != c.want {
			t.Errorf("got\n%q\nwant\n%q", out.String(), c.want)
		}
	}
}

// oneOfEach has what the formats must carry and a live table seldom shows at once.
func oneOfEach() []listing {
	return []listing{
		{
			process: fdtable.Process{PID: 7, Name: "a\x1b[2Jb"},
			descriptors: []fdtable.Descriptor{
				{
					Number: 3, Kind: fdtable.KindFile, Flags: syscall.O_RDWR | syscall.O_APPEND, Offset: math.MaxInt64,
					Target: "/tmp/\xff\n (deleted)", Device: 0x801, Inode: math.MaxUint64,
					Locks: []fdtable.Lock{
						{Type: "ofd", Mode: "write", State: "advisory", PID: -1, Start: 5, End: math.MaxInt64},
						{Type: "posix", Mode: "read", State: "advisory", PID: 9, End: 4},
					},
				},
				{
					Number: 4, Kind: fdtable.KindSocket, Flags: syscall.O_RDWR, CloseOnExec: true, Offset: 5, Target: "socket:[8]",
					Socket: &fdtable.Socket{Family: fdtable.FamilyUNIX, Type: "stream", State: fdtable.StateListening, Local: "@\x1b"},
				},
				{Number: 5, Kind: fdtable.KindPidfd, Target: "anon_inode:[pidfd]", Detail: "pid 12"},
			},
		},
		{process: fdtable.Process{PID: 8}, err: fmt.Errorf("process 8: %w", syscall.ESRCH)},
	}
}

func TestWriteListings(t *testing.T) {
	var out bytes.Buffer
	if err := writeListings(&out, oneOfEach(), true, false); err != nil {
		t.Fatal(err)
	}
	want := `process 7 (a\x1b[2Jb)
FD  KIND    ACCESS      FLAGS     CLOEXEC               OFFSET  LOCKS                                TARGET
 3  file    read-write  O_APPEND           9223372036854775807  ofd write 5-end; posix read 0-4 by 9  /tmp/\xff\n (deleted)
 4  socket  read-write            yes                                                                unix stream listening @\x1b  socket:[8]
 5  pidfd   read                                                                                     anon_inode:[pidfd] (pid 12)
`
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if squeeze(out.String()) != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestListingsJSON(t *testing.T) {
	var out bytes.Buffer
	if err := writeListingsJSON(&out, oneOfEach()); err != nil {
		t.Fatal(err)
	}
	want := `{"processes":[{"pid":7,"name":"a\u001b[2Jb","descriptors":[` +
		`{"number":3,"close_on_exec":false,"kind":"file","access":"read-write","flags":["O_APPEND"],"offset":9223372036854775807,"locks":[` +
		`{"type":"ofd","mode":"write","state":"advisory","pid":null,"start":5,"end":null},` +
		`{"type":"posix","mode":"read","state":"advisory","pid":9,"start":0,"end":4}],` +
		`"target":"/tmp/\ufffd\n (deleted)","target_bytes":"L3RtcC//CiAoZGVsZXRlZCk=","device":"8:1","inode":18446744073709551615,` +
		`"detail":null,"socket":null},` +
		`{"number":4,"close_on_exec":true,"kind":"socket","access":"read-write","flags":[],"offset":null,"locks":[],"target":"socket:[8]",` +
		`"device":"0:0","inode":0,"detail":null,` +
		`"socket":{"family":"unix","type":"stream","protocol":"","state":"listening","local":"@\u001b","peer":""}},` +
		`{"number":5,"close_on_exec":false,"kind":"pidfd","access":"read","flags":[],"offset":null,"locks":[],"target":"anon_inode:[pidfd]",` +
		`"device":"0:0","inode":0,"detail":"pid 12","socket":null}]},` +
		`{"pid":8,"name":null,"error":"ESRCH","descriptors":[]}]}`
	var got bytes.Buffer
	if err := json.Compact(&got, out.Bytes()); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

func TestParsePIDs(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  string
		fails bool
	}{
		{nil, "[]", false},
		{[]string{"5", "4", "5"}, "[5 4]", false},
		{[]string{"0"}, "[]", true},
		{[]string{"-1"}, "[]", true},
		{[]string{"1x"}, "[]", true},
		{[]string{""}, "[]", true},
		{[]string{"99999999999999999999"}, "[]", true},
	} {
		got, err := parsePIDs("--pid", c.words)
		if fmt.Sprint(got) != c.want || (err != nil) != c.fails {
			t.Errorf("%q: %v, %v", c.words, got, err)
		}
	}
}

func TestWriteCheck(t *testing.T) {
	features := []probe.Feature{
		{Name: "one", Since: "5.9", Present: true, Value: "ABI 7", Loss: probe.Failure, Effect: "-"},
		{Name: "new", Since: "7.1", Reason: "EINVAL", Loss: probe.Extra, Effect: "nothing much"},
	}
	var out bytes.Buffer
	if err := writeCheck(&out, "6.1", features, false); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.String(), "every promise holds at full strength\n") {
		t.Errorf("an extra counts:\n%s", out.String())
	}
	features = append(features, probe.Feature{Name: "two", Since: "5.9", Reason: "EPERM", Loss: probe.Fallback, Effect: "slower"})
	out.Reset()
	if err := writeCheck(&out, "6.1", features, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"two      5.9    EPERM   falls back  slower\n", "not at full strength: 1 missing"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if j := newCheckJSON("6.1", features); j.FullStrength || len(j.Features) != 3 || j.Features[0].Reason != nil || *j.Features[2].Reason != "EPERM" {
		t.Errorf("%+v", j)
	}
}
