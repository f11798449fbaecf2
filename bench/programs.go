package main

import (
	"embed"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed c
var sources embed.FS

// programs are the paths of what is started. All but trueProgram and safeexec are built for the run.
type programs struct {
	dir         string // holds what was built
	tiny        string // ends at once; static, without libc
	trueProgram string // ends at once; dynamic, with libc
	wrap        string // closes in the way named, then becomes the command; static, without libc
	spawn       string // starts programs by posix_spawn or vfork, in C
	crowd       string // many processes with many descriptors
	pour        string // writes so many bytes
	python      string // the same by subprocess: a script
	minimal     string // the smallest Go program that does what safeexec does
	nothing     string // the same without the closing
	safeexec    string
}

func build(dir, safeexec string) programs {
	must(os.CopyFS(dir, sources))
	p := programs{dir: dir, safeexec: absolute(safeexec), trueProgram: absolute("/bin/true")}
	gcc := func(name string, flags ...string) string {
		return built(dir, "gcc", append(flags, "-O2", "-o", name, "c/"+name+".c"), name)
	}
	bare := []string{"-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-asynchronous-unwind-tables"}
	p.tiny = gcc("tiny", bare...)
	p.wrap = gcc("wrap", bare...)
	p.spawn = gcc("spawn", "-pthread")
	p.crowd = gcc("crowd")
	p.pour = gcc("pour")
	p.python = filepath.Join(dir, "c/spawn.py")

	golang := func(name string, flags ...string) string {
		path := filepath.Join(dir, name)
		return built(".", "go", append(append([]string{"build", "-trimpath", "-o", path}, flags...), "./bench/minimal"), path)
	}
	p.minimal = golang("minimal")
	p.nothing = golang("nothing", "-ldflags=-X main.closing=no")
	return p
}

// built runs a compiler and returns where its output is.
func built(dir, compiler string, args []string, output string) string {
	cmd := exec.Command(compiler, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	must(cmd.Run())
	if filepath.IsAbs(output) {
		return output
	}
	return filepath.Join(dir, output)
}

// absolute finds a program in PATH, or where its path says.
func absolute(name string) string {
	return try(filepath.Abs(try(exec.LookPath(name))))
}
