package ofd_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/ofd"
)

// A duplicate shares the description, a reopened descriptor doesn't.
func Example() {
	file, err := os.CreateTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(file.Name())
	fmt.Fprint(file, "0123456789")
	fd := int(file.Fd())
	defer file.Close()

	duplicate, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer unix.Close(duplicate)
	_, err = ofd.Reopen(fd, ofd.Refuse)
	fmt.Println("refused:", errors.Is(err, ofd.ErrWritable))
	private, err := ofd.Reopen(fd, ofd.Offset)
	if err != nil {
		log.Fatal(err)
	}
	defer unix.Close(private)

	before, err := ofd.StateOf(fd)
	if err != nil {
		log.Fatal(err)
	}
	for _, other := range []int{duplicate, private} {
		same, err := ofd.Same(fd, other)
		if err != nil {
			log.Fatal(err)
		}
		unix.Seek(other, 3, io.SeekStart)
		after, err := ofd.StateOf(fd)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(same, before.Diff(after))
		unix.Seek(fd, before.Offset, io.SeekStart)
	}
	// Output:
	// refused: true
	// true [offset moved from 10 to 3]
	// false []
}

// A File keeps an offset of its own, whatever others do to the shared one.
func ExampleFile() {
	shared, err := os.CreateTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(shared.Name())
	defer shared.Close()
	fmt.Fprint(shared, "0123456789")

	duplicate, err := unix.FcntlInt(shared.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	file, err := ofd.NewFile(duplicate, shared.Name()) // owns the duplicate from now on
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	file.Seek(4, io.SeekStart)
	shared.Seek(0, io.SeekStart)
	rest, err := io.ReadAll(file)
	fmt.Printf("%s %v\n", rest, err)
	// Output: 456789 <nil>
}
