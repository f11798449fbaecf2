//go:build !race && !libseccomp && !msan && !asan

#include "textflag.h"

// safeexecStartHook runs on the kernel's first stack, before there is a runtime. It calls early, asks rt_sigaction for each signal
// and rt_sigprocmask for the mask, then points the thread register at memory for g, as the runtime expects of its caller here.
//
// Early is called as the func value that it is, in Go's own calling convention: arguments in the first registers and room to spill
// them, g in R14, X15 zero. The runtime has g0 in DI, argc at 24(SP) and argv at 32(SP) when it calls this.
TEXT safeexecStartHook(SB),NOSPLIT|NOFRAME,$0
	SUBQ $40, SP                    // struct sigaction of the kernel: handler, flags, restorer, mask
	MOVQ safeexecEarly(SB), DX
	TESTQ DX, DX
	JZ   signals
	MOVLQSX (40+8+24)(SP), AX
	MOVQ (40+8+32)(SP), BX
	MOVQ SP, CX
	MOVQ DI, R14
	XORPS X15, X15
	CALL (DX)

signals:
	MOVQ $1, BX                     // the signal
	XORL R12, R12                   // what is ignored

next:
	MOVQ BX, DI
	XORL SI, SI
	MOVQ SP, DX
	MOVQ $8, R10
	MOVL $13, AX                    // rt_sigaction
	SYSCALL
	TESTQ AX, AX
	JNZ  skip
	CMPQ 0(SP), $1                  // SIG_IGN
	JNE  skip
	LEAQ -1(BX), CX
	MOVQ $1, AX
	SHLQ CX, AX
	ORQ  AX, R12

skip:
	INCQ BX
	CMPQ BX, $64
	JLE  next
	MOVQ R12, ·ignoredAtStart(SB)

	XORL DI, DI
	XORL SI, SI
	LEAQ ·blockedAtStart(SB), DX
	MOVQ $8, R10
	MOVL $14, AX                    // rt_sigprocmask
	SYSCALL

	MOVL $0x1002, DI                // ARCH_SET_FS
	LEAQ ·threadArea+16(SB), SI     // g is at -8 from there
	MOVL $158, AX                   // arch_prctl
	SYSCALL
	ADDQ $40, SP
	RET
