//go:build !race && !libseccomp && !msan && !asan

#include "textflag.h"

// safeexecStartHook runs on the kernel's first stack, before there is a runtime. It asks rt_sigaction for each signal and
// rt_sigprocmask for the mask. It keeps g, which the runtime has in its register already.
TEXT safeexecStartHook(SB),NOSPLIT|NOFRAME,$0
	SUB  $48, RSP                   // struct sigaction of the kernel: handler, flags, restorer, mask
	MOVD $1, R19                    // the signal
	MOVD $0, R20                    // what is ignored

next:
	MOVD R19, R0
	MOVD $0, R1
	ADD  $8, RSP, R2
	MOVD $8, R3
	MOVD $134, R8                   // rt_sigaction
	SVC
	CBNZ R0, skip
	MOVD 8(RSP), R4
	CMP  $1, R4                     // SIG_IGN
	BNE  skip
	SUB  $1, R19, R5
	MOVD $1, R6
	LSL  R5, R6, R6
	ORR  R6, R20, R20

skip:
	ADD  $1, R19, R19
	CMP  $64, R19
	BLE  next
	MOVD R20, ·ignoredAtStart(SB)

	MOVD $0, R0
	MOVD $0, R1
	MOVD $·blockedAtStart(SB), R2
	MOVD $8, R3
	MOVD $135, R8                   // rt_sigprocmask
	SVC
	ADD  $48, RSP
	RET
