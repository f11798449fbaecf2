package fdtable

import (
	"encoding/binary"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

func TestKindOfTarget(t *testing.T) {
	for _, c := range []struct {
		target string
		kind   Kind
		inode  uint64
		known  bool
	}{
		{"pipe:[8933]", KindPipe, 8933, true},
		{"socket:[8916]", KindSocket, 8916, true},
		{"pidfd:[3]", KindPidfd, 3, true},
		{"net:[4026531833]", KindNamespace, 4026531833, true},
		{"pid_for_children:[4026531836]", KindNamespace, 4026531836, true},
		{"anon_inode:[eventfd]", KindEventfd, 0, true},
		{"anon_inode:[eventpoll]", KindEpoll, 0, true},
		{"anon_inode:inotify", KindInotify, 0, true},
		{"anon_inode:[pidfd]", KindPidfd, 0, true},
		{"anon_inode:seccomp notify", KindSeccompListener, 0, true},
		{"anon_inode:bpf_link", KindBPFLink, 0, true},
		{"anon_inode:kvm-vcpu:3", KindKVM, 0, true},
		{"anon_inode:[something new]", KindAnon, 0, true},
		{"anon_inode:", KindAnon, 0, true},
		{"/pipe:[8933]", "", 0, false},
		{"/a/socket:[1]", "", 0, false},
		{"(unreachable)/x", "", 0, false},
		{"pipe:[8933", "", 0, false},
		{"pipe:[x]", "", 0, false},
		{"other:[1]", "", 0, false},
		{"/memfd:x (deleted)", "", 0, false},
		{"", "", 0, false},
	} {
		kind, inode, known := kindOfTarget(c.target)
		if kind != c.kind || inode != c.inode || known != c.known {
			t.Errorf("%q: %q %d %v", c.target, kind, inode, known)
		}
	}
}

func TestKindOfInternal(t *testing.T) {
	for _, c := range []struct {
		kind   Kind
		target string
		magic  int64
		want   Kind
	}{
		{KindFile, "/memfd:x (deleted)", magicTmpfs, KindMemfd},
		{KindFile, "/memfd:x (deleted)", magicHugetlbfs, KindMemfd},
		{KindFile, "/memfd:x", magicTmpfs, KindFile},
		{KindFile, "/queue", magicMessageQueue, KindMessageQueue},
		{KindDirectory, "/dev/mqueue", magicMessageQueue, KindDirectory},
		{KindFile, "/tmp/eighty bytes", magicTmpfs, KindFile},
		{KindFile, "/secretmem (deleted)", magicSecretMemory, KindSecretMemory},
		{KindAnon, "/dmabuf:name", magicDMABuf, KindDMABuf},
		{KindFile, "/dmabuf:name", 0xef53, KindFile},
	} {
		if got := kindOfInternal(c.kind, c.target, c.magic); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestKindOfDevice(t *testing.T) {
	drivers := []byte("/dev/tty             /dev/tty        5       0 system:/dev/tty\n" +
		"my serial            /dev/ttyX     204 64-67 serial\n" +
		"pty_master           /dev/ptm      200 0-1048575 pty:master\nrubbish\n")
	for _, c := range []struct {
		major, minor uint32
		fixed, full  Kind
	}{
		{1, 3, KindMemoryDevice, KindMemoryDevice},
		{1, 1, KindCharDevice, KindCharDevice}, // /dev/mem is no harmless one
		{1, 9, KindMemoryDevice, KindMemoryDevice},
		{1, 11, KindCharDevice, KindCharDevice}, // /dev/kmsg
		{5, 0, KindTerminal, KindTerminal},
		{5, 1, KindTerminal, KindTerminal},
		{5, 2, KindPTYMaster, KindPTYMaster},
		{136, 7, KindTerminal, KindTerminal},
		{143, 0, KindTerminal, KindTerminal},
		{128, 0, KindPTYMaster, KindPTYMaster},
		{4, 64, KindTerminal, KindTerminal},
		{10, 232, KindKVM, KindKVM},
		{204, 63, KindCharDevice, KindCharDevice},
		{204, 67, KindCharDevice, KindTerminal},
		{200, 9, KindCharDevice, KindPTYMaster},
	} {
		fixed := kindOfDevice(c.major, c.minor)
		full := fixed
		if fixed == KindCharDevice {
			full = parseTTYDrivers(drivers, c.major, c.minor)
		}
		if fixed != c.fixed || full != c.full {
			t.Errorf("%d:%d: %q, %q", c.major, c.minor, fixed, full)
		}
	}
}

func TestParseDeviceNames(t *testing.T) {
	devices := []byte("Character devices:\n  1 mem\n  4 /dev/vc/0\n  4 tty\n508 binder\n\nBlock devices:\n253 zram\n")
	misc := []byte("229 fuse\n 58 hwbinder\n")
	for _, c := range []struct {
		data   []byte
		number uint32
		want   string
	}{{devices, 1, "mem"}, {devices, 508, "binder"}, {devices, 253, ""}, {misc, 58, "hwbinder"}, {misc, 5, ""}, {nil, 0, ""}} {
		if got := parseDeviceNames(c.data, c.number); got != c.want {
			t.Errorf("%d: %q", c.number, got)
		}
	}
	if !isBinder("hwbinder") || isBinder("fuse") {
		t.Error("isBinder")
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		flags  Flags
		access string
		names  []string
	}{
		{unix.O_RDONLY, "read", nil},
		{unix.O_WRONLY | unix.O_APPEND | unix.O_CLOEXEC, "write", []string{"O_APPEND"}},
		{unix.O_RDWR | unix.O_SYNC, "read-write", []string{"O_SYNC"}},
		{unix.O_RDWR | unix.O_DSYNC | unix.O_DIRECT | unix.O_ASYNC, "read-write", []string{"O_DSYNC", "O_ASYNC", "O_DIRECT"}},
		{3, "none", nil},
		{unix.O_PATH | unix.O_DIRECTORY, "path", []string{"O_PATH", "O_DIRECTORY"}},
		{unix.O_TMPFILE | unix.O_RDWR | largeFile, "read-write", []string{"O_TMPFILE", "O_LARGEFILE"}},
		{unix.O_NONBLOCK | 0x4000000, "read", []string{"O_NONBLOCK", "0x4000000"}},
	} {
		if c.flags.Access() != c.access || !slices.Equal(c.flags.Names(), c.names) {
			t.Errorf("%#o: %s %v", c.flags, c.flags.Access(), c.flags.Names())
		}
	}
}

func TestParseLock(t *testing.T) {
	for _, c := range []struct {
		line string
		want Lock
		text string
	}{
		{"1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF", Lock{"flock", "write", "advisory", 359, 0, math.MaxInt64}, "flock write by 359"},
		{"12: POSIX  ADVISORY  READ 1 fe:00:99 5 14", Lock{"posix", "read", "advisory", 1, 5, 14}, "posix read 5-14 by 1"},
		{"1: OFDLCK ADVISORY  WRITE -1 fe:00:99 100 EOF", Lock{"ofd", "write", "advisory", -1, 100, math.MaxInt64}, "ofd write 100-end"},
		{"1: LEASE  ACTIVE    READ 7 fe:00:99 0 EOF", Lock{"lease", "read", "active", 7, 0, math.MaxInt64}, "lease read by 7"},
		{"1: LEASE  BREAKING  UNLCK 7 fe:00:99 0 EOF", Lock{"lease", "none", "breaking", 7, 0, math.MaxInt64}, "lease none breaking by 7"},
		{"1: DELEG  ACTIVE    READ 0 fe:00:99 0 EOF", Lock{"delegation", "read", "active", 0, 0, math.MaxInt64}, "delegation read"},
	} {
		lock, ok := parseLock(c.line)
		if !ok || lock != c.want || lock.String() != c.text {
			t.Errorf("%q: %+v %v %q", c.line, lock, ok, lock)
		}
		if lock.OnDescription() == (lock.Type == "posix") {
			t.Errorf("%q: on the description: %v", c.line, lock.OnDescription())
		}
	}
	for _, line := range []string{
		"", "1: -> FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF", "1: NEW ADVISORY WRITE 1 0:0:0 0 EOF",
		"1: FLOCK ADVISORY WRITE x 0:0:0 0 EOF", "1: FLOCK ADVISORY WRITE 1 0:0:0 0 x", "1: FLOCK ADVISORY WRITE 1 0:0:0 0",
	} {
		if lock, ok := parseLock(line); ok {
			t.Errorf("%q: %+v", line, lock)
		}
	}
}

func TestParseFdinfo(t *testing.T) {
	for _, c := range []struct {
		text string
		want fdinfo
		ok   bool
	}{
		{"pos:\t0\nflags:\t02000002\n", fdinfo{flags: 0o2000002}, true}, // as old as they come
		{"pos:\t4611686018427387904\nflags:\t0100000\nmnt_id:\t26\nino:\t99\n", fdinfo{offset: 1 << 62, flags: 0o100000, inode: 99}, true},
		{
			"pos:\t-1\nflags:\t02\nmnt_id:\t26\nino:\t9\nlock:\t1: FLOCK  ADVISORY  READ 3 fe:00:9 0 EOF\neventfd-count: 10\n",
			fdinfo{
				offset: -1, flags: 2, inode: 9, locks: []Lock{{"flock", "read", "advisory", 3, 0, math.MaxInt64}},
				rest: []byte("eventfd-count: 10\n"),
			},
			true,
		},
		{"pos:\t0\n", fdinfo{}, false},
		{"flags:\tx\n", fdinfo{}, false},
		{"", fdinfo{}, false},
	} {
		info, ok := parseFdinfo([]byte(c.text))
		if ok != c.ok || !reflect.DeepEqual(info, c.want) {
			t.Errorf("%q: %+v %v", c.text, info, ok)
		}
	}
}

func TestDetail(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		rest string
		want string
	}{
		{KindPidfd, "Pid:\t5313\nNSpid:\t5313\n", "pid 5313"},
		{KindPidfd, "Pid:\t-1\n", "ended"},
		{KindPidfd, "Pid:\t0\n", "out of sight"},
		{KindPidfd, "", ""},
		{KindEventfd, "eventfd-count:               1a\neventfd-id: 1\n", "counter 26"},
		{KindTimerfd, "clockid: 9\n", "clock boottime-alarm"},
		{KindTimerfd, "clockid: 77\n", "clock 77"},
		{KindSignalfd, "sigmask:\t8000000000000001\n", "signals 1,64"},
		{KindDMABuf, "size:\t4096\ncount:\t2\nexp_name:\tsystem\n", "exporter system"},
		{KindBPFLink, "link_type:\ttracing\nlink_id:\t4\n", "id 4"},
		{KindFile, "Pid:\t1\n", ""},
	} {
		if got := detail(c.kind, []byte(c.rest)); got != c.want {
			t.Errorf("%s %q: %q", c.kind, c.rest, got)
		}
	}
}

func TestPrintable(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"/var/log/x", "/var/log/x"},
		{"", ""},
		{"a\nb\x1b[31m", `a\nb\x1b[31m`},
		{"\x9b", `\x9b`},
		{"ü \u202e \"q\" \\", `ü \u202e "q" \\`},
		{"\u0085", `\u0085`},
	} {
		if got := Printable(c.in); got != c.want {
			t.Errorf("%q: %s", c.in, got)
		}
	}
}

