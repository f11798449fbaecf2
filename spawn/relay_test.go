package spawn_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/spawn"
)

// script is a shell script that has descriptors relayed.
func script(text string, pass ...spawn.Descriptor) *spawn.Cmd {
	cmd := spawn.Command("/bin/sh", "-c", text)
	for _, d := range pass {
		d.Mode = spawn.Relayed
		cmd.Pass = append(cmd.Pass, d)
	}
	cmd.Stderr = os.Stderr
	return cmd
}

// All that was written has arrived when Wait returns, though somebody goes on writing.
func TestRelayed(t *testing.T) {
	r, w := pipe(t)
	cmd := script(`head -c 3000000 /dev/zero >&5; echo end >&5; { read line; echo late >&5; } <&6 2>/dev/null & exit 3`,
		spawn.Descriptor{Number: 5, File: w}, spawn.Descriptor{Number: 6, File: never(t)})
	got := make(chan []byte)
	go func() { text, _ := io.ReadAll(r); got <- text }()
	var failed *spawn.ExitError
	if err := cmd.Run(); !errors.As(err, &failed) || failed.ExitCode() != 3 {
		t.Error(err)
	}
	if !nonblocking(w) {
		t.Error("the caller's mode has changed")
	}
	w.Close()
	// The end of its input may make the other one write before the output has been carried to its end.
	if text := bytes.TrimSuffix(<-got, []byte("late\n")); len(text) != 3000004 || !bytes.HasSuffix(text, []byte("\x00end\n")) {
		t.Errorf("%d bytes arrived", len(text))
	}
}

// never is a pipe that nothing comes through before the end of the test.
func never(t *testing.T) *os.File {
	r, _ := pipe(t)
	return r
}

func TestRelayedInput(t *testing.T) {
	r, w := pipe(t)
	w.WriteString("one\ntwo\n")
	w.Close()
	if err := script(`read a <&4; read b <&4; read c <&4 && exit 3; test "$a$b" = onetwo`, spawn.Descriptor{Number: 4, File: r}).Run(); err != nil {
		t.Error(err)
	}
}

// A stream goes both ways, as a socket that the child can't reach the caller's flags through.
func TestRelayedSocket(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(ends[0]), "near"), os.NewFile(uintptr(ends[1]), "far")
	defer near.Close()
	near.WriteString("hello\n")
	unix.Shutdown(ends[0], unix.SHUT_WR)
	cmd := script(`cat <&3 >&3; echo bye >&3`, spawn.Descriptor{Number: 3, File: far})
	// It has nothing to say about this: cat's redirections work.
	cmd.Guard = &spawn.Guard{Stdio: spawn.StdioStrict, AllowSteal: noLandlock}
	cmd.Stderr = nil
	err = cmd.Run()
	far.Close()
	if text, _ := io.ReadAll(near); string(text) != "hello\nbye\n" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
}

// Whoever doesn't read is waited for as long as WaitDelay says.
func TestRelayedDelay(t *testing.T) {
	_, w := pipe(t)
	cmd := script("head -c 100000 /dev/zero >&3", spawn.Descriptor{Number: 3, File: w})
	cmd.WaitDelay = time.Millisecond
	if err := cmd.Run(); !errors.Is(err, spawn.ErrWaitDelay) {
		t.Error(err)
	}
}

func TestRelayedRefused(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	_, tty := pty(t)
	for want, d := range map[string]spawn.Descriptor{
		"pass descriptor 7: it is a memory device: only": {Number: 7, File: null},
		"pass descriptor 8: /dev/null can't be relayed":  {Number: 8, FD: spawn.DevNull},
		"a terminal can't be relayed by a package":       {Number: 9, File: tty},
	} {
		if err := script(":", d).Run(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	r, _ := pipe(t)
	err = spawn.Exec("/bin/true", []string{"true"}, nil, &spawn.ExecAttr{Pass: []spawn.Descriptor{{Number: 9, File: r, Mode: spawn.Relayed}}})
	if err == nil || !strings.Contains(err.Error(), "pass descriptor 9: a process that is replaced can't relay it") {
		t.Error(err)
	}
}

// Neither a start that fails nor one that works leaves anything open.
func TestRelayedLeavesNothing(t *testing.T) {
	r, w := pipe(t)
	pass := []spawn.Descriptor{{Number: 3, File: r}, {Number: 4, File: w}}
	if err := script(":", pass...).Run(); err != nil { // which takes what is kept from the first start on
		t.Fatal(err)
	}
	before := openNumbers(t)
	for range 20 {
		if err := script(":", pass...).Run(); err != nil {
			t.Fatal(err)
		}
		cmd := script(":", pass...)
		cmd.Path = "/nonexistent"
		if err := cmd.Run(); err == nil {
			t.Fatal("a program that isn't there was started")
		}
	}
	if after := openNumbers(t); after != before {
		t.Errorf("open before: %s; after: %s", before, after)
	}
}

func openNumbers(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}
