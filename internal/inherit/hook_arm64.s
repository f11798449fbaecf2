//go:build !race && !libseccomp && !msan && !asan

#include "textflag.h"

// safeexecStartHook runs on the kernel's first stack, before there is a runtime. It calls early, asks rt_sigaction for each signal
// and rt_sigprocmask for the mask. It keeps g, which the runtime has in its register already.
//
// Early is called as the func value that it is, in Go's own calling convention: arguments in the first registers and room to spill
// them, g in its register. The runtime has argc at 24(RSP) and argv at 32(RSP) when it calls this.
TEXT safeexecStartHook(SB),NOSPLIT|NOFRAME,$0
	SUB  $48, RSP                   // struct sigaction of the kernel: handler, flags, restorer, mask
	MOVD R30, 0(RSP)
	MOVD safeexecEarly(SB), R26
	CBZ  R26, signals
	MOVW (48+24)(RSP), R0
	MOVD (48+32)(RSP), R1
	MOVD RSP, R2
	MOVD (R26), R3
	CALL (R3)

signals:
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
	MOVD 0(RSP), R30
	ADD  $48, RSP
	RET
