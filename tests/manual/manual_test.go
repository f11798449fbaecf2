// Package manual reads the manual pages with the programs that show them, and uses the completions in real shells.
package manual

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/safeexec/safeexec/internal/proctest"
)

// TestManual makes the files once, for all that looks at them.
func TestManual(t *testing.T) {
	m := &made{dir: t.TempDir()}
	if err := os.Chdir(t.TempDir()); err != nil { // nothing else is there to be offered
		t.Fatal(err)
	}
	for _, name := range []string{"other", "some file", "somewhere/x"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m.make(t)
	t.Run("Lint", m.testLint)
	t.Run("Options", m.testOptions)
	t.Run("Shown", m.testShown)
	t.Run("Syntax", m.testSyntax)
	t.Run("Bash", m.testBash)
	t.Run("Zsh", m.testZsh)
	t.Run("Fish", m.testFish)
	t.Run("Install", m.testInstall)
}

// made are the binary and what was made of its definitions.
type made struct{ dir, safeexec string }

// make has make do it. A user who has no Go is given both: SAFEEXEC_BINARY, and SAFEEXEC_MANUAL_DIR.
func (m *made) make(t *testing.T) {
	m.safeexec, m.dir = os.Getenv("SAFEEXEC_BINARY"), os.Getenv("SAFEEXEC_MANUAL_DIR")
	if m.safeexec != "" && m.dir != "" {
		return
	}
	m.dir = t.TempDir()
	m.run(t, "make", "-s", "-C", mainModule, "BIN="+m.dir+"/bin", "MANUAL="+m.dir, "build", "manual")
	m.safeexec = m.dir + "/bin/safeexec"
}

// run runs a program that must succeed, and returns its standard output.
func (m *made) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(proctest.NeedTool(t, name), args...)
	cmd.Env = append(os.Environ(), "COMPLETIONS="+filepath.Join(m.dir, filepath.Base(name)), "TERM=dumb", "MANWIDTH=80", "LC_ALL=C.UTF-8")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out, stderr.String())
	}
	if stderr.Len() > 0 {
		t.Errorf("%v: %s", cmd.Args, stderr.String())
	}
	return string(out)
}

var subcommands = []string{"", "fds", "policy", "doctor", "check"}

func (m *made) page(subcommand string) string {
	return filepath.Join(m.dir, "man1", strings.TrimSuffix("safeexec-"+subcommand, "-")+".1")
}

// Both formatters must have nothing to say.
func (m *made) testLint(t *testing.T) {
	for _, c := range subcommands {
		m.run(t, "mandoc", "-T", "lint", "-W", "warning", m.page(c))
		m.run(t, "man", "--warnings", "-E", "UTF-8", "--nj", "--nh", "-P", "cat", "-l", m.page(c))
	}
}

var option = regexp.MustCompile(`--?[a-z][a-z-]*`)

// Whatever --help lists stands in the page.
func (m *made) testOptions(t *testing.T) {
	for _, c := range subcommands {
		args := []string{"--help"}
		if c != "" {
			args = []string{c, "--help"}
		}
		_, listed, ok := strings.Cut(m.run(t, m.safeexec, args...), "OPTIONS:")
		if !ok {
			t.Fatalf("%s --help lists no options", c)
		}
		page := m.run(t, "man", "--nj", "--nh", "-P", "cat", "-l", m.page(c))
		seen := 0
		for line := range strings.Lines(listed) {
			names, _, _ := strings.Cut(strings.TrimSpace(line), "  ")
			for _, name := range option.FindAllString(names, -1) {
				seen++
				if !regexp.MustCompile(`(?m)^ {7}(-[a-z], |--[a-z-]+, )*` + name + `([ ,[]|$)`).MatchString(page) {
					t.Errorf("the page of safeexec %s lacks %s", c, name)
				}
			}
		}
		if seen == 0 {
			t.Errorf("safeexec %s --help: %s", c, listed)
		}
	}
}

