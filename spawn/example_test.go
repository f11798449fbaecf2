package spawn_test

import (
	"fmt"
	"log"
	"os"

	"github.com/safeexec/safeexec/seccomp"
	"github.com/safeexec/safeexec/spawn"
)

func Example() {
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	cmd := spawn.Command("sh", "-c", "echo by descriptor 7 >&7; ls /proc/self/fd")
	cmd.Pass = []spawn.Descriptor{{Number: 7, File: w}}
	table, err := cmd.Output()
	if err != nil {
		log.Fatal(err)
	}
	w.Close()
	var by, descriptor string
	var number int
	fmt.Fscan(r, &by, &descriptor, &number)
	fmt.Println(by, descriptor, number)
	fmt.Printf("%q\n", table) // 3 is the directory that ls reads
	// Output:
	// by descriptor 7
	// "0\n1\n2\n3\n7\n"
}

func ExampleDescriptor() {
	file, err := os.Open("/etc/passwd")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	cmd := spawn.Command("cat", "/dev/fd/3")
	cmd.Pass = []spawn.Descriptor{{Number: 3, File: file, Mode: spawn.Private}}
	if err := cmd.Run(); err != nil {
		log.Fatal(err)
	}
	offset, err := file.Seek(0, 1)
	fmt.Println(offset, err)
	// Output: 0 <nil>
}

func ExampleStartError() {
	cmd := spawn.Command("/bin/true")
	cmd.Dir = "/no/such/directory"
	fmt.Println(cmd.Run())
	// Output: spawn: /bin/true: change directory to /no/such/directory: no such file or directory
}

func ExampleCmd_filter() {
	filter, err := seccomp.Compile(seccomp.Policy{Deny: seccomp.Lock})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range []*seccomp.Filter{nil, filter} {
		cmd := spawn.Command("flock", "/dev/null", "true")
		cmd.Filter = f
		fmt.Println(cmd.Run() == nil)
	}
	// Output:
	// true
	// false
}
