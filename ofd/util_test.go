package ofd

import (
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// seed returns what a random test starts from, and prints it; OFD_TEST_SEED repeats a run.
func seed(t testing.TB) uint64 {
	t.Helper()
	s := uint64(time.Now().UnixNano())
	if text := os.Getenv("OFD_TEST_SEED"); text != "" {
		var err error
		s, err = strconv.ParseUint(text, 10, 64)
		must(t, err)
	}
	t.Logf("OFD_TEST_SEED=%d", s)
	return s
}

// lockThreadForGood keeps the goroutine's thread to itself; ending the goroutine ends the thread.
func lockThreadForGood() { runtime.LockOSThread() }
