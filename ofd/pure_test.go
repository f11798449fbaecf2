package ofd

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseInfo(t *testing.T) {
	cases := []struct {
		name, text string
		want       info
		err        bool
	}{
		{"file", "pos:\t12\nflags:\t0102002\nmnt_id:\t29\nino:\t77\n", info{offset: 12, flags: 0o102002}, false},
		{
			"locks", "pos:\t0\nflags:\t0100000\nmnt_id:\t1\nino:\t2\n" +
				"lock:\t1: POSIX  ADVISORY  WRITE 359 00:13:11691 0 EOF\n" +
				"lock:\t2: OFDLCK ADVISORY  READ  -1 00:13:11691 2 4\n" +
				"lock:\t3: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF\n" +
				"lock:\t4: LEASE  BREAKING  READ  359 08:01:18446744073709551615 0 EOF\n" +
				"lock:\t5: DELEG  ACTIVE    READ  1 <none>:0 0 EOF\n",
			info{flags: 0o100000, locks: []Lock{
				{"posix", true, 359, 0, -1},
				{"ofd", false, -1, 2, 4},
				{"flock", true, 359, 0, -1},
				{"lease", false, 359, 0, -1},
				{"delegation", false, 1, 0, -1},
			}},
			false,
		},
		{"what others add", "pos:\t0\nflags:\t02\nmnt_id:\t16\nino:\t1061\ntfd: 5 events: 19 data: 5 pos:0\n", info{flags: 2}, false},
		{"a kind of lock that is new", "pos:\t0\nflags:\t02\nlock:\t1: NEWLCK ADVISORY READ 1 00:01:2 0 EOF\n", info{flags: 2, locks: []Lock{{"newlck", false, 1, 0, -1}}}, false},
		{"empty", "", info{}, true},
		{"no flags", "pos:\t0\n", info{}, true},
		{"not a number", "pos:\tx\nflags:\t02\n", info{}, true},
		{"not octal", "pos:\t0\nflags:\t9\n", info{}, true},
		{"lock cut off", "pos:\t0\nflags:\t02\nlock:\t1: FLOCK  ADVISORY  WRITE 359 00:13\n", info{}, true},
		{"lock before the beginning", "pos:\t0\nflags:\t02\nlock:\t1: POSIX ADVISORY READ 1 00:01:2 -5 EOF\n", info{}, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseInfo(c.text)
			if (err != nil) != c.err || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

// FuzzParseInfo sees that whatever is read is either refused or means what it says.
func FuzzParseInfo(f *testing.F) {
	f.Add("pos:\t12\nflags:\t0102002\nmnt_id:\t29\nino:\t77\nlock:\t1: POSIX  ADVISORY  WRITE 359 00:13:11691 0 EOF\n")
	f.Add("pos:\t0\nflags:\t02\nlock:\t1: -> FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF\n")
	f.Add("pos:\t-1\nflags:\t\nlock:")
	f.Fuzz(func(t *testing.T, text string) {
		in, err := parseInfo(text)
		if err != nil {
			if !reflect.DeepEqual(in, info{}) {
				t.Errorf("%+v in spite of %v", in, err)
			}
			return
		}
		if n := strings.Count("\n"+text, "\nlock"); len(in.locks) > n {
			t.Errorf("%d locks in %d lines", len(in.locks), n)
		}
		for _, l := range in.locks {
			if l.Start < 0 || l.End < -1 || l.Kind == "" || l.String() == "" {
				t.Errorf("%+v", l)
			}
		}
		if changes := (State{Locks: in.locks}).Diff(State{Locks: in.locks}); changes != nil {
			t.Errorf("differs from itself: %v", changes)
		}
	})
}

func TestHasLock(t *testing.T) {
	const text = "1: POSIX  ADVISORY  READ 7 00:13:100 0 EOF\n" +
		"1: -> POSIX  ADVISORY  WRITE 8 00:13:100 0 EOF\n" +
		"nonsense\n" +
		"2: LEASE  ACTIVE    READ  9 00:14:101 0 EOF\n"
	cases := []struct {
		inode uint64
		kind  string
		pid   int
		want  bool
	}{
		{100, "posix", 7, true},
		{100, "posix", 0, true},
		{100, "posix", 8, false}, // waits
		{100, "flock", 7, false},
		{101, "posix", 7, false},
		{101, "lease", 0, true},
		{101, "lease", 1, false},
	}
	for _, c := range cases {
		if got := hasLock(text, c.inode, c.kind, c.pid); got != c.want {
			t.Errorf("%s of %d on %d: %v", c.kind, c.pid, c.inode, got)
		}
	}
}

func TestDiff(t *testing.T) {
	flock, ofd := Lock{"flock", true, 1, 0, -1}, Lock{"ofd", false, -1, 0, 9}
	cases := []struct {
		name          string
		before, after State
		want          []string
	}{
		{"nothing", State{Offset: 4}, State{Offset: 4}, nil},
		{"flags", State{Flags: unix.O_APPEND}, State{Flags: unix.O_NONBLOCK | unix.O_ASYNC}, []string{"O_APPEND cleared", "O_NONBLOCK set", "O_ASYNC set"}},
		{"flags that never change", State{Flags: 0o100000}, State{}, nil},
		{"offset", State{Offset: 1}, State{Offset: 1 << 40}, []string{"offset moved from 1 to 1099511627776"}},
		{"access", State{Access: unix.O_RDWR}, State{Access: 3}, []string{"access changed from reading and writing to none"}},
		{"owner", State{Owner: Owner{ownerGroup, 5}}, State{Owner: Owner{ownerThread, 6}}, []string{"owner changed from process group 5 to thread 6"}},
		{"signal", State{Signal: unix.SIGIO}, State{Signal: 40}, []string{"signal changed from SIGIO to signal 40"}},
		{"locks", State{Locks: []Lock{flock, flock}}, State{Locks: []Lock{ofd, flock}}, []string{"exclusive flock dropped", "shared OFD lock on bytes 0 to 9 taken"}},
	}
	for _, c := range cases {
		if got := c.before.Diff(c.after); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

var errGone = errors.New("gone")

// TestGroupAgainstModel groups references in a model of the kernel where they vanish at random, and compares.
func TestGroupAgainstModel(t *testing.T) {
	random := rand.New(rand.NewPCG(seed(t), 1))
	for range 300 {
		n := random.IntN(60)
		refs, description, order := make([]Ref, n), make([]int, n), random.Perm(20)
		for i := range refs {
			description[i] = random.IntN(20)
			refs[i] = Ref{PID: i, Key: strings.Repeat("k", description[i]%4)}
		}
		gone := make([]bool, n)
		calls, mortal := 0, random.IntN(3) == 0
		g := newGrouping(refs, func(a, b Ref) (int, error) {
			calls++
			if mortal && random.IntN(10) == 0 {
				gone[random.IntN(n)] = true
			}
			if gone[a.PID] || gone[b.PID] || mortal && a != b && random.IntN(50) == 0 {
				return 0, errGone
			}
			return order[description[a.PID]] - order[description[b.PID]], nil
		})
		ids := g.run()
		if !mortal && calls > n+n*8 {
			t.Fatalf("%d calls for %d references", calls, n)
		}
		for i := range ids {
			if (ids[i] == -1) != (g.errs[i] != nil) {
				t.Fatalf("reference %d: id %d, error %v", i, ids[i], g.errs[i])
			}
			for j := range ids {
				if ids[i] >= 0 && ids[j] >= 0 && (ids[i] == ids[j]) != (description[i] == description[j]) {
					t.Fatalf("references %d and %d: ids %d and %d, descriptions %d and %d", i, j, ids[i], ids[j], description[i], description[j])
				}
			}
		}
	}
}

func TestRefusalText(t *testing.T) {
	err := error(&Refusal{FD: 7, Reason: ErrNoFile, Err: unix.ENXIO, Instead: "pass it shared"})
	const want = "ofd: reopen descriptor 7: it has no file to open again (no such device or address): pass it shared"
	if err.Error() != want {
		t.Errorf("got %q", err)
	}
	if !errors.Is(err, ErrNoFile) || !errors.Is(err, unix.ENXIO) || errors.Is(err, ErrHangup) {
		t.Error("errors.Is")
	}
}
