// Package probe finds out what this kernel, and whatever sandbox is around us, offers of what safeexec builds on. No probe
// changes the process: each is a call that is refused for its arguments where it exists, or that touches only what the probe
// itself has opened, or that runs on a thread that is thrown away afterwards.
package probe

// A Loss says what becomes of the promises where a feature is missing.
type Loss string

// The losses. Only Fallback and Failure count against full strength.
const (
	Extra    Loss = "extra"      // of newer kernels: better with it, no promise without it
	Fallback Loss = "falls back" // the promise is kept in another way, slower
	Failure  Loss = "fails"      // what needs it is refused
)

// A Feature is what one probe found.
type Feature struct {
	Name    string // stable
	Since   string // the version of Linux that has it, where a version decides
	Present bool
	Value   string // what there is more to tell: "ABI 7"
	Reason  string // why it isn't present: the name of the kernel's error
	Loss    Loss   // what its absence means
	Effect  string // the same in words
}

// Counts reports whether the feature is missing in a way that counts against full strength.
func (f Feature) Counts() bool { return !f.Present && (f.Loss == Fallback || f.Loss == Failure) }

// FullStrength reports whether nothing is missing that a promise needs.
func FullStrength(features []Feature) bool {
	for _, f := range features {
		if f.Counts() {
			return false
		}
	}
	return true
}
