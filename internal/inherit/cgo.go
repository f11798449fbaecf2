//go:build race || libseccomp || msan || asan

package inherit

/*
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t ignored, blocked;

__attribute__((constructor)) static void read_signals(void) {
	for (int sig = 1; sig < 65; sig++) {
		uintptr_t action[8] = {0}; // the kernel's struct: the handler comes first
		if (syscall(SYS_rt_sigaction, sig, NULL, action, 8) == 0 && action[0] == (uintptr_t)SIG_IGN)
			ignored |= (uint64_t)1 << (sig - 1);
	}
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &blocked, 8);
}

static uint64_t ignored_at_start(void) { return ignored; }
static uint64_t blocked_at_start(void) { return blocked; }
*/
import "C"

// Read by a constructor, before the runtime's own start.
var ignoredAtStart, blockedAtStart = uint64(C.ignored_at_start()), uint64(C.blocked_at_start())
