package main

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// An archive is an initramfs in the making, in cpio's "newc" form; see the kernel's buffer-format.rst.
type archive struct {
	out   *bufio.Writer
	inode int
	made  map[string]bool
	err   error
}

func newArchive(w io.Writer) *archive {
	return &archive{out: bufio.NewWriter(w), made: map[string]bool{".": true, "/": true}}
}

// entry writes a header and what follows it. The first error stays.
func (a *archive) entry(name string, mode uint32, device uint64, data io.Reader, size int64) {
	name = strings.TrimPrefix(name, "/")
	if a.err != nil || a.made[name] {
		return
	}
	if dir := path.Dir(name); !a.made[dir] {
		a.directory(dir, 0o755)
	}
	a.made[name] = true
	a.inode++
	_, err := fmt.Fprintf(a.out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00", a.inode, mode, 0, 0, 1, 0, size,
		0, 0, unix.Major(device), unix.Minor(device), len(name)+1, 0, name)
	a.keep(err)
	const header = 110
	a.pad(int64(header + len(name) + 1))
	if data != nil && a.err == nil {
		copied, err := io.Copy(a.out, data)
		a.keep(err)
		if copied != size && err == nil {
			a.keep(fmt.Errorf("%s: %d bytes, not %d", name, copied, size))
		}
		a.pad(size)
	}
}

func (a *archive) keep(err error) {
	if a.err == nil {
		a.err = err
	}
}

// pad fills up to the next multiple of four.
func (a *archive) pad(written int64) {
	_, err := a.out.WriteString("\x00\x00\x00"[:(4-written%4)%4])
	a.keep(err)
}

func (a *archive) directory(name string, perm uint32) { a.entry(name, unix.S_IFDIR|perm, 0, nil, 0) }

func (a *archive) device(name string, major, minor uint32) {
	a.entry(name, unix.S_IFCHR|0o666, unix.Mkdev(major, minor), nil, 0)
}

func (a *archive) text(name, text string) {
	a.entry(name, unix.S_IFREG|0o644, 0, strings.NewReader(text), int64(len(text)))
}

func (a *archive) link(name, target string) {
	a.entry(name, unix.S_IFLNK|0o777, 0, strings.NewReader(target), int64(len(target)))
}

// file copies a file of this machine, through symbolic links.
func (a *archive) file(name, source string) {
	f, err := os.Open(source)
	if err != nil {
		a.keep(err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		a.keep(err)
		return
	}
	a.entry(name, unix.S_IFREG|uint32(info.Mode().Perm())|0o444, 0, f, info.Size())
}

// tree copies a directory with all that is in it.
func (a *archive) tree(name, source string) { a.treeBut(name, source, nil) }

// treeBut leaves out what in the directory or below has a name that matches.
func (a *archive) treeBut(name, source string, but *regexp.Regexp) {
	a.keep(filepath.WalkDir(source, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if but != nil && but.MatchString(entry.Name()) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		below, err := filepath.Rel(source, file)
		if err != nil {
			return err
		}
		switch entry.Type() {
		case 0:
			a.file(path.Join(name, below), file)
		case fs.ModeSymlink:
			target, err := os.Readlink(file)
			a.link(path.Join(name, below), target)
			return err
		}
		return nil
	}))
}

func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, 0, nil, 0)
	a.keep(a.out.Flush())
	return a.err
}