// A page as a reader sees it: sections in their order, literal blocks as they were, hyphens that can be copied.
func (m *made) testShown(t *testing.T) {
	page := m.run(t, "man", "--nj", "--nh", "-P", "cat", "-l", m.page(""))
	var sections []string
	for line := range strings.Lines(page) {
		if line[0] != ' ' && line[0] != '\n' && !strings.HasPrefix(line, "SAFEEXEC") && !strings.HasPrefix(line, "safeexec") {
			sections = append(sections, strings.TrimSpace(line))
		}
	}
	want := []string{
		"NAME", "SYNOPSIS", "DESCRIPTION", "LISTS", "OPTIONS", "GUARDS", "EXIT STATUS", "ENVIRONMENT", "NOTES", "EXAMPLES", "SEE ALSO",
	}
	if !slices.Equal(sections, want) {
		t.Errorf("sections %q", sections)
	}
	for _, text := range []string{
		"\n       safeexec - run a program with exactly the descriptors",
		"\n       safeexec [options] [--] command [argument ...]\n",
		"\n           exec 3<<<data 7>job.lock; flock 7\n           safeexec --keep 3 -- worker\n",
		"\n       -k, --keep LIST\n", "\n       --guard[=OPS]\n", "\n       125    safeexec itself failed",
	} {
		if !strings.Contains(page, text) {
			t.Errorf("%q isn't shown in\n%s", text, page)
		}
	}
}

func (m *made) testSyntax(t *testing.T) {
	m.run(t, "bash", "-n", m.dir+"/bash/safeexec")
	m.run(t, "zsh", "-n", m.dir+"/zsh/_safeexec")
	m.run(t, "fish", "--no-execute", m.dir+"/fish/safeexec.fish")
}

// What a line is completed to, the same in all shells. Words are separated by blanks.
var offers = []struct {
	line    string
	want    string
	some    bool   // there may be more
	not     string // must not be among it
	notFish bool   // fish can't say that the value comes behind "=" only
}{
	{line: "safeexec --lea", want: "--leaks"},
	{line: "safeexec --supervise --for", want: "--forward-to-group"},
	{line: "safeexec --leaks ", want: "close error warn"},
	{line: "safeexec --leaks w", want: "warn"},
	{line: "safeexec --leaks=", want: "close error warn"},
	{line: "safeexec --leaks=e", want: "error"},
	{line: "safeexec --guard=flags,lo", want: "lock", notFish: true},
	{line: "safeexec --guard --lea", want: "--leaks"},
	{line: "safeexec --deny flags,lock,s", want: "seek steal"},
	{line: "safeexec --keep ", want: "0 1 2 all", some: true},
	{line: "safeexec --keep 9,1:", want: "0 1 2", some: true},
	{line: "safeexec --private ", want: "0 1 2", some: true, not: "all"},
	{line: "safeexec --seccomp-bpf some", want: "some_file somewhere/"},
	{line: "safeexec --close 0 --keep 3:5 --ver", want: "--verbose --version"},

	// A subcommand is one only as the very first word.
	{line: "safeexec doc", want: "doctor", some: true},
	{line: "safeexec fds --", want: "--cgroup --dot --help --json --pid --shared --tree"},
	{line: "safeexec fds --tree 1", want: "1", some: true},
	{line: "safeexec policy --format ", want: "bpf oci pfc text"},
	{line: "safeexec policy --explain ", want: ""},
	{line: "safeexec doctor --js", want: "--json"},
	{line: "safeexec doctor 1", want: "1", some: true},
	{line: "safeexec check --js", want: "--json"},
	{line: "safeexec --nnp fd", want: "", some: true, not: "fds"},

	// The command, and its own words.
	{line: "safeexec setpri", want: "setpriv"},
	{line: "safeexec -- setpri", want: "setpriv"},
	{line: "safeexec --keep 3 -- setpri", want: "setpriv"},
	{line: "safeexec --guard setpri", want: "setpriv"},
	{line: "safeexec -- cat oth", want: "other"},
	{line: "safeexec --leaks=warn cat oth", want: "other"},
	{line: "safeexec --keep 3:4,4:3 -- cat oth", want: "other"},
	{line: "safeexec -k3 cat some", want: "some_file somewhere/"},
	{line: "safeexec -- fds oth", want: "other"},
	{line: "safeexec cat -- --leaks oth", want: "other"},
}

// check compares what a shell offers for each line. Shells write a name with a blank in it, and a directory, each in its way.
func check(t *testing.T, complete func(line string) string, skip func(i int) bool) {
	t.Helper()
	for i, o := range offers {
		if skip != nil && skip(i) {
			continue
		}
		var got []string
		for reply := range strings.Lines(complete(o.line)) {
			reply = strings.TrimSuffix(reply, "\n")
			if info, err := os.Stat(reply); err == nil && info.IsDir() && !strings.HasSuffix(reply, "/") {
				reply += "/"
			}
			reply = strings.NewReplacer(`\ `, "_", " ", "_").Replace(reply)
			reply = reply[strings.LastIndexAny(reply, ",:=")+1:] // some give the whole word, some its end
			if reply != "" && !slices.Contains(got, reply) {
				got = append(got, reply)
			}
		}
		slices.Sort(got)
		want := strings.Fields(o.want)
		missing := slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(got, w) })
		if missing || !o.some && len(got) != len(want) || o.not != "" && slices.Contains(got, o.not) {
			t.Errorf("%q: %q, want %q (not %q)", o.line, got, want, o.not)
		}
	}
}

