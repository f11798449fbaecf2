package spawn_test

import (
	"fmt"
	"io"
	"os"
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
