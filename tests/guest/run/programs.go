package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// scripts are the jobs in tests/guard/programs that tests/guest runs in guests with this machine's programs.
const scripts = "redis postgres python-asyncio tmux"

// addServers adds the programs that the scripts drive, from this machine, and what these read besides their libraries.
func addServers(a *archive) error {
	all, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(all) == 0 {
		return errors.Join(err, errors.New("no server in /usr/lib/postgresql (scripts/need programs installs it)"))
	}
	postgres := filepath.Dir(filepath.Dir(all[len(all)-1])) // versions stand side by side
	for name, source := range map[string]string{
		"redis-server": "redis-server", "redis-cli": "redis-cli", "tmux": "tmux", "python3": "/usr/bin/python3",
		"psql": filepath.Join(postgres, "bin/psql"), // what is in PATH looks for the version, in Perl
	} {
		found, err := exec.LookPath(source)
		if err != nil {
			return fmt.Errorf("%w (scripts/need programs installs it)", err)
		}
		if err := addDynamic(a, name, found); err != nil {
			return err
		}
	}
	python, err := exec.Command("/usr/bin/python3", "-c", "import os; print(os.path.dirname(os.__file__))").Output()
	if err != nil {
		return fmt.Errorf("/usr/bin/python3: %w", err)
	}
	modules := strings.TrimSpace(string(python))
	for dir, but := range map[string]*regexp.Regexp{
		modules:  regexp.MustCompile(`^(config-|test$|lib2to3$|pydoc_data$)`),
		postgres: regexp.MustCompile(`^(bitcode|llvmjit|pgxs)`), // for a compiler in a library of 100 MB, and for who builds extensions
		filepath.Join("/usr/share/postgresql", filepath.Base(postgres)): regexp.MustCompile(`^man$`),
		"/lib/terminfo":          nil,
		"/usr/lib/locale/C.utf8": nil,
	} {
		a.treeBut(dir, dir, but)
	}
	for _, pattern := range []string{filepath.Join(postgres, "bin/*"), filepath.Join(modules, "lib-dynload/*.so")} {
		linked, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		if err := addLibraries(a, linked...); err != nil {
			return err
		}
	}
	return nil
}
