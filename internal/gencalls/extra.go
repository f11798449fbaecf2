package main

// markers are constants that look like a call's number and are none.
var markers = map[string]bool{"arch_specific_syscall": true, "syscall_mask": true}

// armOnly are the calls above 0xf0000 that the ARM kernel has beside its table (arch/arm/include/uapi/asm/unistd.h).
var armOnly = map[string]int{
	"breakpoint": 0xf0001,
	"cacheflush": 0xf0002,
	"usr26":      0xf0003,
	"usr32":      0xf0004,
	"set_tls":    0xf0005,
	"get_tls":    0xf0006,
}

// x32Bit marks a number as one of the x32 table.
const x32Bit = 0x40000000

// x32 derives the x32 table from that of x86_64.
func x32(table map[string]*numbers) map[string]int {
	calls := map[string]int{}
	for name, number := range table {
		own, moved := x32Own[name]
		switch {
		case moved:
			calls[name] = own | x32Bit
		case number[0] != none && !only64[name]:
			calls[name] = number[0] | x32Bit
		}
	}
	return calls
}

// x32Own are the calls that x32 has at numbers of its own (abi "x32" in arch/x86/entry/syscalls/syscall_64.tbl).
var x32Own = map[string]int{
	"rt_sigaction": 512, "rt_sigreturn": 513, "ioctl": 514, "readv": 515, "writev": 516, "recvfrom": 517, "sendmsg": 518,
	"recvmsg": 519, "execve": 520, "ptrace": 521, "rt_sigpending": 522, "rt_sigtimedwait": 523, "rt_sigqueueinfo": 524,
	"sigaltstack": 525, "timer_create": 526, "mq_notify": 527, "kexec_load": 528, "waitid": 529, "set_robust_list": 530,
	"get_robust_list": 531, "vmsplice": 532, "move_pages": 533, "preadv": 534, "pwritev": 535, "rt_tgsigqueueinfo": 536,
	"recvmmsg": 537, "sendmmsg": 538, "process_vm_readv": 539, "process_vm_writev": 540, "setsockopt": 541, "getsockopt": 542,
	"io_setup": 543, "io_submit": 544, "execveat": 545, "preadv2": 546, "pwritev2": 547,
}

// only64 are the calls that x32 hasn't at all (abi "64" there).
var only64 = map[string]bool{
	"uselib": true, "_sysctl": true, "create_module": true, "get_kernel_syms": true, "query_module": true, "nfsservctl": true,
	"set_thread_area": true, "get_thread_area": true, "epoll_ctl_old": true, "epoll_wait_old": true, "vserver": true,
	"uretprobe": true, "uprobe": true, "map_shadow_stack": true,
}
