package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/safeexec/safeexec/fdtable"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		args    string // separated by blanks; _ is an empty one
		command string
		keep    string
		toggles string
	}{
		{"true", "true", "", ""},
		{"-- true", "true", "", ""},
		{"", "", "", ""},
		{"--", "", "", ""},
		{"- x", "- x", "", ""},
		{"_", "_", "", ""},
		{"-k 3 true", "true", "3", ""},
		{"-k3 true", "true", "3", ""},
		{"-k=3 true", "true", "3", ""},
		{"--keep 3 true", "true", "3", ""},
		{"--keep=3,4:5 --keep all -k 7-9 true", "true", "3 4:5 all 7-9", ""},
		{"--keep 3 -- --keep 4", "--keep 4", "3", ""},
		{"-k 3 -r 0-2 --relay 4:5 -r=6 true", "true", "3", ""},
		{"true --keep 3", "true --keep 3", "", ""},
		{"--keep 3 fds", "fds", "3", ""},
		{"-- -- x", "-- x", "", ""},
		{"--no-new-privs --verbose x", "x", "", "no-new-privs verbose"},
		{"--nnp x", "x", "", "no-new-privs"},
		{"--keep-args --keep-listen --keep-jobserver --die-with-parent x", "x", "", "keep-args keep-listen keep-jobserver die-with-parent"},
		{"-h", "", "", "help"},
		{"--help x", "x", "", "help"},
		{"--version", "", "", "version"},
		{"--keep -- -- x", "", "error", ""},
	} {
		o, command, err := Parse(words(tt.args))
		if tt.keep == "error" {
			if err == nil {
				t.Errorf("%q: no error", tt.args)
			}
			continue
		}
		var kept, toggles []string
		for _, item := range o.keep.items {
			kept = append(kept, item.String())
		}
		for _, toggle := range []struct {
			name string
			on   toggle
		}{
			{"keep-args", o.keepArgs},
			{"keep-listen", o.keepListen},
			{"keep-jobserver", o.keepJobserver},
			{"no-new-privs", o.noNewPrivs},
			{"die-with-parent", o.dieWithParent},
			{"verbose", o.verbose},
			{"help", o.help},
			{"version", o.version},
		} {
			if toggle.on {
				toggles = append(toggles, toggle.name)
			}
		}
		if err != nil || !slices.Equal(command, words(tt.command)) || strings.Join(kept, " ") != tt.keep || strings.Join(toggles, " ") != tt.toggles {
			t.Errorf("%q: command %q, keep %q, toggles %q, %v", tt.args, command, kept, toggles, err)
		}
	}
}

func words(s string) []string {
	list := strings.Fields(s)
	for i := range list {
		list[i] = strings.ReplaceAll(list[i], "_", "")
	}
	return list
}

func TestParseRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"--keep":                      "--keep needs a value",
		"-k":                          "-k needs a value",
		"--relay":                     "--relay needs a value",
		"-r x y":                      `-r: "x" is not a descriptor number`,
		"--relay= x":                  "--relay: the list is empty",
		"--keep= x":                   "--keep: the list is empty",
		"--keep x y":                  `--keep: "x" is not a descriptor number`,
		"-kx y":                       `-k: "x" is not a descriptor number`,
		"--verbose=1 x":               "--verbose takes no value",
		"--verbose= x":                "--verbose takes no value",
		"--nope x":                    "unknown option --nope",
		"--nope=3 x":                  "unknown option --nope",
		"-x y":                        "unknown option -x",
		"-hk3 y":                      "unknown option -hk3",
		"--k 3 y":                     "unknown option --k",
		"--h":                         "unknown option --h",
		"-verbose x":                  "unknown option -verbose",
		"--KEEP 3 x":                  "unknown option --KEEP",
		"--- x":                       "unknown option ---",
		"--leaks all x":               `--leaks: "all" is none of close, warn, error`,
		"--json-status-fd 3,4 x":      `--json-status-fd: "3,4" is not a descriptor number`,
		"--json-status-fd 3-4 x":      `--json-status-fd: "3-4" is not a descriptor number`,
		"--json-status-fd 3:4 x":      `--json-status-fd: "3:4" is not a descriptor number`,
		"--keep x --keep y --nope":    `--keep: "x" is not a descriptor number`,
		"--keep x --json-status-fd 7": `--keep: "x" is not a descriptor number`,
	} {
		o, command, err := Parse(words(args))
		if err == nil || err.Error() != want || command != nil || o == nil {
			t.Errorf("%q: %q, %v; want %q", args, command, err, want)
		}
	}
	o, _, err := Parse(words("--keep x --json-status-fd 7 true"))
	if want := (number{7, true}); err == nil || o.statusFD != want {
		t.Errorf("behind a refused value the status descriptor is %v, %v", o.statusFD, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"--keep\x003\x00--\x00x", "-k3\x00x", "--nope", "-", "--", "--json-status-fd=3\x00-h", "--guard\x00x", "--guard=flags\x00y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, joined string) {
		args := strings.Split(joined, "\x00")
		o, command, err := Parse(args)
		if o == nil {
			t.Fatal("no options, and they are wanted for the report")
		}
		if err != nil {
			var stderr bytes.Buffer
			if code := (&Options{}).Fail(err, &stderr); code != exitFailed {
				t.Fatalf("%q: exit status %d", args, code)
			}
			if line := stderr.String(); strings.Count(line, "\n") != 1 || !utf8.ValidString(line) {
				t.Fatalf("%q: not one line: %q", args, line)
			}
			if !json.Valid([]byte(status(err))) {
				t.Fatalf("%q: %q is no JSON", args, status(err))
			}
			return
		}
		if len(command) > len(args) || !slices.Equal(command, args[len(args)-len(command):]) {
			t.Fatalf("%q: the command %q isn't the rest", args, command)
		}
		if again, rest, err := Parse(append([]string{"--"}, command...)); err != nil || !slices.Equal(rest, command) {
			t.Fatalf("behind --, %q became %q, %v, %v", command, rest, again, err)
		}
	})
}

