package seccomp

import (
	"strings"
	"sync"
)

// callID names a system call that some rule is about.
type callID uint8

const (
	callDup callID = iota
	callDup2
	callDup3
	callFcntl
	callFcntl64
	callIoctl
	callFlock
	callLseek
	callLlseek
	callRead
	callWrite
	callReadv
	callWritev
	callPreadv2
	callPwritev2
	callSendfile
	callSendfile64
	callReaddir
	callGetdents
	callGetdents64
	callSplice
	callVmsplice
	callCopyFileRange
	callFadvise64
	callFadvise64x64
	callArmFadvise
	callReadahead
	callMqGetsetattr
	callPidfdGetfd
	callProcessVMWritev
	callPtrace
	callSeccomp
	callIoUringSetup
	callIoUringEnter
	callIoUringRegister
	callSocket
	callSocketpair
	callSendmsg
	callRecvmsg
	callSendmmsg
	callRecvmmsg
	callRecvmmsgTime64
	callSocketcall
	callMount
	callFsconfig
	callFsync
	callFdatasync
	callSyncfs
	callSyncFileRange
	callArmSyncFileRange
	callIoSubmit
	callCount
)

// call is one row of the table of calls. The prototype is the kernel's own (SYSCALL_DEFINE), and the only source of how
// wide an argument is compared: "fd", "uint" and "int" in the low 32 bits, "ulong" and pointers whole. An "fd" is what
// the kernel cuts to unsigned int in the end, whatever the prototype says (readv takes an unsigned long). A "cut" is
// compared whole by the kernel and in its low half here, which only refuses more.
type call struct {
	name      string
	number    [machineCount]int32 // -1 where there is none
	prototype string
}

// The tables of numbers. A machine is what seccomp calls an architecture.
const (
	machineX86_64 = iota
	machineI386
	machineAArch64
	machineARM
	machineCount
)

// machineTable is what a filter must know of a table.
type machineTable struct {
	name   string
	audit  uint32 // the AUDIT_ARCH value
	narrow bool   // registers hold 32 bits
	x32    bool   // numbers with bit 30 lead to a table of their own
}

var machines = [machineCount]machineTable{
	machineX86_64:  {"x86_64", 0xc000003e, false, true},
	machineI386:    {"i386", 0x40000003, true, false},
	machineAArch64: {"aarch64", 0xc00000b7, false, false},
	machineARM:     {"arm", 0x40000028, true, false},
}

const none = -1

