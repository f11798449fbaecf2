package seccomp

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// exampleFilter has one descriptor of each means: 0 advisory, 3 and 4 strict.
func exampleFilter(t *testing.T) *Filter {
	t.Helper()
	f, err := Compile(Policy{Guard: true, Landlock: 7, Arch: AMD64, Deny: Wberr}.Keep(
		Descriptor{Number: 0, Kind: Socket, Guard: DefaultGuard &^ Seek, Advisory: true},
		Descriptor{Number: 3, Kind: Regular, Guard: DefaultGuard},
		Descriptor{Number: 4, Kind: UnixSocket, Guard: DefaultGuard},
	))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestExplain(t *testing.T) {
	f := exampleFilter(t)
	for _, c := range []struct{ call, want string }{
		{"getppid()", "permitted: no rule names getppid"},
		{"fcntl(1, F_SETFL)", "permitted: no rule refuses it"},
		{"fcntl(3, F_SETFL, O_NONBLOCK)", "refused with EPERM: fcntl(fd 3-4, cmd F_SETFL) [flags]"},
		{"fcntl(0, F_SETFL)", "success is reported and nothing done: fcntl(fd 0, cmd F_SETFL) [flags]"},
		{"fcntl(0x300000003, 4)", "refused with EPERM: fcntl(fd 3-4, cmd F_SETFL) [flags]"},
		{"ioctl(3, FIONBIO, 0x7ffe0000)", "refused with EPERM: ioctl(fd 3-4, cmd FIONBIO|FIOASYNC) [flags]"},
		{"dup2(3, 3)", "permitted: no rule refuses it"},
		{"dup2(3, 4)", "refused with EPERM: dup2(oldfd 3, newfd none of 3) [dup]"},
		{"dup2(5, 3)", "permitted: no rule refuses it"},
		{"dup(-1)", "permitted: no rule refuses it"},
		{"lseek(3, 0, SEEK_CUR)", "permitted: no rule refuses it"},
		{"lseek(3, 1, SEEK_CUR)", "refused with EPERM: lseek(fd 3, offset not 0) [seek]"},
		{"lseek(3, 1)", "perhaps refused with EPERM: lseek(fd 3, whence not SEEK_CUR) [seek]\n" +
			"refused with EPERM: lseek(fd 3, offset not 0) [seek]"},
		{"flock(?, LOCK_EX|LOCK_NB)", "perhaps refused with EPERM: flock(fd 0,3-4) [lock]\npermitted: no rule refuses it"},
		{"socketpair(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0)", "permitted: no rule refuses it"},
		{"socketpair(AF_UNIX, SOCK_DGRAM, 0)", "refused with EPERM: socketpair(family AF_UNIX, type & 0xf not SOCK_STREAM|SOCK_SEQPACKET) [pass]"},
		{"io_uring_setup()", "refused with ENOSYS: io_uring_setup(...) [dup,pass,offset,mode,wberr]"},
		{"sendmsg(4)", "refused with EPERM: sendmsg(fd 4) [pass]"},
		{"fsync(5)", "refused with EPERM: fsync(...) [wberr]"},
		{" x86_64:flock( 3 ) ", "refused with EPERM: flock(fd 0,3-4) [lock]"},
		{"i386:flock(3)", "the process is killed (SIGSYS): the filter has no rules for i386"},
	} {
		got, err := f.Explain(c.call)
		if err != nil || got != c.want {
			t.Errorf("%s:\ngot  %q, %v\nwant %q", c.call, got, err, c.want)
		}
	}
}

func TestExplainRefuses(t *testing.T) {
	f := exampleFilter(t)
	for call, want := range map[string]string{
		"":                       "write a call",
		"flock":                  "write a call",
		"flock(3":                "write a call",
		"flock 3":                "write a call",
		"(3)":                    "write a call",
		"Flock(3)":               "write a call",
		"flock(three)":           `fd: "three" is no number and no name for it`,
		"fcntl(3, F_SETLF)":      `cmd: "F_SETLF" is no number`,
		"lseek(3, 0, SEEK_CUR|)": `whence: "" is no number`,
		"read(1,2,3,4,5,6,7)":    "six arguments at most",
		"mips:flock(3)":          `no table "mips"`,
		"x86_64:fcntl64(3, 4)":   "x86_64 has no call fcntl64",
	} {
		got, err := f.Explain(call)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want an error with %q", call, got, err, want)
		}
	}
	imported, err := Import(f.Raw())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := imported.Explain("flock(3)"); err == nil {
		t.Error("an imported program is explained")
	}
	if _, _, err := imported.OCI(); err == nil {
		t.Error("an imported program is exported to OCI")
	}
	if want := "imported program of"; !strings.Contains(imported.Text(), want) || imported.Missing() != nil {
		t.Errorf("the text of an imported program: %q, missing %q", imported.Text(), imported.Missing())
	}
}

