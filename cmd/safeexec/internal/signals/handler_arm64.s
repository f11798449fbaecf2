#include "textflag.h"

// func handler()
// The kernel calls it with the signal in R0, the siginfo in R1 and the context in R2, on the runtime's signal stack; the link
// register leads to the restorer, and the kernel puts back all registers.
TEXT ·handler(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVW 8(R1), R3                  // si_code
	CMPW $0, R3
	BLE  write                      // a process sent it
	MOVD ·faults(SB), R4
	LSR  R0, R4, R4
	TBZ  $0, R4, write
	MOVD ·runtimeHandler(SB), R5    // our own fault: the runtime says where
	JMP  (R5)

write:
	MOVW ·writeEnd(SB), R0
	MOVD $128, R2                   // sizeof(siginfo_t)
	MOVD $64, R8                    // write
	SVC
	RET

// func handlerAddress() uintptr
TEXT ·handlerAddress(SB),NOSPLIT,$0-8
	MOVD $·handler(SB), R0
	MOVD R0, ret+0(FP)
	RET
