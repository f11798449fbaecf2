package fdtable

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/proctest"
)

func init() { proctest.Helper("close", closeHelper) }

// The numbers of the helper's descriptors: inherited, as after an exec, or close-on-exec.
var (
	closeInherited = []int{50, 51, 60, 700}
	closeMarked    = []int{52, 70}
)

// closeHelper opens those numbers and closes all that is inherited but 51, as its argument says, then tells which are open.
func closeHelper(args []string) int {
	fail := func(err error) int {
		fmt.Println(err)
		return 1
	}
	// What the tests' own caller let leak is no part of this.
	for n := 3; n < 1024; n++ { // close_range marks from Linux 5.11 on only
		_, _ = unix.FcntlInt(uintptr(n), unix.F_SETFD, unix.FD_CLOEXEC)
	}
	file, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	for _, n := range closeInherited {
		if err := unix.Dup3(file, n, 0); err != nil {
			return fail(err)
		}
	}
	for _, n := range closeMarked {
		if err := unix.Dup3(file, n, unix.O_CLOEXEC); err != nil {
			return fail(err)
		}
	}
	kept := []int{0, 1, 2, 51}
	var marked []int
	switch args[0] {
	case "marked":
		marked = append([]int{file}, closeMarked...)
	case "list":
		found, err := AllInherited()
		if err != nil {
			return fail(err)
		}
		fmt.Println(found)
		return 0
	case "lowered", "full", "full of what is kept":
		// 700 stays open above the limit.
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: 100}); err != nil {
			return fail(err)
		}
		for args[0] != "lowered" {
			n, err := unix.FcntlInt(uintptr(file), unix.F_DUPFD, 3)
			if err != nil {
				break
			}
			closeInherited = append(closeInherited, n)
		}
		if args[0] == "full of what is kept" {
			kept = append(kept, closeInherited...)
		}
	}
	err = CloseInherited(kept, marked)
	if errors.Is(err, unix.EMFILE) {
		fmt.Println("EMFILE")
		return 0
	}
	if err != nil {
		return fail(err)
	}
	var open []int
	for n := range 1000 {
		if slices.Contains(closeInherited, n) || slices.Contains(closeMarked, n) || n < 3 {
			if _, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0); err == nil {
				open = append(open, n)
			}
		}
	}
	fmt.Println(open)
	return 0
}

func TestCloseInherited(t *testing.T) {
	for how, want := range map[string]string{
		"marked":               "[0 1 2 51 52 70]",
		"unmarked":             "[0 1 2 51 52 70]",
		"lowered":              "[0 1 2 51 52 70]",
		"full":                 "[0 1 2 51 52 70]",
		"full of what is kept": "EMFILE",
		"list":                 "[0 1 2 50 51 60 700]",
	} {
		cmd := proctest.Command(t, "close", how)
		cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
		out, err := cmd.Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %v, %s; want %s", how, err, got, want)
		}
	}
}

func TestInherited(t *testing.T) {
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if Inherited(fd) || Inherited(-1) || Inherited(1<<30) {
		t.Error("what is close-on-exec or not open counts as inherited")
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	if !Inherited(fd) {
		t.Error("what is open without close-on-exec doesn't count as inherited")
	}
}
