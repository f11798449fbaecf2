package seccomp

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestAsking: what is guarded by description is asked about under every number, and the filter beside leaves dup and what is received
// alone.
func TestAsking(t *testing.T) {
	p := Policy{Arch: AMD64, Guard: true, ByDescription: true, Landlock: 6}.
		Keep(Descriptor{Number: 3, Kind: Regular, Guard: Flags | Owner | Lock},
			Descriptor{Number: 0, Kind: Pipe, Guard: Flags, Advisory: true})
	asking, err := CompileAsking(p)
	if err != nil {
		t.Fatal(err)
	}
	beside, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	const garbage = 0xdead << 32
	refuse, allow, ask := refused(unix.EPERM), uint32(unix.SECCOMP_RET_ALLOW), uint32(unix.SECCOMP_RET_USER_NOTIF)
	for _, test := range []struct {
		name         string
		call         int32
		arguments    [6]uint64
		asks, beside uint32
	}{
		{"F_SETFL", 72, [6]uint64{3, unix.F_SETFL}, ask, allow},
		{"F_SETFL elsewhere", 72, [6]uint64{77 | garbage, unix.F_SETFL | garbage}, ask, allow},
		{"F_GETFL", 72, [6]uint64{3, unix.F_GETFL}, allow, allow},
		{"F_DUPFD", 72, [6]uint64{3, unix.F_DUPFD}, allow, allow},
		{"dup2", 33, [6]uint64{3, 40}, allow, allow},
		{"FIONBIO", 16, [6]uint64{9, fionbio}, ask, allow},
		{"SNDCTL_DSP_NONBLOCK, without a device", 16, [6]uint64{9, dspNonblock}, allow, allow},
		{"FIOSETOWN, without a socket", 16, [6]uint64{9, fiosetown}, allow, allow},
		{"flock", 73, [6]uint64{9, unix.LOCK_EX}, ask, allow},
		{"F_OFD_SETLKW", 72, [6]uint64{9, unix.F_OFD_SETLKW}, ask, allow},
		{"F_SETLK, which is the process's", 72, [6]uint64{9, unix.F_SETLK}, allow, allow},
		{"F_SETLEASE", 72, [6]uint64{9, unix.F_SETLEASE}, ask, allow},
		{"F_NOTIFY, without a directory", 72, [6]uint64{9, unix.F_NOTIFY}, allow, allow},
		{"lseek, which isn't guarded", 8, [6]uint64{3, 1, unix.SEEK_SET}, allow, allow},
		{"mq_getsetattr, without a queue", 245, [6]uint64{3, 1}, allow, allow},
		{"recvmsg", 47, [6]uint64{9}, allow, allow},
		{"socket(AF_UNIX)", 41, [6]uint64{unix.AF_UNIX}, allow, refuse},
		{"socketpair(AF_UNIX, SOCK_DGRAM)", 53, [6]uint64{unix.AF_UNIX, unix.SOCK_DGRAM}, allow, refuse},
		{"pidfd_getfd", 438, [6]uint64{}, allow, refuse},
		{"mount, because of the pipe", 165, [6]uint64{}, allow, refuse},
		{"seccomp with a listener", 317, [6]uint64{1, 8}, allow, refuse},
		{"io_uring_setup", 425, [6]uint64{}, allow, refused(unix.ENOSYS)},
	} {
		e := event{number: uint32(test.call), arch: machines[machineX86_64].audit, arguments: test.arguments}
		if got, _ := interpret(t, asking.program, e); got != test.asks {
			t.Errorf("%s: the filter that asks answers %s", test.name, answerName(got))
		}
		if got, _ := interpret(t, beside.program, e); got != test.beside {
			t.Errorf("%s: the filter beside it answers %s", test.name, answerName(got))
		}
	}
	for _, op := range []Op{Offset, Mode} {
		if _, err := Compile(p.Keep(Descriptor{Number: 5, Guard: op})); err == nil {
			t.Errorf("%v by description: no error", op)
		}
	}
	if filter, err := CompileAsking(Policy{Guard: true, ByDescription: true}); filter != nil || err != nil {
		t.Errorf("nothing is guarded, and %v, %v", filter, err)
	}
}

func TestCallString(t *testing.T) {
	for want, call := range map[string]Call{
		"fcntl(3, F_SETFL, 2049)":        {72, machines[machineX86_64].audit, [6]uint64{3 | 7<<32, unix.F_SETFL, 2049}},
		"ioctl(-1, FIONBIO, 0x7ffd0000)": {16, machines[machineX86_64].audit, [6]uint64{1<<32 - 1, fionbio, 0x7ffd0000}},
		"flock(4, LOCK_EX|LOCK_NB)":      {143, machines[machineI386].audit, [6]uint64{4, 6}},
		"lseek(0, 5, SEEK_END)":          {62, machines[machineAArch64].audit, [6]uint64{0, 5, 2}},
		"call 9999":                      {9999, machines[machineX86_64].audit, [6]uint64{}},
		"call 72":                        {72, 1, [6]uint64{}},
	} {
		if got := call.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
