package ofd

import (
	"io/fs"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// Stat implements fs.File. Sys returns a *unix.Stat_t.
func (f *File) Stat() (fs.FileInfo, error) {
	info := &fileInfo{name: path.Base(f.name)}
	err := f.Control(func(fd int) error { return unix.Fstat(fd, &info.stat) })
	if err != nil {
		return nil, f.failed("stat", err)
	}
	return info, nil
}

type fileInfo struct {
	name string
	stat unix.Stat_t
}

func (i *fileInfo) Name() string       { return i.name }
func (i *fileInfo) Size() int64        { return i.stat.Size }
func (i *fileInfo) IsDir() bool        { return false }
func (i *fileInfo) Sys() any           { return &i.stat }
func (i *fileInfo) ModTime() time.Time { return time.Unix(i.stat.Mtim.Unix()) }

// Mode translates what a File can be: a regular file or a block device.
func (i *fileInfo) Mode() fs.FileMode {
	mode := fs.FileMode(i.stat.Mode & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{
		unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky,
	} {
		if i.stat.Mode&bit != 0 {
			mode |= flag
		}
	}
	if i.stat.Mode&unix.S_IFMT == unix.S_IFBLK {
		mode |= fs.ModeDevice
	}
	return mode
}