func TestParseSockets(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the samples come from a little-endian machine")
	}
	tables := map[string]string{
		"net/tcp": "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
			"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1 0000000000000000 100 0 0 10 0\n" +
			"   1: 0100007F:C350 0200000A:0050 08 00000000:00000000 00:00000000 00000000  1000        0 102 1 0000000000000000\n" +
			"   2: 0100007F:C350 0200000A:0050 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0000000000000000\n",
		"net/udp6": "  900: B80D0120000000000000000001000000:0035 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 103 2 0 0\n",
		"net/raw":  "    1: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 104 2 0000000000000000 0\n",
		"net/netlink": "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n" +
			"000000002ea6ad32 9   4294963200 00000000 0        0        0     2        0        105     \n",
		"net/packet": "000000008852e334 2      3    0003   2     0 0      0      106  \n",
		"net/unix": "Num       RefCount Protocol Flags    Type St Inode Path\n" +
			"0000000000000000: 00000002 00000000 00010000 0005 01   107 /run/udev control\n" +
			"0000000000000000: 00000003 00000000 00000000 0001 03   108\n" +
			"0000000000000000: 00000002 00000000 00000000 0002 01   109 @abstract\n" +
			"0000000000000000: 00000002 00000000 00000000 0001 01   110 /real\n" +
			"0000000000000000: 00000002 00000000 00000000 0001 01   111 /tmp/\n" +
			"0000000000000000: 00000002 00000000 00000000 0001 01   110 /forged\n" +
			"0000000000000000: 00000002 00000000 00000000 0001 01   101 /forged\n",
	}
	ns := &netns{sockets: map[uint64]Socket{}}
	for _, table := range socketTables() {
		if text, ok := tables[table.file]; ok {
			found := map[uint64]Socket{}
			parseSockets([]byte(text), table.parse, found)
			for inode, s := range found {
				if _, known := ns.sockets[inode]; !known {
					ns.sockets[inode] = s
				}
			}
		}
	}
	want := map[uint64]Socket{
		101: {"inet", "stream", "tcp", StateListening, "127.0.0.1:8080", ""},
		102: {"inet", "stream", "tcp", "close-wait", "127.0.0.1:50000", "10.0.0.2:80"},
		103: {"inet6", "dgram", "udp", "unconnected", "[2001:db8::1]:53", ""},
		104: {"inet", "raw", "icmp", "unconnected", "", ""},
		105: {"netlink", "", "audit", "", "port 4294963200", ""},
		106: {"packet", "raw", "", "", "protocol 0x3 interface 2", ""},
		107: {FamilyUNIX, "seqpacket", "", StateListening, "/run/udev control", ""},
		108: {FamilyUNIX, "stream", "", "connected", "", ""},
		109: {FamilyUNIX, "dgram", "", "unconnected", "@abstract", ""},
		110: {FamilyUNIX, "stream", "", "unconnected", "", ""},
		111: {FamilyUNIX, "stream", "", "unconnected", "/tmp/", ""},
	}
	for inode, socket := range want {
		if ns.sockets[inode] != socket {
			t.Errorf("%d: %+v, want %+v", inode, ns.sockets[inode], socket)
		}
	}
	if len(ns.sockets) != len(want) {
		t.Errorf("%d sockets: %v", len(ns.sockets), ns.sockets)
	}
}