// calls has the numbers from the kernel's syscall tables, in the order x86_64, i386, aarch64, arm (EABI).
var calls = [callCount]call{
	callDup:        {"dup", [...]int32{32, 41, 23, 41}, "fd oldfd"},
	callDup2:       {"dup2", [...]int32{33, 63, none, 63}, "fd oldfd, fd newfd"},
	callDup3:       {"dup3", [...]int32{292, 330, 24, 358}, "fd oldfd, fd newfd, int flags"},
	callFcntl:      {"fcntl", [...]int32{72, 55, 25, 55}, "fd fd, uint cmd, ulong arg"},
	callFcntl64:    {"fcntl64", [...]int32{none, 221, none, 221}, "fd fd, uint cmd, ulong arg"},
	callIoctl:      {"ioctl", [...]int32{16, 54, 29, 54}, "fd fd, uint cmd, ulong arg"},
	callFlock:      {"flock", [...]int32{73, 143, 32, 143}, "fd fd, uint cmd"},
	callLseek:      {"lseek", [...]int32{8, 19, 62, 19}, "fd fd, ulong offset, uint whence"},
	callLlseek:     {"_llseek", [...]int32{none, 140, none, 140}, "fd fd, ulong high, ulong low, ptr result, uint whence"},
	callRead:       {"read", [...]int32{0, 3, 63, 3}, "fd fd, ptr buf, ulong count"},
	callWrite:      {"write", [...]int32{1, 4, 64, 4}, "fd fd, ptr buf, ulong count"},
	callReadv:      {"readv", [...]int32{19, 145, 65, 145}, "fd fd, ptr vec, ulong vlen"},
	callWritev:     {"writev", [...]int32{20, 146, 66, 146}, "fd fd, ptr vec, ulong vlen"},
	callPreadv2:    {"preadv2", [...]int32{327, 378, 286, 392}, "fd fd, ptr vec, ulong vlen, ulong pos_l, ulong pos_h, int flags"},
	callPwritev2:   {"pwritev2", [...]int32{328, 379, 287, 393}, "fd fd, ptr vec, ulong vlen, ulong pos_l, ulong pos_h, int flags"},
	callSendfile:   {"sendfile", [...]int32{40, 187, 71, 187}, "fd out_fd, fd in_fd, ptr offset, ulong count"},
	callSendfile64: {"sendfile64", [...]int32{none, 239, none, 239}, "fd out_fd, fd in_fd, ptr offset, ulong count"},
	callReaddir:    {"readdir", [...]int32{none, 89, none, none}, "fd fd, ptr dirent, uint count"},
	callGetdents:   {"getdents", [...]int32{78, 141, none, 141}, "fd fd, ptr dirent, uint count"},
	callGetdents64: {"getdents64", [...]int32{217, 220, 61, 217}, "fd fd, ptr dirent, uint count"},
	callSplice:     {"splice", [...]int32{275, 313, 76, 340}, "fd fd_in, ptr off_in, fd fd_out, ptr off_out, ulong len, uint flags"},
	callVmsplice:   {"vmsplice", [...]int32{278, 316, 75, 343}, "fd fd, ptr iov, ulong nr_segs, uint flags"},
	callCopyFileRange: {
		"copy_file_range",
		[...]int32{326, 377, 285, 391},
		"fd fd_in, ptr off_in, fd fd_out, ptr off_out, ulong len, uint flags",
	},
	callFadvise64:       {"fadvise64", [...]int32{221, 250, 223, none}, "fd fd, ulong offset, ulong len, int advice"},
	callFadvise64x64:    {"fadvise64_64", [...]int32{none, 272, none, none}, "fd fd"},
	callArmFadvise:      {"arm_fadvise64_64", [...]int32{none, none, none, 270}, "fd fd, int advice"},
	callReadahead:       {"readahead", [...]int32{187, 225, 213, 225}, "fd fd"},
	callMqGetsetattr:    {"mq_getsetattr", [...]int32{245, 282, 185, 279}, "fd mqdes, ptr mqstat, ptr omqstat"},
	callPidfdGetfd:      {"pidfd_getfd", [...]int32{438, 438, 438, 438}, "fd pidfd, fd fd, uint flags"},
	callProcessVMWritev: {"process_vm_writev", [...]int32{311, 348, 271, 377}, "int pid"},
	callPtrace:          {"ptrace", [...]int32{101, 26, 117, 26}, "cut request, ulong pid, ulong addr, ulong data"},
	callSeccomp:         {"seccomp", [...]int32{317, 354, 277, 383}, "uint op, uint flags, ptr args"},
	callIoUringSetup:    {"io_uring_setup", [...]int32{425, 425, 425, 425}, "uint entries, ptr params"},
	callIoUringEnter:    {"io_uring_enter", [...]int32{426, 426, 426, 426}, "fd fd"},
	callIoUringRegister: {"io_uring_register", [...]int32{427, 427, 427, 427}, "fd fd"},
	callSocket:          {"socket", [...]int32{41, 359, 198, 281}, "int family, int type, int protocol"},
	callSocketpair:      {"socketpair", [...]int32{53, 360, 199, 288}, "int family, int type, int protocol, ptr usockvec"},
	callSendmsg:         {"sendmsg", [...]int32{46, 370, 211, 296}, "fd fd, ptr msg, uint flags"},
	callRecvmsg:         {"recvmsg", [...]int32{47, 372, 212, 297}, "fd fd, ptr msg, uint flags"},
	callSendmmsg:        {"sendmmsg", [...]int32{307, 345, 269, 374}, "fd fd, ptr mmsg, uint vlen, uint flags"},
	callRecvmmsg:        {"recvmmsg", [...]int32{299, 337, 243, 365}, "fd fd, ptr mmsg, uint vlen, uint flags, ptr timeout"},
	callRecvmmsgTime64: {
		"recvmmsg_time64",
		[...]int32{none, 417, none, 417},
		"fd fd, ptr mmsg, uint vlen, uint flags, ptr timeout",
	},
	callSocketcall:       {"socketcall", [...]int32{none, 102, none, none}, "int call, ptr args"},
	callMount:            {"mount", [...]int32{165, 21, 40, 21}, "ptr dev_name, ptr dir_name, ptr type, ulong flags, ptr data"},
	callFsconfig:         {"fsconfig", [...]int32{431, 431, 431, 431}, "fd fd, uint cmd, ptr key, ptr value, int aux"},
	callFsync:            {"fsync", [...]int32{74, 118, 82, 118}, "fd fd"},
	callFdatasync:        {"fdatasync", [...]int32{75, 148, 83, 148}, "fd fd"},
	callSyncfs:           {"syncfs", [...]int32{306, 344, 267, 373}, "fd fd"},
	callSyncFileRange:    {"sync_file_range", [...]int32{277, 314, 84, none}, "fd fd"},
	callArmSyncFileRange: {"arm_sync_file_range", [...]int32{none, none, none, 341}, "fd fd"},
	callIoSubmit:         {"io_submit", [...]int32{209, 248, 2, 246}, "ulong ctx, ulong nr, ptr iocbpp"},
}

// wideArguments has a bit for each argument that the kernel compares in all of its 64 bits. It is filled in when it is first
// needed: programs that only link this package shouldn't pay for it at their start.
var (
	wideArguments [callCount]uint8
	wideOnce      sync.Once
)

func fillWide() {
	for id := range calls {
		for i, argument := range calls[id].arguments() {
			kind, _, _ := strings.Cut(argument, " ")
			if kind == "ulong" || kind == "ptr" {
				wideArguments[id] |= 1 << i
			}
		}
	}
}

func (c *call) arguments() []string { return strings.Split(c.prototype, ", ") }

// isWide reports whether an argument is compared whole on a machine.
func isWide(id callID, argument uint8, machine int) bool {
	wideOnce.Do(fillWide)
	return wideArguments[id]&(1<<argument) != 0 && !machines[machine].narrow
}
