//go:build 386 || arm

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// works are what the program may do with what is its own. Each makes sure that it was really done.
var works = []struct {
	name string
	do   func() error
}{
	{"a file: write, seek, read", readBack},
	{"flags by fcntl64", func() error { return flags(fcntlFlags) }},
	{"flags by ioctl", func() error { return flags(ioctlFlags) }},
	{"flock", lockWhole},
	{"a lock on a range", func() error { return lockRange(unix.F_OFD_SETLK) }},
	{"a lock on a range, waiting", func() error { return lockRange(unix.F_OFD_SETLKW) }},
	{"a lease", lease},
	{"an owner", owner},
	{"a directory", listDirectory},
	{"copies of descriptors", copies},
	{"a child of 32 bits", func() error { return child("/proc/self/exe", "say", "hello") }},
	{"a shell of 64 bits", func() error { return child("/bin/sh", "-c", "{ echo hello >&2; } 2>&1 | tr -d '\\n'") }},
	{"threads", threads},
	{"memory of a file", mapped},
}

func differs(what string, got, want any) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("%s: %v, not %v", what, got, want)
}

// fresh is a file of the program's own with ten bytes.
func fresh() (*os.File, error) {
	f, err := os.CreateTemp("", "narrow")
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString("0123456789")
	return f, err
}

func done(f *os.File) {
	f.Close()
	os.Remove(f.Name())
}

// readBack goes beyond what 32 bits hold.
func readBack() error {
	f, err := fresh()
	if err != nil {
		return err
	}
	defer done(f)
	const far = 5 << 32
	if _, err := f.Seek(far, io.SeekStart); err != nil {
		return err
	}
	if _, err := f.WriteString("far"); err != nil {
		return err
	}
	at, err := f.Seek(-3, io.SeekCurrent)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(f)
	return errors.Join(err, differs("offset", at, int64(far)), differs("text", string(text), "far"))
}

func fcntlFlags(fd int) error {
	return second(unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK))
}
func ioctlFlags(fd int) error { return unix.IoctlSetPointerInt(fd, fionbio, 1) }

func flags(set func(fd int) error) error {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	if err := set(ends[0]); err != nil {
		return err
	}
	_, err := unix.Read(ends[0], make([]byte, 1))
	return differs("reading from an empty pipe", err, error(unix.EAGAIN))
}

// twice opens a file for a second time.
func twice() (one, other *os.File, err error) {
	one, err = fresh()
	if err != nil {
		return nil, nil, err
	}
	other, err = os.OpenFile(one.Name(), os.O_RDWR, 0)
	return one, other, err
}

func lockWhole() error {
	one, other, err := twice()
	if err != nil {
		return err
	}
	defer done(one)
	defer other.Close()
	if err := unix.Flock(int(one.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	err = unix.Flock(int(other.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	return errors.Join(differs("another lock", err, error(unix.EAGAIN)), unix.Flock(int(one.Fd()), unix.LOCK_UN))
}

// lockRange makes sure that the other description sees just this range locked.
func lockRange(command int) error {
	one, other, err := twice()
	if err != nil {
		return err
	}
	defer done(one)
	defer other.Close()
	want := unix.Flock_t{Type: unix.F_WRLCK, Start: 3 << 32, Len: 4}
	if err := unix.FcntlFlock(one.Fd(), command, &want); err != nil {
		return err
	}
	seen := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(other.Fd(), unix.F_OFD_GETLK, &seen); err != nil {
		return err
	}
	return errors.Join(differs("start", seen.Start, want.Start), differs("length", seen.Len, want.Len))
}

func lease() error {
	f, err := fresh()
	if err != nil {
		return err
	}
	defer done(f)
	if err := second(unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)); err != nil {
		return err
	}
	kind, err := unix.FcntlInt(f.Fd(), unix.F_GETLEASE, 0)
	return errors.Join(err, differs("the lease", kind, unix.F_WRLCK))
}

func owner() error {
	f, err := fresh()
	if err != nil {
		return err
	}
	defer done(f)
	for _, set := range []func(fd int) error{setOwner, setOwnerEx} {
		if err := second(unix.FcntlInt(f.Fd(), unix.F_SETOWN, 0)); err != nil {
			return err
		}
		if err := set(int(f.Fd())); err != nil {
			return err
		}
		pid, err := unix.FcntlInt(f.Fd(), unix.F_GETOWN, 0)
		if err := errors.Join(err, differs("the owner", pid, os.Getpid())); err != nil {
			return err
		}
	}
	return nil
}

func listDirectory() error {
	dir, err := os.MkdirTemp("", "narrow")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "entry"), nil, 0o600); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		return fmt.Errorf("%v, %w", entries, err)
	}
	return differs("the entry", entries[0].Name(), "entry")
}

func copies() error {
	f, err := fresh()
	if err != nil {
		return err
	}
	defer done(f)
	for _, a := range attempts {
		if a.copies {
			if err := a.do(int(f.Fd())); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
	}
	return nil
}

func child(program string, args ...string) error {
	out, err := exec.Command(program, args...).Output()
	return errors.Join(err, differs("it said", string(out), "hello"))
}

func threads() error {
	var all sync.WaitGroup
	sums := make(chan int, 8)
	for i := range cap(sums) {
		all.Go(func() {
			runtime.LockOSThread()
			runtime.GC()
			sums <- i
		})
	}
	all.Wait()
	close(sums)
	sum := 0
	for n := range sums {
		sum += n
	}
	return differs("the sum", sum, 28)
}

func mapped() error {
	f, err := fresh()
	if err != nil {
		return err
	}
	defer done(f)
	memory, err := unix.Mmap(int(f.Fd()), 0, 10, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer unix.Munmap(memory)
	return differs("the memory", string(memory), "0123456789")
}
