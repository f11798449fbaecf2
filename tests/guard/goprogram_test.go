package guard

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// goProgram is an ordinary program in Go: a server and a client, subprocesses, a locked file.
func goProgram([]string) int {
	for _, part := range []func() error{serve, subprocess, lockedFile} {
		if err := part(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	fmt.Println("said")
	return 0
}

func serve() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") }))
	response, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "page" {
		return fmt.Errorf("got %q, %w", body, err)
	}
	return nil
}

func subprocess() error {
	cmd := exec.Command("cat")
	cmd.Stdin = strings.NewReader(strings.Repeat("x", 200000))
	out, err := cmd.Output()
	if err != nil || len(out) != 200000 {
		return fmt.Errorf("cat gave %d bytes, %w", len(out), err)
	}
	inherit := exec.Command("sh", "-c", "echo inherited; ls /nowhere >/dev/null 2>&1 || true")
	inherit.Stdin, inherit.Stdout, inherit.Stderr = os.Stdin, os.Stdout, os.Stderr
	return inherit.Run()
}

func lockedFile() error {
	f, err := os.Create("locked")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	if _, err := f.Seek(10, io.SeekStart); err != nil {
		return err
	}
	_, err = f.WriteString("x")
	return err
}