var breaks = regexp.MustCompile(`[=:]+|[^=: ]+`)

func (m *made) testBash(t *testing.T) {
	check(t, func(line string) string {
		words := breaks.FindAllString(line, -1) // as bash splits by COMP_WORDBREAKS
		if strings.HasSuffix(line, " ") {
			words = append(words, "")
		}
		return m.run(t, "bash", append([]string{"--norc", testdata("complete.bash")}, words...)...)
	}, nil)
	// With the functions that bash-completion has, the command's own completion is used.
	out := m.run(t, "bash", "--norc", "-c", `_command_offset() { COMPREPLY=("from $1: ${COMP_WORDS[*]}"); }
		source "$1" safeexec --keep 3 : 4 -- cat oth`, "bash", testdata("complete.bash"))
	if out != "from 6: safeexec --keep 3 : 4 -- cat oth\n" {
		t.Errorf("%q", out)
	}
}

func (m *made) testZsh(t *testing.T) {
	home, offered := t.TempDir(), filepath.Join(t.TempDir(), "offered")
	rc, err := os.ReadFile(testdata("zshrc"))
	if err == nil {
		err = os.WriteFile(home+"/.zshrc", rc, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("ZDOTDIR", home)
	t.Setenv("OFFERED", offered)
	check(t, func(line string) string {
		if err := os.WriteFile(offered, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		m.run(t, "zsh", "-f", testdata("complete.zsh"), line)
		out, err := os.ReadFile(offered)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}, nil)
}

func (m *made) testFish(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	check(t, func(line string) string {
		var replies []string
		out := m.run(t, "fish", "--no-config", "-c", "source $COMPLETIONS/safeexec.fish; complete -C "+"'"+line+"'")
		for reply := range strings.Lines(out) {
			reply, _, _ = strings.Cut(strings.TrimSuffix(reply, "\n"), "\t")
			replies = append(replies, reply+"\n")
		}
		return strings.Join(replies, "")
	}, func(i int) bool { return offers[i].notFish })
}

// The test goes elsewhere, but its files stay here.
var (
	testdataDir, _ = filepath.Abs("testdata")
	mainModule, _  = filepath.Abs("../..")
)

func testdata(name string) string { return filepath.Join(testdataDir, name) }

// What make install leaves is found by man and by the shells' own search paths. This takes Go.
func (m *made) testInstall(t *testing.T) {
	dest := t.TempDir()
	m.run(t, "make", "-s", "-C", mainModule, "BIN="+m.dir+"/bin", "MANUAL="+m.dir, "DESTDIR="+dest, "PREFIX=/usr", "install")
	var installed []string
	err := filepath.WalkDir(dest, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		installed = append(installed, info.Mode().String()+" "+strings.TrimPrefix(path, dest))
		return err
	})
	want := []string{
		"-rwxr-xr-x /usr/bin/safeexec",
		"-rw-r--r-- /usr/share/bash-completion/completions/safeexec",
		"-rw-r--r-- /usr/share/fish/vendor_completions.d/safeexec.fish",
		"-rw-r--r-- /usr/share/man/man1/safeexec-check.1",
		"-rw-r--r-- /usr/share/man/man1/safeexec-doctor.1",
		"-rw-r--r-- /usr/share/man/man1/safeexec-fds.1",
		"-rw-r--r-- /usr/share/man/man1/safeexec-policy.1",
		"-rw-r--r-- /usr/share/man/man1/safeexec.1",
		"-rw-r--r-- /usr/share/zsh/site-functions/_safeexec",
	}
	if err != nil || !slices.Equal(installed, want) {
		t.Errorf("%v, installed\n%s", err, strings.Join(installed, "\n"))
	}
	if out := m.run(t, "man", "-M", dest+"/usr/share/man", "-P", "cat", "safeexec-doctor"); !strings.Contains(out, "FINDINGS") {
		t.Error(out)
	}
}
