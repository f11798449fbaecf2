// Package fdtable is about descriptor tables: what a process holds, and which number gets what.
//
// A descriptor is a number in a process's table; it refers to an open file description, the kernel's object, which other
// descriptors may refer to as well. This package reads tables and plans them:
//
//	items, err := fdtable.ParseList("3,7-9,5:0") // the LIST of a command line
//	steps := fdtable.Arrange(moves)              // duplications, in an order in which nothing is overwritten
//	holes := fdtable.Gaps([]int{0, 1, 2, 7})     // what close_range(2) has to close
//	table, err := fdtable.List(pid)              // every descriptor of a process, with kind, flags, locks, target
//
// What plans is pure: it makes no system call, so that the code between fork and exec is a loop over prepared values. What
// reads a table goes by /proc and refuses anything in its place that isn't procfs.
//
// It doesn't look behind the numbers: which descriptors refer to one description is a question for package ofd.
package fdtable
