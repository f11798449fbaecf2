package spawn_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// tiny writes a static program without a library that does nothing but end: what remains is the cost of starting.
func tiny(t testing.TB) string {
	return assemble(t, map[string][]byte{
		"amd64": {0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05},                              // exit(0)
		"arm64": {0x00, 0x00, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4}, // exit(0)
	})
}

// tinySleep writes one that waits for a signal.
func tinySleep(t testing.TB) string {
	return assemble(t, map[string][]byte{
		"amd64": {0xb8, 34, 0, 0, 0, 0x0f, 0x05}, // pause()
		"arm64": { // ppoll(NULL, 0, NULL, NULL)
			0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x80, 0xd2, 0x02, 0x00, 0x80, 0xd2, 0x03, 0x00, 0x80, 0xd2,
			0x28, 0x09, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4,
		},
	})
}

func assemble(t testing.TB, code map[string][]byte) string {
	t.Helper()
	text := code[runtime.GOARCH]
	machine := map[string]uint16{"amd64": 62, "arm64": 183}[runtime.GOARCH]
	const base, headers = 0x400000, 64 + 56
	size := uint64(headers + len(text))
	elf := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 15: 0}
	for _, field := range []any{
		uint16(2), machine, uint32(1), uint64(base + headers), uint64(64), uint64(0), // type, entry, program headers, sections
		uint32(0), uint16(64), uint16(56), uint16(1), uint16(64), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000), // one segment to read and execute
	} {
		elf, _ = binary.Append(elf, binary.LittleEndian, field)
	}
	path := filepath.Join(t.TempDir(), "tiny")
	if err := os.WriteFile(path, append(elf, text...), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
