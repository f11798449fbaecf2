#include "textflag.h"

// func clone(trap, a1, a2, a3, a4, a5, stack uintptr, c *child, run func(*child)) (result uintptr)
//
// The new task begins on a stack of its own, so nothing here depends on the caller's frame once it runs; the child's
// argument goes over in a register, since registers are copied. It never comes back. run is called as the func value that it is,
// with its argument in the first register of Go's own calling convention and room to spill that: a call by name would go
// through a wrapper that the race detector instruments.
TEXT ·clone(SB),NOSPLIT,$0-80
	MOVQ trap+0(FP), AX
	MOVQ a1+8(FP), DI
	MOVQ a2+16(FP), SI
	MOVQ a3+24(FP), DX
	MOVQ a4+32(FP), R10
	MOVQ a5+40(FP), R8
	MOVQ stack+48(FP), R13
	MOVQ c+56(FP), R12
	MOVQ run+64(FP), R9
	SYSCALL
	TESTQ AX, AX
	JZ   newtask
	MOVQ AX, result+72(FP)
	RET

newtask:
	MOVQ R13, SP
	XORL BP, BP
	XORPS X15, X15
	SUBQ $16, SP
	MOVQ R12, AX
	MOVQ R9, DX
	CALL (DX)
	INT  $3
