package manual

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed shell/safeexec.bash shell/_safeexec shell/safeexec.fish
var shells embed.FS

// fill puts texts in the places that a script has for them, as @NAME@.
func fill(file string, places map[string]string) string {
	text, err := shells.ReadFile("shell/" + file)
	if err != nil {
		panic(err) // it is embedded
	}
	var pairs []string
	for place, with := range places {
		pairs = append(pairs, "@"+place+"@", with)
	}
	return strings.NewReplacer(pairs...).Replace(string(text))
}

// names are those of the subcommands.
func names(commands []Command) (names []string) {
	for _, c := range commands {
		if c.Name != "" {
			names = append(names, c.Name)
		}
	}
	return names
}

// single quotes text for bash and zsh.
func single(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// Bash is the completion for bash.
func Bash(commands []Command) string {
	var options, values, optional strings.Builder
	for _, c := range commands {
		var all []string
		for _, o := range c.Options {
			all = append(all, o.Names...)
			for _, name := range o.Names {
				if v := o.values(c); v != nil {
					fmt.Fprintf(&values, "\t[%s]=%s\n", single(c.mode()+" "+name), single(strings.Join(v, " ")))
				}
				if o.Optional {
					fmt.Fprintf(&optional, "\t[%s]=1\n", single(c.mode()+" "+name))
				}
			}
		}
		fmt.Fprintf(&options, "\t[%s]=%s\n", c.mode(), single(strings.Join(all, " ")))
	}
	return fill("safeexec.bash", map[string]string{"OPTIONS": options.String(), "VALUES": values.String(), "OPTIONAL": optional.String()})
}

// Zsh is the completion for zsh.
func Zsh(commands []Command) string {
	var run, subcommands, described strings.Builder
	for _, c := range commands {
		if c.Name == "" {
			for _, o := range c.Options {
				fmt.Fprintf(&run, "\t\t%s \\\n", o.zsh(c))
			}
			continue
		}
		fmt.Fprintf(&described, "\t\t\t\t%s\n", single(c.Name+":"+c.Summary))
		fmt.Fprintf(&subcommands, "\t\t%s)\n\t\t\tshift words\n\t\t\t((CURRENT--))\n\t\t\t_arguments -S", c.Name)
		for _, o := range c.Options {
			fmt.Fprintf(&subcommands, " \\\n\t\t\t\t%s", o.zsh(c))
		}
		if c.Name == "doctor" {
			fmt.Fprintf(&subcommands, " \\\n\t\t\t\t':PID:_safeexec_pids'")
		}
		subcommands.WriteString("\n\t\t\treturn\n\t\t\t;;\n")
	}
	return fill("_safeexec", map[string]string{"RUN": run.String(), "SUBCOMMANDS": subcommands.String(), "NAMES": described.String()})
}

// zsh is the option as _arguments takes it. All may be repeated, which only stars permit.
func (o Option) zsh(c Command) string {
	escape := strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`, "<", "", ">", "")
	what := "[" + escape.Replace(o.Text) + "]"
	names := slices.Clone(o.Names)
	if o.Value != "" {
		action := map[string]string{
			"N": "_safeexec_list", "FILE": "_files", "PATH": "_files -/", "PID": "_safeexec_pids",
		}[o.Value]
		switch w := o.values(c); {
		case w[0] == "+":
			action = "_sequence compadd - " + strings.Join(w[1:], " ")
		case w[0] == "LIST":
			action = strings.Join(append([]string{"_safeexec_list"}, w[1:]...), "_")
		case len(w) > 1:
			action = "(" + strings.Join(w, " ") + ")"
		}
		colon := ":"
		if o.Optional {
			colon = "::"
		}
		what += colon + o.Value + ":" + action
	}
	for i, name := range names {
		switch {
		case o.Optional:
			names[i] += "=-" // nothing but what is behind the sign
		case o.Value != "" && len(name) == 2:
			names[i] += "+"
		case o.Value != "":
			names[i] += "="
		}
		names[i] = single("*" + names[i] + what)
	}
	return strings.Join(names, " ")
}

// Fish is the completion for fish.
func Fish(commands []Command) string {
	var lines, valued []string
	for _, c := range commands {
		if c.Name != "" {
			lines = append(lines, fmt.Sprintf("complete -c safeexec -n __safeexec_first -a %s -d %s", c.Name, fishQuote(c.Summary)))
		}
		for _, o := range c.Options {
			lines = append(lines, o.fish(c))
			if c.Name == "" && o.Value != "" && !o.Optional {
				valued = append(valued, o.Names...)
			}
		}
	}
	return fill("safeexec.fish", map[string]string{
		"NAMES": strings.Join(names(commands), " "), "VALUED": strings.Join(valued, " "), "OPTIONS": strings.Join(lines, "\n"),
	})
}

func (o Option) fish(c Command) string {
	line := "complete -c safeexec -n '__safeexec_in " + c.mode() + "'"
	for _, name := range o.Names {
		if len(name) == 2 {
			line += " -s " + name[1:]
		} else {
			line += " -l " + name[2:]
		}
	}
	line += " -d " + fishQuote(strings.NewReplacer("<", "", ">", "").Replace(o.Text))
	if o.Value == "" {
		return line
	}
	if o.Optional {
		return line // fish knows none of that sort
	}
	line += " -r"
	if o.Value != "FILE" {
		line += " -f"
	}
	switch w := o.values(c); {
	case w[0] == "+":
		return line + " -a '(__safeexec_words " + strings.Join(w[1:], " ") + ")'"
	case w[0] == "LIST":
		return line + " -a '(__safeexec_list " + strings.Join(w[1:], " ") + ")'"
	case len(w) > 1:
		return line + " -a '" + strings.Join(w, " ") + "'"
	}
	switch o.Value {
	case "N":
		return line + " -a '(__safeexec_list)'"
	case "PID":
		return line + " -a '(__fish_complete_pids)'"
	case "PATH":
		return line + " -a '(__fish_complete_directories)'"
	case "FILE":
		return line + " -F"
	}
	return line
}

func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
