#include "textflag.h"

// func prlimitNoFile(limit *[2]uint64) (result int64)
TEXT ·prlimitNoFile(SB),NOSPLIT,$0-16
	XORL DI, DI              // this process
	MOVL $7, SI              // RLIMIT_NOFILE
	XORL DX, DX              // no new limit
	MOVQ limit+0(FP), R10
	MOVL $302, AX            // prlimit64
	SYSCALL
	MOVQ AX, result+8(FP)
	RET