// TestExplanationsAgree compares what is explained with what the program answers.
func TestExplanationsAgree(t *testing.T) {
	f := exampleFilter(t)
	for _, id := range []callID{callFcntl, callIoctl, callDup, callDup3, callLseek, callSendmsg, callSocketpair, callSplice} {
		for a0 := range uint64(6) {
			for _, a1 := range []uint64{0, 1, 3, 4, 1030, fionbio, 0x5412} {
				for a2 := range uint64(6) {
					e := event{number: uint32(calls[id].number[0]), arch: machines[0].audit, arguments: [6]uint64{a0, a1, a2}}
					answer, _ := interpret(t, f.program, e)
					arguments := [6]argument{{a0, true}, {a1, true}, {a2, true}, {0, true}, {0, true}, {0, true}}
					got := f.set.verdict(f.set.rulesFor(id), arguments, machineX86_64)
					if !strings.HasPrefix(got, answerName(answer)) {
						t.Errorf("%s%v: the program answers %#x, explained as %q", calls[id].name, e.arguments, answer, got)
					}
				}
			}
		}
	}
}

func FuzzExplain(f *testing.F) {
	filter, err := Compile(defaultGuard(contiguous(2), Unknown))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("fcntl(1, F_SETFL)")
	f.Add("arm:preadv2(3, ?, -1, 0xffffffff)")
	f.Fuzz(func(t *testing.T, call string) {
		text, err := filter.Explain(call)
		if (err == nil) != (text != "") {
			t.Errorf("%q: %q, %v", call, text, err)
		}
	})
}

func TestText(t *testing.T) {
	text := exampleFilter(t).Text()
	for _, want := range []string{
		"amd64, native; deny wberr; advisory guard flags,owner,lock on 0 (socket);",
		"\nx86_64\n  copy",
		"\n  dup(oldfd 3-4): refused with EPERM [dup]\n",
		"\n  fcntl(fd 0, cmd F_SETFL): success is reported and nothing done [flags]\n",
		"\n  fcntl(fd 0,3-4, cmd F_OFD_SETLK|F_OFD_SETLKW): refused with EPERM [lock]\n",
		"\n  mount(...)",
		"all other calls: permitted\n",
		"besides the filter: a Landlock domain",
	} {
		absent := want == "\nx86_64\n  copy" || want == "\n  mount(...)" // neither the offset nor a pipe is guarded
		if strings.Contains(text, want) == absent {
			t.Errorf("%q is in the text: %v\n%s", want, !absent, text)
		}
	}
}

func TestMissing(t *testing.T) {
	for _, c := range []struct {
		policy Policy
		want   string
	}{
		{Policy{Deny: Flags}, ""},
		{Policy{Deny: Steal}, "through /proc/PID/mem"},
		{Policy{Guard: true}, "through /proc/PID/mem"},
		{Policy{Guard: true, Landlock: 9}.Keep(Descriptor{Number: 3, Guard: Lock}), "UNIX sockets outside"},
	} {
		f, err := Compile(c.policy)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(f.Missing(), "\n")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%v: missing %q, want %q", f, got, c.want)
		}
	}
	if f, err := Compile(Policy{Action: Errno(unix.EACCES)}); err != nil || f.Missing() != nil {
		t.Errorf("%v, %v", f, err)
	}
}