func TestDescriptorsInArgs(t *testing.T) {
	for args, want := range map[string][]int{
		"x":                                    nil,
		"/dev/fd/63":                           {63},
		"/dev/fd/63 /dev/fd/62 /dev/fd/63":     {62, 63},
		"/proc/self/fd/7":                      {7},
		"--file=/dev/fd/5":                     {5},
		"/dev/fd/5:/dev/fd/6,/proc/self/fd/7":  {5, 6, 7},
		"/dev/fd/5/x":                          {5},
		"/dev/fd/":                             nil,
		"/dev/fd/x":                            nil,
		"/dev/fd/-1":                           nil,
		"/dev/fd/2147483648":                   nil,
		"/dev/fd/99999999999999999999999":      nil,
		"/dev/fd/2147483647":                   {2147483647},
		"/dev/fd//dev/fd/4":                    {4},
		"/dev/fd/3/dev/fd/4":                   {3, 4},
		"/dev/fd/dev/fd/4":                     {4},
		"/dev/stdin dev/fd/3 /proc/4/fd/5":     nil,
		"/proc/self/fd/0 /dev/fd/1 /dev/fd/02": {0, 1, 2},
	} {
		if got := descriptorsInArgs(strings.Fields(args)); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, want %v", args, got, want)
		}
	}
}

func FuzzDescriptorsInArgs(f *testing.F) {
	f.Add("/dev/fd/63", 7)
	f.Add("x=/proc/self/fd/", 2147483647)
	f.Fuzz(func(t *testing.T, text string, n int) {
		got := descriptorsInArgs([]string{text})
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) || len(got) > 0 && got[0] < 0 {
			t.Fatalf("%q: %v", text, got)
		}
		for _, n := range got { // no number without its text
			if !strings.Contains(text, "/fd/") || !strings.Contains(text, fmt.Sprint(n)) {
				t.Fatalf("%q: %v", text, got)
			}
		}
		if n >= 0 && n <= 1<<31-1 && !slices.Contains(descriptorsInArgs([]string{fmt.Sprintf("%s/dev/fd/%d", text, n)}), n) {
			t.Fatalf("%d behind %q isn't found", n, text)
		}
	})
}

func TestParseJobserver(t *testing.T) {
	for flags, want := range map[string][]int{
		"":                                   nil,
		"kj4":                                nil,
		" -j4 --jobserver-auth=3,4":          {3, 4},
		"w -j --jobserver-fds=3,4":           {3, 4},
		"--jobserver-auth=3,3":               {3},
		"--jobserver-auth=fifo:/tmp/GMfifo1": nil,
		"--jobserver-auth=-2,-2":             nil,
		"--jobserver-auth=3,-1":              nil,
		"--jobserver-auth=":                  nil,
		"--jobserver-auth=3,4 --jobserver-auth=5,6":     {5, 6},
		"--jobserver-fds=3,4 --jobserver-auth=5,6":      {5, 6},
		"--jobserver-auth=3,4 --jobserver-auth=fifo:/x": nil,
		"--jobserver-auth=3,4 -- A=1":                   {3, 4},
		"-j -- A=x --jobserver-auth=7,8":                nil,
		`-I a\ --jobserver-auth=7,8`:                    nil,
		`-I a\\ --jobserver-auth=7,8`:                   {7, 8},
		"\t--jobserver-auth=7,8\t":                      {7, 8},
	} {
		got, err := parseJobserver(flags)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v; want %v", flags, got, err, want)
		}
	}
	for _, flags := range []string{"3", "3,", ",3", "x,y", "3,4,5", "3 ,4", "2147483648,3", "fifo", "0x3,4"} {
		if got, err := parseJobserver("--jobserver-auth=" + flags); err == nil {
			t.Errorf("%q: %v, no error", flags, got)
		}
	}
}

