package spawn_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkStart compares the libraries: a program that ends at once, started and waited for, by a process that has so
// many descriptors open.
func BenchmarkStart(b *testing.B) {
	program := tiny(b)
	for _, open := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprint("open=", open), func(b *testing.B) {
			fill(b, open)
			for _, stdio := range []string{"nil", "given", "piped", "extra"} {
				for _, l := range []library{osExec, ours} {
					b.Run("stdio="+stdio+"/"+l.name, func(b *testing.B) { benchmark(b, l, program, stdio) })
				}
			}
		})
	}
}

// BenchmarkStartParallel has as many starting goroutines as processors.
func BenchmarkStartParallel(b *testing.B) {
	program := tiny(b)
	for _, l := range []library{osExec, ours} {
		b.Run(l.name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := l.command(program).Run(); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func benchmark(b *testing.B, l library, program, stdio string) {
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for b.Loop() {
		c := l.command(program)
		switch stdio {
		case "given":
			*c.Stdin, *c.Stdout, *c.Stderr = os.Stdin, os.Stdout, os.Stderr
		case "piped":
			*c.Stdout = io.Discard
		case "extra":
			*c.ExtraFiles = []*os.File{r, w}
		}
		if err := c.Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// fill opens descriptors until so many are.
func fill(b *testing.B, open int) {
	var fds []int
	b.Cleanup(func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	})
	for len(fds) < open-8 {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			b.Skipf("%v (RLIMIT_NOFILE is too low for %d)", err, open)
		}
		fds = append(fds, fd)
	}
}

// tiny writes a static program without a library that does nothing but end: what remains is the cost of starting.
func tiny(b testing.TB) string {
	b.Helper()
	code := map[string][]byte{
		"amd64": {0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05},                              // exit(0)
		"arm64": {0x00, 0x00, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4}, // exit(0)
	}[runtime.GOARCH]
	machine := map[string]uint16{"amd64": 62, "arm64": 183}[runtime.GOARCH]
	const base, headers = 0x400000, 64 + 56
	size := uint64(headers + len(code))
	elf := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 15: 0}
	for _, field := range []any{
		uint16(2), machine, uint32(1), uint64(base + headers), uint64(64), uint64(0), // type, machine, version, entry, program headers
		uint32(0), uint16(64), uint16(56), uint16(1), uint16(64), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000), // one segment, to read and execute
	} {
		elf, _ = binary.Append(elf, binary.LittleEndian, field)
	}
	path := filepath.Join(b.TempDir(), "tiny")
	if err := os.WriteFile(path, append(elf, code...), 0o755); err != nil {
		b.Fatal(err)
	}
	return path
}
