package main

// A machine is a kind of computer that QEMU emulates and guests run on.
type machine struct {
	name     string
	target   string   // of make, for the page
	emulator string   // QEMU's program
	options  []string // the computer, and where its second serial port leads
	console  string   // the first serial port, by the kernel's name: its messages go there
	results  string   // the second one
}

// machines are by Go's names of architectures.
var machines = map[string]*machine{
	"amd64": {
		name:     "x86_64",
		target:   "test-kernels",
		emulator: "qemu-system-x86_64",
		options:  []string{"-cpu", "Nehalem,-cx16", "-serial", "chardev:results"},
		console:  "ttyS0",
		results:  "ttyS1",
	},
	// The board has one port of its own. The processor runs 32-bit programs too.
	"arm64": {
		name:     "AArch64",
		target:   "test-arm64",
		emulator: "qemu-system-aarch64",
		options:  []string{"-machine", "virt", "-cpu", "cortex-a72", "-device", "pci-serial,chardev=results"},
		console:  "ttyAMA0",
		results:  "ttyS0",
	},
}
