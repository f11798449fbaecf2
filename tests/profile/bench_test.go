package profile

import (
	"testing"

	"github.com/safeexec/safeexec/seccomp"
)

// BenchmarkParse reads and compiles docker's default profile.
func BenchmarkParse(b *testing.B) {
	env, err := seccomp.ProfileEnvironment()
	if err != nil {
		b.Fatal(err)
	}
	text := dockersProfile(b)
	for b.Loop() {
		if _, err := seccomp.ParseProfile(text, env); err != nil {
			b.Fatal(err)
		}
	}
}