func TestSocketString(t *testing.T) {
	for _, c := range []struct {
		socket Socket
		want   string
	}{
		{Socket{"inet", "stream", "tcp", StateListening, "127.0.0.1:80", ""}, "tcp listening 127.0.0.1:80"},
		{Socket{"inet6", "dgram", "udp", "connected", "[::1]:5", "[::1]:9"}, "udp6 connected [::1]:5 -> [::1]:9"},
		{Socket{FamilyUNIX, "stream", "", "connected", "", ""}, "unix stream connected"},
		{Socket{FamilyUNIX, "dgram", "", "unconnected", "@\x1bc", ""}, `unix dgram unconnected @\x1bc`},
		{Socket{}, ""},
	} {
		if got := c.socket.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestSocketOfProtocol(t *testing.T) {
	for name, want := range map[string]Socket{
		"TCP": {Family: "inet", Type: "stream", Protocol: "tcp"}, "TCPv6": {Family: "inet6", Type: "stream", Protocol: "tcp"},
		"UDPLITEv6": {Family: "inet6", Type: "dgram", Protocol: "udplite"}, "RAW": {Family: "inet", Type: "raw"},
		"PINGv6": {Family: "inet6", Type: "dgram", Protocol: "icmpv6"}, "UNIX-STREAM": {Family: FamilyUNIX, Type: "stream"},
		"UNIX": {Family: FamilyUNIX}, "AF_VSOCK": {Family: "vsock"}, "XDP": {Family: "xdp"}, "MPTCPv6": {Family: "inet6", Type: "stream", Protocol: "mptcp"},
	} {
		if got := socketOfProtocol(name); got != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestParseStat(t *testing.T) {
	for _, c := range []struct {
		text string
		want Process
		ok   bool
	}{
		{"12 (sh) S 1 12 12 0 -1", Process{12, 1, "sh", 0, 12}, true},
		{"12 (a) b (c) S 7 1", Process{12, 7, "a) b (c", 0, 0}, true},
		{"12 (new\nline) R 0 1", Process{12, 0, "new\nline", 0, 0}, true},
		{"12 (sh) S 1 12 12 0 -1 0 5 6 7 8 9 10 11 12 20 0 1 0 4711 99", Process{12, 1, "sh", 4711, 12}, true},
		{"12 sh S 1", Process{}, false},
		{"x (sh) S 1", Process{}, false},
		{"12 (sh) S", Process{}, false},
		{"", Process{}, false},
	} {
		got, ok := parseStat([]byte(c.text))
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%q: %+v %v", c.text, got, ok)
		}
	}
}

func TestTree(t *testing.T) {
	all := []Process{{PID: 1}, {PID: 2, Parent: 1}, {PID: 3, Parent: 2}, {PID: 4, Parent: 1}, {PID: 5, Parent: 3}, {PID: 8, Parent: 9}, {PID: 9, Parent: 8}}
	numbers := func(tree []Process) (pids []int) {
		for _, p := range tree {
			pids = append(pids, p.PID)
		}
		return pids
	}
	for root, want := range map[int][]int{2: {2, 3, 5}, 1: {1, 2, 4, 3, 5}, 7: nil, 8: {8, 9, 8}} {
		if got := numbers(Tree(all, root)); !slices.Equal(got, want) {
			t.Errorf("tree of %d: %v", root, got)
		}
	}
}

func FuzzFdinfo(f *testing.F) {
	f.Add([]byte("pos:\t0\nflags:\t02\nmnt_id:\t17\nino:\t1039\nlock:\t1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF\nPid:\t4\n"))
	f.Add([]byte("flags:\t0777777777777\nsigmask:\tffffffffffffffff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, ok := parseFdinfo(data)
		if ok && info.flags&unix.O_PATH != 0 && info.flags.Access() != "path" {
			t.Errorf("%#o is %s", info.flags, info.flags.Access())
		}
		info.flags.Names()
		for _, lock := range info.locks {
			if lock.String() == "" {
				t.Errorf("%+v has no text", lock)
			}
		}
		for _, kind := range []Kind{KindPidfd, KindEventfd, KindTimerfd, KindSignalfd, KindDMABuf, KindBPFMap} {
			detail(kind, info.rest)
		}
	})
}

func FuzzSockets(f *testing.F) {
	f.Add("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1 0")
	f.Add("0000000000000000: 00000002 00000000 00010000 0005 01   107 /run/udev control")
	f.Add("000000002ea6ad32 9   4294963200 00000000 0        0        0     2        0        105     ")
	f.Fuzz(func(t *testing.T, text string) {
		for _, table := range socketTables() {
			found := map[uint64]Socket{}
			parseSockets([]byte(text), table.parse, found)
			for inode, socket := range found {
				if inode == 0 || socket.String() == "" {
					t.Errorf("%s: %d %+v", table.file, inode, socket)
				}
			}
		}
	})
}

func FuzzTarget(f *testing.F) {
	f.Add("pipe:[8933]")
	f.Add("anon_inode:[eventfd]")
	f.Add("/memfd:x\n (deleted)")
	f.Fuzz(func(t *testing.T, target string) {
		kind, inode, known := kindOfTarget(target)
		if known && (kind == "" || strings.HasPrefix(target, "/")) || !known && (kind != "" || inode != 0) {
			t.Errorf("%q: %q %d %v", target, kind, inode, known)
		}
		shown := Printable(target)
		if !utf8.ValidString(shown) || strings.ContainsFunc(shown, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
			t.Errorf("%q is shown as %q", target, shown)
		}
		if !strings.ContainsAny(target, "\\") && utf8.ValidString(target) && len(shown) < len(target) {
			t.Errorf("%q is cut to %q", target, shown)
		}
	})
}

func FuzzProcFiles(f *testing.F) {
	f.Add([]byte("12 (a) b (c) S 7 1"), uint32(4), uint32(5))
	f.Add([]byte("my serial            /dev/ttyX     204 64-67 serial\n"), uint32(204), uint32(64))
	f.Add([]byte("Character devices:\n  1 mem\n"), uint32(1), uint32(1))
	f.Fuzz(func(t *testing.T, data []byte, major, minor uint32) {
		if p, ok := parseStat(data); ok && !strings.Contains(string(data), p.Name) {
			t.Errorf("%q: %+v", data, p)
		}
		if kind := parseTTYDrivers(data, major, minor); kind != KindTerminal && kind != KindPTYMaster && kind != KindCharDevice {
			t.Errorf("%q: %q", data, kind)
		}
		if name := parseDeviceNames(data, major); !strings.Contains(string(data), name) {
			t.Errorf("%q: %q", data, name)
		}
		for _, n := range appendNumbers(nil, data) {
			if n < 0 {
				t.Errorf("%q: %d", data, n)
			}
		}
	})
}

// FuzzIPv6 judges our address text by the standard library's.
func FuzzIPv6(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4})
	f.Add([]byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add(make([]byte, 16))
	f.Add([]byte{0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 16 {
			return
		}
		if got, want := formatIPv6(data[:16]), netip.AddrFrom16([16]byte(data)).String(); got != want {
			t.Errorf("%x: %s, want %s", data[:16], got, want)
		}
	})
}
