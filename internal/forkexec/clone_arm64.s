#include "textflag.h"

// func clone(trap, a1, a2, a3, a4, a5, stack uintptr, c *child, run func(*child)) (result uintptr)
//
// The new task begins on a stack of its own, so nothing here depends on the caller's frame once it runs; the child's
// argument goes over in a register, since registers are copied. It never comes back. run is called as the func value that it is,
// with its argument in the first register of Go's own calling convention and room to spill that: a call by name would go
// through a wrapper that the race detector instruments.
TEXT ·clone(SB),NOSPLIT,$0-80
	MOVD trap+0(FP), R8
	MOVD a1+8(FP), R0
	MOVD a2+16(FP), R1
	MOVD a3+24(FP), R2
	MOVD a4+32(FP), R3
	MOVD a5+40(FP), R4
	MOVD stack+48(FP), R20
	MOVD c+56(FP), R19
	MOVD run+64(FP), R21
	SVC
	CBZ  R0, newtask
	MOVD R0, result+72(FP)
	RET

newtask:
	MOVD R20, RSP
	MOVD $0, R29
	MOVD R19, R0
	SUB  $32, RSP
	MOVD R21, R26
	MOVD (R26), R1
	CALL (R1)
	BRK
