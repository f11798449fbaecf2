package seccomp

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// program writes instructions as they are exchanged.
func program(list ...unix.SockFilter) []byte { return (&Filter{program: list}).Raw() }

func ret(answer uint32) unix.SockFilter { return unix.SockFilter{Code: opReturn, K: answer} }

func TestImportReadsWhatRawWrites(t *testing.T) {
	f, err := Compile(defaultGuard(scattered(64), Unknown))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Import(f.Raw())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.Instructions(), again.Instructions()) {
		t.Error("the program has changed")
	}
}

func TestImportAcceptsWhatTheKernelDoes(t *testing.T) {
	for name, raw := range map[string][]byte{
		"an answer": program(ret(unix.SECCOMP_RET_ALLOW)),
		"the whole vocabulary": program(
			unix.SockFilter{Code: 0x20, K: 60}, unix.SockFilter{Code: 0x80}, unix.SockFilter{Code: 0x81},
			unix.SockFilter{Code: 0x00, K: 9}, unix.SockFilter{Code: 0x01, K: 9}, unix.SockFilter{Code: 0x02, K: 15},
			unix.SockFilter{Code: 0x03, K: 3}, unix.SockFilter{Code: 0x60, K: 15}, unix.SockFilter{Code: 0x61, K: 3},
			unix.SockFilter{Code: 0x07}, unix.SockFilter{Code: 0x87}, unix.SockFilter{Code: 0x84},
			unix.SockFilter{Code: 0x04, K: 1}, unix.SockFilter{Code: 0x1c}, unix.SockFilter{Code: 0x34, K: 2},
			unix.SockFilter{Code: 0x3c}, unix.SockFilter{Code: 0x64, K: 31}, unix.SockFilter{Code: 0x7c},
			unix.SockFilter{Code: 0xa4, K: 5}, unix.SockFilter{Code: 0x5c}, unix.SockFilter{Code: 0x44}, unix.SockFilter{Code: 0x2c},
			unix.SockFilter{Code: 0x1d, Jt: 1}, unix.SockFilter{Code: 0x05}, ret(unix.SECCOMP_RET_LOG)),
	} {
		if _, err := Import(raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	allow := ret(unix.SECCOMP_RET_ALLOW)
	for _, c := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"nothing", nil, "0 instructions"},
		{"half an instruction", program(allow)[:7], "no whole number of instructions"},
		{"too many", bytes.Repeat(program(allow), maxInstructions+1), "4097 instructions"},
		{"text", []byte("#!/bin/sh\nexit 0"), "instruction 0: seccomp permits no code 0x2123"},
		{"no end", program(unix.SockFilter{Code: opLoad}), "doesn't end with a return"},
		{"a jump to the end", program(unix.SockFilter{Code: opGoto, K: 1}, allow), "instruction 0: a jump out"},
		{"a jump round the world", program(unix.SockFilter{Code: opGoto, K: all}, allow), "a jump out"},
		{"a branch out", program(unix.SockFilter{Code: opEqual, Jt: 0, Jf: 1}, allow), "a jump out"},
		{"a load behind the data", program(unix.SockFilter{Code: opLoad, K: 64}, allow), "a load from 64"},
		{"a crooked load", program(unix.SockFilter{Code: opLoad, K: 2}, allow), "a load from 2"},
		{"a byte load", program(unix.SockFilter{Code: 0x30}, allow), "no code 0x30"},
		{"a packet load", program(unix.SockFilter{Code: 0x40}, allow), "no code 0x40"},
		{"modulo", program(unix.SockFilter{Code: 0x94, K: 3}, allow), "no code 0x94"},
		{"a division by zero", program(unix.SockFilter{Code: 0x34}, allow), "division by zero"},
		{"a long shift", program(unix.SockFilter{Code: 0x64, K: 32}, allow), "shift by 32"},
		{"memory 16", program(unix.SockFilter{Code: opStore, K: 16}, allow), "memory word 16"},
		{"unwritten memory", program(unix.SockFilter{Code: opRecall}, allow), "read before it is written"},
		{
			"memory written on one way only",
			program(unix.SockFilter{Code: opEqual, Jt: 1}, unix.SockFilter{Code: opStore}, unix.SockFilter{Code: opRecall}, allow),
			"instruction 2: memory word 0 is read before it is written",
		},
		{"notification", program(ret(unix.SECCOMP_RET_USER_NOTIF)), "instruction 0: it notifies a supervisor"},
		{"notification with data", program(allow, ret(unix.SECCOMP_RET_USER_NOTIF|7)), "instruction 1: it notifies a supervisor"},
		{"a computed answer", program(unix.SockFilter{Code: opReturnA}), "computed answer"},
	} {
		_, err := Import(c.raw)
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: %v, want EINVAL with %q", c.name, err, c.want)
		}
	}
}

func FuzzImport(f *testing.F) {
	filter, err := Compile(defaultGuard(contiguous(4), Unknown))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(filter.Raw())
	f.Add(program(ret(unix.SECCOMP_RET_ALLOW)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		filter, err := Import(raw)
		if err == nil && !bytes.Equal(filter.Raw(), raw) {
			t.Error("a program changes on its way in and out")
		}
	})
}
