//go:build 386 || arm

// Narrow is a program of 32 bits: it does what programs do ("works"), or tries to change, copy and send descriptor 3, a regular file,
// and 4, a directory, by the numbers of its own table ("attempts"). It prints what came of each thing, as JSON.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// found has, for each thing that was tried, ok or the error's name.
type found map[string]string

func (f found) try(what string, err error) {
	var errno unix.Errno
	switch {
	case err == nil:
		f[what] = "ok"
	case errors.As(err, &errno):
		f[what] = unix.ErrnoName(errno)
	default:
		f[what] = err.Error()
	}
}

func main() {
	f := found{}
	switch os.Args[1] {
	case "say":
		fmt.Print(os.Args[2])
		return
	case "works":
		for _, w := range works {
			f.try(w.name, w.do())
		}
	case "attempts":
		for _, a := range attempts {
			f.try(a.name, a.do(file))
		}
		for _, a := range onDirectory {
			f.try(a.name, a.do(directory))
		}
		f.try("pass: a copy over a pair", passOverPair())
		f.try("a copy: flags, owner, lock", tryCopy())
	default:
		os.Exit(2)
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		os.Exit(1)
	}
}
