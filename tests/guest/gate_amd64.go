package guest

// gate makes a call of the i386 table from 64-bit code (int $0x80). The kernel looks at the lower half of each register.
func gate(number, a, b, c uintptr) uintptr
