package seccomp

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// testSeed is the seed of what is random in a test: printed, and taken back from SAFEEXEC_SEED.
func testSeed(t *testing.T) uint64 {
	seed := rand.Uint64()
	if text := os.Getenv("SAFEEXEC_SEED"); text != "" {
		given, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("SAFEEXEC_SEED: %v", err)
		}
		seed = given
	}
	t.Logf("SAFEEXEC_SEED=%d", seed)
	return seed
}
