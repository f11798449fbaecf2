package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/safeexec/safeexec/tests/guest/job"
)

// patience is how long a guest may take before it counts as hung: emulation is slow, and the machine may be busy.
const patience = 40 * time.Minute

// An outcome is what came of a job.
type outcome struct {
	output strings.Builder
	done   bool
	status int
	took   time.Duration
}

// boot starts a guest on a kernel, and collects what its jobs print. What the serial ports say goes to files beside, as it comes.
func (m *machine) boot(kernel, image, console string, progress io.Writer) (map[string]*outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	guest := exec.CommandContext(ctx, m.emulator, slices.Concat([]string{
		"-accel", "tcg,thread=multi", "-smp", "2", "-m", "2048",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-kernel", kernel, "-initrd", image,
		// What the kernel doesn't know goes into init's environment.
		"-append", fmt.Sprintf("console=%s loglevel=4 panic=-1 oops=panic %s=%s", m.console, job.Results, m.results),
		"-serial", "file:" + console, "-chardev", "stdio,id=results,signal=off",
	}, m.options)...)
	guest.Stderr = os.Stderr
	out, err := guest.StdoutPipe()
	if err != nil {
		return nil, err
	}
	raw, err := os.Create(filepath.Join(filepath.Dir(console), "results.log"))
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	if err := guest.Start(); err != nil {
		return nil, err
	}
	outcomes, err := collect(io.TeeReader(out, raw), progress)
	if ended := guest.Wait(); ended != nil {
		err = errors.Join(err, fmt.Errorf("qemu: %w", ended))
	}
	if ctx.Err() != nil {
		err = errors.Join(err, fmt.Errorf("the guest didn't end within %v", patience))
	}
	if err != nil {
		text, _ := os.ReadFile(console)
		err = fmt.Errorf("%w; the console's last words:\n%s", err, text[max(0, len(text)-2000):])
	}
	return outcomes, err
}

// collect reads the results up to the guest's end.
func collect(results io.Reader, progress io.Writer) (map[string]*outcome, error) {
	outcomes := map[string]*outcome{}
	var now *outcome
	bye := false
	lines := bufio.NewReader(results)
	for {
		line, err := lines.ReadString('\n')
		switch text := strings.TrimRight(line, "\n"); {
		case strings.HasPrefix(text, job.Begin):
			now = &outcome{status: -1} // until it has ended
			outcomes[strings.TrimPrefix(text, job.Begin)] = now
		case strings.HasPrefix(text, job.End) && now != nil:
			var name string
			var milliseconds int64
			if _, err := fmt.Sscan(strings.TrimPrefix(text, job.End), &name, &now.status, &milliseconds); err != nil {
				return outcomes, fmt.Errorf("%q: %w", text, err)
			}
			now.done, now.took = true, time.Duration(milliseconds)*time.Millisecond
			fmt.Fprintf(progress, "%-50s exit %d, %v\n", name, now.status, now.took)
			now = nil
		case text == job.Bye:
			bye = true
		case now != nil:
			now.output.WriteString(line)
		}
		if err != nil && !bye {
			return outcomes, fmt.Errorf("the guest ended before its list: %w", err)
		}
		if err != nil {
			return outcomes, nil
		}
	}
}

// An event is a line of test2json.
type event struct {
	Action, Test, Output, Key, Value string
}

// A result is what came of one test.
type result struct {
	name   string
	action string // pass, fail, skip
	reason string // the last line that a test which was skipped or failed said
	how    string // the means by which it passed, where the test tells
}

// results reads a test binary's output. A test that was begun and never ended has failed.
func (o *outcome) results() ([]result, error) {
	convert := exec.Command("go", "tool", "test2json")
	convert.Stdin = strings.NewReader(o.output.String())
	out, err := convert.Output()
	if err != nil {
		return nil, fmt.Errorf("test2json: %w", err)
	}
	return readEvents(bytes.NewReader(out))
}

func readEvents(events io.Reader) ([]result, error) {
	var all []result
	place := map[string]int{}
	decoder := json.NewDecoder(events)
	for {
		var e event
		if err := decoder.Decode(&e); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if e.Test == "" {
			continue
		}
		i, known := place[e.Test]
		if !known {
			i = len(all)
			place[e.Test] = i
			all = append(all, result{name: e.Test, action: "fail", reason: "it didn't end"})
		}
		all[i].take(e)
	}
}

func (r *result) take(e event) {
	switch e.Action {
	case "pass", "fail", "skip":
		r.action = e.Action
	case "attr":
		if e.Key == "how" {
			r.how = e.Value
		}
	case "output":
		text := strings.TrimSpace(e.Output)
		if file, said, found := strings.Cut(text, ": "); found && strings.Contains(file, "_test.go:") {
			r.reason = said
		}
	}
}

// save keeps what a guest printed, for reading after a failure.
func save(dir string, outcomes map[string]*outcome) error {
	for name, o := range outcomes {
		if err := os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, ":", "_")+".log"), []byte(o.output.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
