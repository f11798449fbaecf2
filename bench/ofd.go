package main

import (
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/ofd"
)

// describing measures package ofd: files with an offset of their own, and the passing of descriptors.
func describing(rounds int, p programs) []table {
	return []table{readFiles(rounds, p.dir), passFiles(rounds)}
}

// batch measures a function that does the same so many times.
func batch(n int, do func()) func() reading {
	return func() reading {
		begin := time.Now()
		do()
		return reading{float64(time.Since(begin)) / float64(n), math.NaN()}
	}
}

type seekable interface {
	io.ReadSeeker
	io.ReaderAt
}

// readFiles compares ofd.File with os.File on a file that is in memory already.
func readFiles(rounds int, dir string) table {
	const size = 16 << 20
	path := filepath.Join(dir, "file")
	must(os.WriteFile(path, make([]byte, size), 0o600))
	target := try(os.Create(filepath.Join(dir, "copy")))
	defer target.Close()

	plainly := func() seekable { return try(os.Open(path)) }
	own := func() seekable { return try(ofd.TakeFile(try(os.Open(path)))) }
	kinds := []struct {
		name string
		open func() seekable
	}{{"os.File", plainly}, {"os.File" + again, plainly}, {"ofd.File", own}, {"ofd.File" + again, own}}
	operations := []struct {
		name  string
		count int // in a batch
		do    func(f seekable, count int)
	}{
		{"Read 4 KiB", 500, func(f seekable, count int) { readOn(f, count, 4<<10) }},
		{"Read 1 MiB", size >> 20, func(f seekable, count int) { readOn(f, count, 1<<20) }},
		{"ReadAt 4 KiB, 2 at once", 1000, func(f seekable, count int) { readAtOnce(f, count, 4<<10) }},
		{"ReadAt 1 MiB, 2 at once", size >> 20, func(f seekable, count int) { readAtOnce(f, count, 1<<20) }},
		{"io.Copy of 16 MiB", 1, func(f seekable, _ int) {
			try(f.Seek(0, io.SeekStart))
			try(target.Seek(0, io.SeekStart))
			try(io.Copy(target, f))
		}},
	}

	t := table{title: "Files", notes: []string{"A file in the page cache. Per operation; ratios are to os.File."}}
	var subjects []subject
	for _, k := range kinds {
		t.rows = append(t.rows, row{name: k.name, ours: strings.HasPrefix(k.name, "ofd.")})
		f := k.open()
		defer f.(io.Closer).Close()
		for _, o := range operations {
			subjects = append(subjects, subject{run: batch(o.count, func() { o.do(f, o.count) })})
		}
	}
	taken := interleave(rounds/2, subjects)
	for i, o := range operations {
		var ns []float64
		for k := range kinds {
			ns = append(ns, taken[k*len(operations)+i].time())
		}
		t.add(o.name, "µs", ns, func(ns float64) float64 { return ns / 1e3 })
	}
	return t
}

func readOn(f seekable, count, size int) {
	block := make([]byte, size)
	try(f.Seek(0, io.SeekStart))
	for range count {
		try(io.ReadFull(f, block))
	}
}

// readAtOnce reads by two goroutines, each its half of the blocks.
func readAtOnce(f seekable, count, size int) {
	var both sync.WaitGroup
	for half := range 2 {
		both.Go(func() {
			block := make([]byte, size)
			for i := half; i < count; i += 2 {
				try(f.ReadAt(block, int64(i*size)))
			}
		})
	}
	both.Wait()
}

// passFiles compares ways to bring descriptors through a UNIX socket, from having them to having closed what arrived.
func passFiles(rounds int) table {
	pair := try(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	from, to := unixPair()
	defer from.Close()
	defer to.Close()
	bare := func(n int) { passBare(pair, n) }
	owned := func(n int) { passOwned(from, to, n) }
	ways := []struct {
		name string
		pass func(n int)
	}{
		{"sendmsg and recvmsg", bare},
		{"sendmsg and recvmsg" + again, bare},
		{"ofd.Send and ofd.Recv", owned},
		{"ofd.Send and ofd.Recv" + again, owned},
	}

	t := table{title: "Passing files", notes: []string{
		"Duplicate, send, receive, close what arrived. The system calls are on bare numbers, ofd on *os.File and *net.UnixConn.",
	}}
	sizes := []int{1, 16}
	var subjects []subject
	for _, n := range sizes {
		for _, w := range ways {
			subjects = append(subjects, subject{run: batch(100, func() {
				for range 100 {
					w.pass(n)
				}
			})})
		}
	}
	for _, w := range ways {
		t.rows = append(t.rows, row{name: w.name, ours: strings.HasPrefix(w.name, "ofd.")})
	}
	taken := interleave(rounds/2, subjects)
	for i, n := range sizes {
		var ns []float64
		for w := range ways {
			ns = append(ns, taken[i*len(ways)+w].time())
		}
		t.add(fmt.Sprintf("%d in a message", n), "µs", ns, func(ns float64) float64 { return ns / 1e3 })
	}
	return t
}

func unixPair() (from, to *net.UnixConn) {
	pair := try(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	var ends []*net.UnixConn
	for _, fd := range pair {
		file := os.NewFile(uintptr(fd), "socket")
		ends = append(ends, try(net.FileConn(file)).(*net.UnixConn))
		file.Close()
	}
	return ends[0], ends[1]
}

func duplicate() int { return try(unix.FcntlInt(openNull().Fd(), unix.F_DUPFD_CLOEXEC, 0)) }

func passBare(pair [2]int, n int) {
	fds := make([]int, n)
	for i := range fds {
		fds[i] = duplicate()
	}
	must(unix.Sendmsg(pair[0], []byte("x"), unix.UnixRights(fds...), nil, 0))
	for _, fd := range fds {
		unix.Close(fd)
	}
	payload, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4*n))
	_, size, _, _, err := unix.Recvmsg(pair[1], payload, control, unix.MSG_CMSG_CLOEXEC)
	must(err)
	messages := try(unix.ParseSocketControlMessage(control[:size]))
	for _, fd := range try(unix.ParseUnixRights(&messages[0])) {
		unix.Close(fd)
	}
}

func passOwned(from, to *net.UnixConn, n int) {
	files := make([]*os.File, n)
	for i := range files {
		files[i] = os.NewFile(uintptr(duplicate()), "file")
	}
	must(ofd.Send(from, []byte("x"), files...))
	_, files, err := ofd.Recv(to, make([]byte, 1), n)
	must(err)
	for _, file := range files {
		file.Close()
	}
}
