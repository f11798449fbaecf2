package command

import (
	"strings"
	"testing"
)

// testClosed: what isn't kept must be closed before the kernel looks for the program, or a path through /proc/self/fd leads out
// of a container by a descriptor that was merely marked (CVE-2024-21626).
func (c *caller) testClosed(t *testing.T) {
	const prepare = `mkdir -p tree; cp /bin/touch tree/; ln -sfn /proc/self/fd/7 link; ln -sfn /proc/self/fd/7/touch file
		printf '#!/proc/self/fd/7/touch ran\n' >script; printf '#!%s/link/touch ran\n' "$PWD" >script2; chmod +x script script2; `
	for _, options := range []string{"", "--close 2", "--keep 5:2", "--leaks warn 2>/dev/null", "-k 7:6 --close 0"} {
		for _, branch := range branches[:3] {
			t.Run(branch.name+" "+options, func(t *testing.T) {
				for _, path := range []string{
					"/proc/self/fd/7/touch", "/dev/fd/7/touch", "/proc/thread-self/fd/7/touch", "/proc/$$/fd/7/touch",
					"link/touch", "./file", "./script", "./script2", "/proc/self/root/proc/self/fd/7/touch",
				} {
					kept := strings.Contains(options, "7:") // then the description is the command's, at another number
					if kept && !strings.HasPrefix(path, "/proc/self/fd/") && !strings.HasPrefix(path, "/dev/fd/") {
						continue
					}
					r := c.bash(t, prepare+"exec 5>>five 7<tree; exec "+branch.prefix+" "+branch.safeexec+" "+options+" -- "+path+" ran")
					if c.ran() || r.status != 126 && r.status != 127 {
						t.Errorf("%s: status %d, ran: %v, stderr %q", path, r.status, c.ran(), r.stderr)
					}
				}
			})
		}
	}
	t.Run("kept", func(t *testing.T) {
		for _, path := range []string{"/proc/self/fd/7/touch", "/dev/fd/7/touch", "link/touch", "./file", "./script"} {
			r := c.bash(t, prepare+"exec 7<tree; exec $safeexec -k 7 -- "+path+" ran")
			if !c.ran() || r.status != 0 {
				t.Errorf("%s: status %d, stderr %q", path, r.status, r.stderr)
			}
		}
	})
}

// testFailedExec: the message reaches standard error, although the command was to have another one, or none.
func (c *caller) testFailedExec(t *testing.T) {
	const prepare = `echo >text; chmod +x text; printf '#!/no/such/interpreter\n' >script; chmod +x script; : >plain; `
	for _, options := range []string{
		"", "--close 2", "--close 0,1,2", "--keep 5:2", "--keep 5:2,2:5", "--keep 2:5", "--keep all", "--no-new-privs", "--die-with-parent",
	} {
		for _, branch := range branches[:3] {
			t.Run(branch.name+" "+options, func(t *testing.T) {
				for _, tt := range []struct {
					path   string
					status int
					want   string
				}{
					{"no-such-program", 127, "no-such-program: no such file or directory"},
					{"./no/such/program", 127, "no such file or directory"},
					{"./text/program", 127, "not a directory"},
					{"./text", 126, "exec format error"},
					{"./script", 126, "its interpreter or loader, or a descriptor on the way to it, is missing"},
					{"./plain", 126, "permission denied"},
					{"/", 126, "permission denied"},
				} {
					r := c.bash(t, prepare+"exec 5>>five 7</; exec "+branch.prefix+" "+branch.safeexec+" "+options+" -- "+tt.path)
					t.Run(tt.path, func(t *testing.T) { c.refused(t, r, tt.status, tt.want) })
				}
			})
		}
	}
	t.Run("json", func(t *testing.T) {
		for _, options := range []string{"", "--close 2", "--keep 5:2", "--keep all"} {
			r := c.bash(t, prepare+"exec 5>>five 6>json; $safeexec --json-status-fd 6 "+options+" -- ./text 2>/dev/null; cat json")
			if want := `{"stage":"execute","descriptor":null,"errno":"ENOEXEC","exit-code":126}` + "\n"; r.stdout != want {
				t.Errorf("%s: %q, want %q", options, r.stdout, want)
			}
		}
	})
}
