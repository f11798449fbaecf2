#include "textflag.h"

// func prlimitNoFile(limit *[2]uint64) (result int64)
TEXT ·prlimitNoFile(SB),NOSPLIT,$0-16
	MOVD $0, R0              // this process
	MOVD $7, R1              // RLIMIT_NOFILE
	MOVD $0, R2              // no new limit
	MOVD limit+0(FP), R3
	MOVD $261, R8            // prlimit64
	SVC
	MOVD R0, result+8(FP)
	RET
