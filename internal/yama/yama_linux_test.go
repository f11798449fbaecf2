package yama

import (
	"errors"
	"io/fs"
	"testing"

	"golang.org/x/sys/unix"
)

// Yama's table (Documentation/admin-guide/LSM/Yama.rst).
func TestReach(t *testing.T) {
	for _, test := range []struct {
		scope           int
		without, having Range
	}{
		{0, Everyone, Everyone},
		{1, Descendants, Everyone},
		{2, Nobody, Everyone},
		{3, Nobody, Nobody},
	} {
		if got := reach(test.scope, false); got != test.without {
			t.Errorf("scope %d: %v, want %v", test.scope, got, test.without)
		}
		if got := reach(test.scope, true); got != test.having {
			t.Errorf("scope %d, with CAP_SYS_PTRACE: %v, want %v", test.scope, got, test.having)
		}
	}
}

// What is said of this machine holds together.
func TestHere(t *testing.T) {
	scope, err := Scope()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if got := reach(scope, mayTrace()); got != Reach() {
		t.Errorf("scope %d (%v): %v, then %v", scope, err, got, Reach())
	}
	if refusal := Refusal(); (refusal != nil) != (Reach() == Nobody) || refusal != nil && !errors.Is(refusal, unix.EPERM) {
		t.Errorf("scope %d: %v", scope, refusal)
	}
}
