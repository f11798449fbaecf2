package fdtable_test

import (
	"fmt"
	"log"
	"os"

	"github.com/safeexec/safeexec/fdtable"
)

// The numbers of a command line become an order of duplications in which nothing is overwritten, and what is to be closed.
func Example() {
	items, err := fdtable.ParseList("3:4,4:3,7")
	if err != nil {
		log.Fatal(err)
	}
	var moves []fdtable.Move
	var kept []int
	for _, item := range items {
		move := fdtable.Move{From: item.First, To: item.To}
		if item.To < 0 {
			move.To = item.First
		}
		moves, kept = append(moves, move), append(kept, move.To)
	}
	names := []string{"dup", "stash", "clear", "close", "open"}
	for _, step := range fdtable.Arrange(moves) {
		fmt.Println(names[step.Op], step.From, step.To)
	}
	fmt.Println(fdtable.Gaps(kept))
	// Output:
	// stash 4 0
	// dup 3 4
	// dup 0 3
	// clear 7 7
	// close 0 0
	// [{0 2} {5 6} {8 4294967295}]
}

func ExampleInspect() {
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	connection, err := w.SyscallConn() // which leaves the descriptor's mode alone
	if err != nil {
		log.Fatal(err)
	}
	err = connection.Control(func(fd uintptr) {
		d, err := fdtable.Inspect(int(fd))
		fmt.Println(d.Kind, d.Flags.Access(), d.CloseOnExec, err)
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: pipe write true <nil>
}

func ExampleList() {
	table, err := fdtable.List(os.Getpid())
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range table[:3] {
		fmt.Println(d.Number, d.CloseOnExec)
	}
	// Output:
	// 0 false
	// 1 false
	// 2 false
}
