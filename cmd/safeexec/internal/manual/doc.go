// Package manual makes manual pages, and completion for bash, zsh and fish, of the definitions that --help is made of.
//
//	page := manual.Page(command, "safeexec 1.0", time.Unix(0, 0)) // troff's man(7), with the prose in pages/
//	script := manual.Bash([]manual.Command{command, subcommand})
//
// It isn't part of the command: the build tag manual makes a program of the same definitions that writes all files into a
// directory.
package manual

// A Command is the command itself, or a subcommand, as --help knows it.
type Command struct {
	Name     string // "" for the command itself
	Summary  string // one line
	Synopsis []string
	Options  []Option
}

// An Option is what a user may write.
type Option struct {
	Names    []string // with their dashes
	Value    string   // what its value is called; empty for a toggle
	Optional bool     // the value is given behind "=" only, or not at all
	Text     string
}

// words are the values of options that take one of a few, by name and value: the same for every command. A plus in front says that
// several of them are separated by commas.
var words = map[string][]string{
	"--guard":        {"+", "flags", "owner", "lock", "seek", "offset", "mode"},
	"--guard-reopen": {"auto", "never"},
	"--guard-stdio":  {"advisory", "strict", "off"},
	"--guard-steal":  {"on", "off"},
	"--fd-passing":   {"tree", "no-unix", "no-sendmsg", "allow"},
	"--deny":         {"+", "dup", "pass", "steal", "flags", "owner", "lock", "seek", "mode", "wberr", "tty"},
	"--on-violation": {"errno", "errno=EACCES", "errno=ENOSYS", "pretend", "kill", "log"},
	"--abi":          {"native", "compat"},
	"--leaks":        {"close", "warn", "error"},
	"--format":       {"text", "bpf", "oci", "pfc"},
}

// values is what a shell is to offer for an option of a command: the words, or else what the value is called.
func (o Option) values(c Command) []string {
	switch {
	case o.Value == "":
		return nil
	case c.Name == "" && o.Names[0] == "--keep":
		return []string{o.Value, "all"}
	}
	if w, ok := words[o.Names[0]]; ok {
		return w
	}
	return []string{o.Value}
}

// full is a command's name as it is typed, joined by a separator.
func (c Command) full(separator string) string {
	if c.Name == "" {
		return "safeexec"
	}
	return "safeexec" + separator + c.Name
}

// mode is how the completions call a command.
func (c Command) mode() string {
	if c.Name == "" {
		return "run"
	}
	return c.Name
}