func FuzzParseJobserver(f *testing.F) {
	for _, s := range []string{"--jobserver-auth=3,4", "--jobserver-fds=3,4 -- a=b", `a\ b`, "--jobserver-auth=fifo:x", `\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, flags string) {
		numbers, err := parseJobserver(flags)
		if err != nil {
			if strings.ContainsAny(oneLine(err.Error()), "\n\x00") || numbers != nil {
				t.Fatalf("%q: %v, %q", flags, numbers, err)
			}
			return
		}
		for _, n := range numbers {
			if n < 0 || !strings.Contains(flags, "--jobserver-") && !strings.Contains(flags, `\`) {
				t.Fatalf("%q: %v", flags, numbers)
			}
		}
		if after, err := parseJobserver(flags + " -- --jobserver-auth=1,2"); err == nil && !strings.HasSuffix(flags, `\`) && !slices.Equal(after, numbers) {
			t.Fatalf("%q: %v, with a variable behind it %v", flags, numbers, after)
		}
	})
}

func TestListenDescriptors(t *testing.T) {
	for _, tt := range []struct {
		variables string
		want      string
	}{
		{"", ""},
		{"LISTEN_FDS=2", ""},
		{"LISTEN_PID=5", ""},
		{"LISTEN_PID=5 LISTEN_FDS=0", ""},
		{"LISTEN_PID=6 LISTEN_FDS=1", errNotForUs.Error()},
		{"LISTEN_PID=6 LISTEN_PID=5 LISTEN_FDS=1", errNotForUs.Error()},
		{"LISTEN_PID= LISTEN_FDS=1", `LISTEN_PID: "" is not a number`},
		{"LISTEN_PID=-5 LISTEN_FDS=1", `LISTEN_PID: "-5" is not a number`},
		{"LISTEN_PID=5 LISTEN_FDS=one", `LISTEN_FDS: "one" is not a number`},
		{"LISTEN_PID=5 LISTEN_FDS=99999999999", `LISTEN_FDS: "99999999999" is not a number`},
		{"LISTEN_PID=5 LISTEN_FDS=2147483647", "LISTEN_FDS is 2147483647, but descriptor"},
	} {
		e := environment{variables: strings.Fields(tt.variables), pid: 5}
		got, err := e.listenDescriptors()
		if tt.want == "" && (err != nil || got != nil) || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%q: %v, %v; want %q", tt.variables, got, err, tt.want)
		}
	}
	e := environment{variables: []string{"A=1", "LISTEN_PID=5", "LISTEN_PIDS=1", "", "LISTEN_FDS", "LISTEN_FDNAMES=x", "B", "LISTEN_FDS=1"}}
	if got, want := e.withoutListen(), []string{"A=1", "LISTEN_PIDS=1", "", "B"}; !slices.Equal(got, want) {
		t.Errorf("without what names sockets: %q, want %q", got, want)
	}
}

func TestJSONString(t *testing.T) {
	for _, s := range []string{"", "x", `"\`, "\x00\x1f\n\t", "ü€😀", "\xff\xfe", "a\u2028b", "<&>", "\u007f", "\ufffd"} {
		checkJSON(t, s)
	}
}

func FuzzJSONString(f *testing.F) {
	f.Add("a\"\\\n\xff")
	f.Fuzz(func(t *testing.T, s string) { checkJSON(t, s) })
}

// checkJSON compares with encoding/json: the text may differ, since both may escape more than they must, but not the meaning.
func checkJSON(t *testing.T, s string) {
	t.Helper()
	theirs, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var want, got string
	if err := json.Unmarshal(theirs, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(jsonString(s)), &got); err != nil || got != want {
		t.Errorf("%q: %s reads as %q, %v; want %q", s, jsonString(s), got, err, want)
	}
}

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"plain":    "plain",
		"a b":      "a b",
		"ü":        "ü",
		`a"b`:      `a"b`,
		`a\b`:      `"a\\b"`,
		"a\nb":     `"a\nb"`,
		"\x1b[31m": `"\x1b[31m"`,
		"\xff":     `"\xff"`,
		"a\u202eb": `"a\u202eb"`,
		"":         "",
	} {
		if got := printable(s); got != want {
			t.Errorf("printable(%q) = %s, want %s", s, got, want)
		}
	}
	if got, want := oneLine("--keep: \"3\\n4\" is\nü \xff\u202e\ufffd"), `--keep: "3\n4" is\nü \xff\u202e`+"\ufffd"; got != want {
		t.Errorf("oneLine: %s, want %s", got, want)
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\nb\xff\"\\\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		for _, text := range []string{printable(s), oneLine(s)} {
			if !utf8.ValidString(text) || fdtable.Printable(strings.ReplaceAll(text, `\`, "")) != strings.ReplaceAll(text, `\`, "") {
				t.Fatalf("%q is printed as %q", s, text)
			}
		}
	})
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.New("x"), `{"stage":"options","descriptor":null,"errno":null,"exit-code":125}`},
		{notOpen("--keep 9", 9), `{"stage":"--keep 9","descriptor":9,"errno":null,"exit-code":125}`},
		{about("--keep \"\n", none, errors.New("x")), `{"stage":"--keep \"\u000a","descriptor":null,"errno":null,"exit-code":125}`},
	} {
		if got := status(tt.err); got != tt.want+"\n" {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}
