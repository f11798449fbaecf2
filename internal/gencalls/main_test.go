package main

import (
	"bytes"
	"os"
	"testing"
)

// The table that is committed is what go generate makes. This takes Go.
func TestTableIsGenerated(t *testing.T) {
	want, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../seccomp/profile_table.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("seccomp/profile_table.go isn't what golang.org/x/sys/unix says: run go generate ./seccomp")
	}
}

func TestX32(t *testing.T) {
	table := map[string]*numbers{
		"read": {0, 3, 63, 3, none}, "ioctl": {16, 54, 29, 54, none}, "uselib": {134, 86, none, 86, none}, "socketcall": {none, 102, none, 102, none},
	}
	calls := x32(table)
	if len(calls) != 2 || calls["read"] != x32Bit || calls["ioctl"] != x32Bit|514 {
		t.Errorf("%v", calls)
	}
}
