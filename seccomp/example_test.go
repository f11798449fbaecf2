package seccomp_test

import (
	"fmt"
	"log"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/seccomp"
)

// A lock at 7 is shared with a command that may not touch it. Calls are explained by the rule that decides.
func Example() {
	policy := seccomp.Policy{Guard: true}.Keep(
		seccomp.Descriptor{Number: 7, Kind: seccomp.Regular, Guard: seccomp.Lock},
	)
	filter, err := seccomp.Compile(policy)
	if err != nil {
		log.Fatal(err)
	}
	for _, call := range []string{"flock(7, LOCK_UN)", "flock(8, LOCK_UN)", "fcntl(7, F_SETFL)", "io_uring_setup(8, ?)"} {
		answer, err := filter.Explain(call)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(answer)
	}
	// Output:
	// refused with EPERM: flock(fd 7) [lock]
	// permitted: no rule refuses it
	// permitted: no rule refuses it
	// refused with ENOSYS: io_uring_setup(...) [dup,pass,offset,mode,wberr]
}

func ExamplePolicy() {
	deny, err := seccomp.ParseDeny("flags,lock")
	if err != nil {
		log.Fatal(err)
	}
	filter, err := seccomp.Compile(seccomp.Policy{Deny: deny, Action: seccomp.Errno(unix.EACCES)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(filter.Explain("fcntl(1, F_OFD_SETLK)"))
	// Output: refused with EACCES: fcntl(cmd F_OFD_SETLK|F_OFD_SETLKW) [lock] <nil>
}
