package run

import (
	"reflect"
	"testing"
)

func TestSessionName(t *testing.T) {
	for _, s := range []*session{
		{far: map[int]int{}, control: 3, tty: 4, callers: 5},
		{far: map[int]int{0: 7, 1: 7, 2: 7, 1000: 9}, control: 6, tty: 7, callers: 8, foreground: true},
	} {
		if got := parseSession(s.name()); !reflect.DeepEqual(got, s) {
			t.Errorf("%q: %+v, want %+v", s.name(), got, s)
		}
	}
	for _, name := range []string{
		"", "safeexec", "safeexec (relay)", "safeexec (relay) ", "safeexec (relay) 3 4 5", "safeexec (relay) 3 4 x true",
		"safeexec (relay) 3 4 5 maybe", "safeexec (relay) 3 4 5 true 0", "safeexec (relay) 3 4 5 true 0=x",
		"safeexec (relay) 3 4 2 true", "safeexec (relay) 3 4 5 true 0=1", "safeexec (relay) -3 4 5 true",
	} {
		if s := parseSession(name); s != nil {
			t.Errorf("%q: %+v", name, s)
		}
	}
}

// Whatever is taken means the same when it is written again.
func FuzzSessionName(f *testing.F) {
	f.Add("safeexec (relay) 6 7 8 true 0=7 1=7")
	f.Add("safeexec (relay) 3 4 5 false")
	f.Fuzz(func(t *testing.T, name string) {
		s := parseSession(name)
		if s == nil {
			return
		}
		if again := parseSession(s.name()); !reflect.DeepEqual(again, s) {
			t.Errorf("%q: %+v, again %+v", name, s, again)
		}
	})
}
