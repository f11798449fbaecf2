package seccomp

import (
	"strings"
	"testing"
)

func TestParseOps(t *testing.T) {
	for _, c := range []struct {
		text        string
		deny, guard Op     // what is read
		denyErr     string // part of the error instead
		guardErr    string
	}{
		{text: "flags,owner,lock", deny: Flags | Owner | Lock, guard: Flags | Owner | Lock},
		{text: "lock,lock", deny: Lock, guard: Lock},
		{text: "dup", deny: Dup},
		{text: "pass,steal,tty,mode", deny: Pass | Steal | TTY | Mode, guard: Mode},
		{text: "seek", deny: Seek, guard: Seek},
		{text: "offset", denyErr: "deny seek instead", guard: Offset},
		{text: "wberr", deny: Wberr, guardErr: "deny wberr instead"},
		{text: "", denyErr: "an operation is missing", guardErr: "an operation is missing"},
		{text: "flags,", denyErr: "an operation is missing", guardErr: "an operation is missing"},
		{text: "Flags", denyErr: `no operation "Flags" (they are dup, pass,`, guardErr: `no operation "Flags"`},
		{text: "flags, lock", denyErr: `no operation " lock"`, guardErr: `no operation " lock"`},
		{text: "none", denyErr: `no operation "none"`, guardErr: `no operation "none"`},
	} {
		deny, err := ParseDeny(c.text)
		expectParsed(t, "ParseDeny", c.text, deny, err, c.deny, c.denyErr)
		guard, err := ParseGuard(c.text)
		expectParsed(t, "ParseGuard", c.text, guard, err, c.guard, c.guardErr)
	}
}

func expectParsed(t *testing.T, parse, text string, got Op, err error, want Op, wantErr string) {
	t.Helper()
	switch {
	case wantErr == "" && (err != nil || got != want):
		t.Errorf("%s(%q) = %v, %v; want %v", parse, text, got, err, want)
	case wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)):
		t.Errorf("%s(%q) = %v, %v; want an error with %q", parse, text, got, err, wantErr)
	}
}

func FuzzParseOps(f *testing.F) {
	f.Add("flags,owner,lock")
	f.Add("offset,wberr,")
	f.Fuzz(func(t *testing.T, text string) {
		ops, err := ParseDeny(text)
		if err != nil {
			return
		}
		again, err := ParseDeny(ops.String())
		if err != nil || again != ops {
			t.Errorf("ParseDeny(%q) = %v, which reads back as %v, %v", text, ops, again, err)
		}
	})
}
