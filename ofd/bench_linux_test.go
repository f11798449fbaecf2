package ofd

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

const benchSize = 16 << 20

// readers opens the same file in each of the ways that are compared.
var readers = []struct {
	name string
	open func(b *testing.B, path string) both
}{
	{"os", func(b *testing.B, path string) both {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(b, err)
		b.Cleanup(func() { f.Close() })
		return f
	}},
	{"ofd", func(b *testing.B, path string) both { return newFile(b, path, unix.O_RDWR) }},
}

func BenchmarkRead(b *testing.B) {
	path := fileWith(b, strings.Repeat("0123456789abcdef", benchSize/16))
	for _, block := range []int{4 << 10, 1 << 20} {
		for _, r := range readers {
			b.Run(fmt.Sprintf("%d/%s", block, r.name), func(b *testing.B) {
				f, p := r.open(b, path), make([]byte, block)
				b.SetBytes(int64(block))
				for b.Loop() {
					if _, err := f.Read(p); err == io.EOF {
						f.Seek(0, io.SeekStart)
					} else if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkParallelReadAt(b *testing.B) {
	path := fileWith(b, strings.Repeat("0123456789abcdef", benchSize/16))
	for _, block := range []int{4 << 10, 1 << 20} {
		for _, r := range readers {
			b.Run(fmt.Sprintf("%d/%s", block, r.name), func(b *testing.B) {
				f := r.open(b, path)
				b.SetBytes(int64(block))
				var next atomic.Int64
				b.RunParallel(func(pb *testing.PB) {
					p := make([]byte, block)
					for pb.Next() {
						if _, err := f.ReadAt(p, next.Add(int64(block))%(benchSize-int64(block))); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
		b.Run(fmt.Sprintf("%d/map", block), func(b *testing.B) {
			m := newMap(b, path)
			b.SetBytes(int64(block))
			var next atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				p := make([]byte, block)
				for pb.Next() {
					if _, err := m.ReadAt(p, next.Add(int64(block))%(benchSize-int64(block))); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, flags := range []int{0, unix.O_APPEND} {
		for _, r := range []string{"os", "ofd"} {
			b.Run(fmt.Sprintf("%#x/%s", flags, r), func(b *testing.B) {
				path := fileWith(b, "")
				var f both = newFile(b, path, unix.O_RDWR|flags)
				if r == "os" {
					o, err := os.OpenFile(path, os.O_RDWR|flags, 0)
					must(b, err)
					defer o.Close()
					f = o
				}
				p := make([]byte, 4<<10)
				b.SetBytes(int64(len(p)))
				for n := 0; b.Loop(); n++ {
					if _, err := f.Write(p); err != nil {
						b.Fatal(err)
					}
					if n%4096 == 0 {
						must(b, os.Truncate(path, 0))
						f.Seek(0, io.SeekStart)
					}
				}
			})
		}
	}
}

func BenchmarkCopy(b *testing.B) {
	path := fileWith(b, strings.Repeat("0123456789abcdef", benchSize/16))
	targets := []struct {
		name string
		open func(b *testing.B) io.Writer
	}{
		{"file", func(b *testing.B) io.Writer {
			to, err := os.Create(b.TempDir() + "/to")
			must(b, err)
			b.Cleanup(func() { to.Close() })
			return to
		}},
		{"tcp", drain},
	}
	for _, target := range targets {
		for _, r := range readers {
			b.Run(target.name+"/"+r.name, func(b *testing.B) {
				f, to := r.open(b, path), target.open(b)
				b.SetBytes(benchSize)
				for b.Loop() {
					f.Seek(0, io.SeekStart)
					if s, ok := to.(io.Seeker); ok {
						s.Seek(0, io.SeekStart)
					}
					if n, err := io.Copy(to, f); n != benchSize || err != nil {
						b.Fatal(n, err)
					}
				}
			})
		}
	}
	for _, r := range readers {
		b.Run("from/"+r.name, func(b *testing.B) {
			from, err := os.Open(path)
			must(b, err)
			defer from.Close()
			to := r.open(b, fileWith(b, ""))
			b.SetBytes(benchSize)
			for b.Loop() {
				to.Seek(0, io.SeekStart)
				from.Seek(0, io.SeekStart)
				if n, err := io.Copy(to, from); n != benchSize || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// drain is a TCP connection whose other side reads everything.
func drain(b *testing.B) io.Writer {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	defer listener.Close()
	to, err := net.Dial("tcp", listener.Addr().String())
	must(b, err)
	from, err := listener.Accept()
	must(b, err)
	go io.Copy(io.Discard, struct{ io.Reader }{from})
	b.Cleanup(func() { to.Close(); from.Close() })
	return to
}

// BenchmarkPass passes a file to and fro in one process, by the bare system calls and by Send and Recv.
func BenchmarkPass(b *testing.B) {
	b.Run("syscalls", func(b *testing.B) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(b, err)
		defer unix.Close(pair[0])
		defer unix.Close(pair[1])
		payload, control := []byte("x"), make([]byte, unix.CmsgSpace(4))
		for b.Loop() {
			fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			must(b, err)
			must(b, unix.Sendmsg(pair[0], payload, unix.UnixRights(fd), nil, 0))
			unix.Close(fd)
			_, n, _, _, err := unix.Recvmsg(pair[1], payload, control, unix.MSG_CMSG_CLOEXEC)
			must(b, err)
			messages, err := unix.ParseSocketControlMessage(control[:n])
			must(b, err)
			fds, err := unix.ParseUnixRights(&messages[0])
			must(b, err)
			unix.Close(fds[0])
		}
	})
	for name, recv := range map[string]func(c *net.UnixConn, p []byte) (io.Closer, error){
		"Recv": func(c *net.UnixConn, p []byte) (io.Closer, error) {
			_, files, err := Recv(c, p, 1)
			if err != nil {
				return nil, err
			}
			return files[0], nil
		},
		"RecvPrivate": func(c *net.UnixConn, p []byte) (io.Closer, error) {
			_, files, err := RecvPrivate(c, p, 1, Refuse)
			if err != nil {
				return nil, err
			}
			return files[0], nil
		},
	} {
		b.Run("Send and "+name, func(b *testing.B) {
			from, to := socketPair(b, unix.SOCK_STREAM)
			payload := []byte("x")
			for b.Loop() {
				fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
				must(b, err)
				must(b, Send(from, payload, os.NewFile(uintptr(fd), "null")))
				file, err := recv(to, payload)
				must(b, err)
				file.Close()
			}
		})
	}
}

func BenchmarkReopen(b *testing.B) {
	r, _ := pipe(b, 0)
	for name, fd := range map[string]int{"file": open(b, fileWith(b, "content"), unix.O_RDONLY), "pipe": r} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				fresh, err := Reopen(fd, Refuse)
				must(b, err)
				unix.Close(fresh)
			}
		})
	}
}

func BenchmarkState(b *testing.B) {
	fd := open(b, fileWith(b, "content"), unix.O_RDONLY)
	for b.Loop() {
		_, err := StateOf(fd)
		must(b, err)
	}
}
