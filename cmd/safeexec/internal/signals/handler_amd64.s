#include "textflag.h"

// func handler()
// The kernel calls it with the signal in DI, the siginfo in SI and the context in DX, on the runtime's signal stack; what it
// returns to is the runtime's restorer, and the kernel puts back all registers.
TEXT ·handler(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVL 8(SI), AX                  // si_code
	CMPL AX, $0
	JLE  write                      // a process sent it
	MOVQ ·faults(SB), CX
	BTQ  DI, CX
	JCC  write
	MOVQ ·runtimeHandler(SB), AX    // our own fault: the runtime says where
	JMP  AX

write:
	MOVL ·writeEnd(SB), DI
	MOVQ $128, DX                   // sizeof(siginfo_t)
	MOVQ $1, AX                     // write
	SYSCALL
	RET

// func handlerAddress() uintptr
TEXT ·handlerAddress(SB),NOSPLIT,$0-8
	LEAQ ·handler(SB), AX
	MOVQ AX, ret+0(FP)
	RET
