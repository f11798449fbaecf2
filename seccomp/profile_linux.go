package seccomp

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ProfileEnvironment describes the calling thread and the running kernel. The capabilities are the permitted ones: whoever
// loads a filter sets no_new_privs, so that nothing below it can have more.
func ProfileEnvironment() (ProfileEnv, error) {
	var env ProfileEnv
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return env, fmt.Errorf("seccomp: read the capabilities: %w", err)
	}
	env.Capabilities = uint64(data[1].Permitted)<<32 | uint64(data[0].Permitted)
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return env, fmt.Errorf("seccomp: read the kernel's version: %w", err)
	}
	env.Release = unix.ByteSliceToString(name.Release[:])
	return env, nil
}
