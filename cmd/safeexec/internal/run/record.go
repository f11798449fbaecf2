package run

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/fdtable"
	"github.com/safeexec/safeexec/ofd"
	"github.com/safeexec/safeexec/seccomp"
	"github.com/safeexec/safeexec/spawn"
)

// A record is what --report tells: what became of the shared descriptions, and who tried what.
type record struct {
	text     io.Writer // where it goes as text
	file     *os.File  // or as JSON
	learning bool      // nothing was guarded
	kept     []int     // descriptors that are needed until the end
	shared   []recorded

	mu       sync.Mutex
	attempts []attempt
	place    map[spawn.Attempt]int // among attempts
	more     int                   // attempts that weren't recorded
}

// A recorded is one of the command's descriptors, with a copy of ours to look through.
type recorded struct {
	number int
	fd     int
	what   fdtable.Descriptor
	gets   string // what a guard made of it
	before ofd.State
}

// An attempt is one kind of call of one process, and how often it came.
type attempt struct {
	spawn.Attempt
	count int
}

// maxAttempts bounds the memory that a command can make safeexec take.
const maxAttempts = 10_000

// newRecord looks at everything before the command can.
func newRecord(file string, shared map[int]int) (*record, error) {
	r := &record{place: map[spawn.Attempt]int{}}
	if file == "" {
		fd, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, fmt.Errorf("standard error: %w", err)
		}
		r.text = os.NewFile(uintptr(fd), "stderr")
		r.kept = append(r.kept, fd)
	} else {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
		if err != nil {
			return nil, err
		}
		r.file = f
		r.kept = append(r.kept, int(f.Fd()))
	}
	for number, from := range shared {
		one, err := lookAt(number, from)
		if err != nil {
			return nil, fmt.Errorf("descriptor %d: %w", number, err)
		}
		r.shared = append(r.shared, one)
		r.kept = append(r.kept, one.fd)
	}
	slices.SortFunc(r.shared, func(a, b recorded) int { return a.number - b.number })
	return r, nil
}

func lookAt(number, from int) (one recorded, err error) {
	one.number = number
	if one.fd, err = unix.FcntlInt(uintptr(from), unix.F_DUPFD_CLOEXEC, 3); err != nil {
		return one, err
	}
	if one.before, err = ofd.StateOf(one.fd); err != nil {
		return one, err
	}
	one.what, err = fdtable.Inspect(one.fd)
	return one, err
}

// observe is called for each attempt, from several goroutines.
func (r *record) observe(a spawn.Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, known := r.place[a]
	switch {
	case known:
		r.attempts[i].count++
	case len(r.attempts) == maxAttempts:
		r.more++
	default:
		r.place[a] = len(r.attempts)
		r.attempts = append(r.attempts, attempt{a, 1})
	}
}

// gets notes what a guard makes of a descriptor.
func (r *record) gets(number int, what string) {
	for i := range r.shared {
		if r.shared[i].number == number {
			r.shared[i].gets = what
		}
	}
}

// The JSON of --report=FILE is one object:
//
//	command       list of strings
//	exit_code     number
//	descriptors   list of objects, one for each of the command's descriptors that isn't private by option
//	  descriptor  number: the command's
//	  kind        string, as "safeexec fds --json" has it
//	  target      string
//	  guard       string: what the guard made of it; null without one
//	  changes     list of strings: what is different now, in words; empty when nothing is
//	attempts      list of objects: calls that would have changed one of them
//	  pid         number
//	  program     string
//	  call        string
//	  descriptor  number: the one among descriptors
//	  operations  list of strings
//	  result      string: "refused with EPERM", "pretended", "killed", "permitted", "carried out" (nothing was guarded)
//	  count       number
//	not_recorded  number of attempts that there was no room for
//	advice        string: the options that would keep this off; null when they were given, or nothing was changed
type recordJSON struct {
	Command     []string         `json:"command"`
	ExitCode    int              `json:"exit_code"`
	Descriptors []descriptorJSON `json:"descriptors"`
	Attempts    []attemptJSON    `json:"attempts"`
	NotRecorded int              `json:"not_recorded"`
	Advice      *string          `json:"advice"`
}

type descriptorJSON struct {
	Number  int      `json:"descriptor"`
	Kind    string   `json:"kind"`
	Target  string   `json:"target"`
	Guard   *string  `json:"guard"`
	Changes []string `json:"changes"`
}

type attemptJSON struct {
	PID        int      `json:"pid"`
	Program    string   `json:"program"`
	Call       string   `json:"call"`
	Number     int      `json:"descriptor"`
	Operations []string `json:"operations"`
	Result     string   `json:"result"`
	Count      int      `json:"count"`
}

// write ends the record, when the command has ended.
func (r *record) write(command []string, status int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := recordJSON{
		Command: command, ExitCode: status, NotRecorded: r.more,
		Descriptors: []descriptorJSON{}, Attempts: []attemptJSON{},
	}
	changed := map[int]bool{}
	for _, one := range r.shared {
		d := descriptorJSON{Number: one.number, Kind: string(one.what.Kind), Target: one.what.Target, Changes: []string{}}
		if one.gets != "" {
			d.Guard = &one.gets
		}
		after, err := ofd.StateOf(one.fd)
		if err != nil {
			return fmt.Errorf("descriptor %d: %w", one.number, err)
		}
		if changes := one.before.Diff(after); len(changes) > 0 {
			d.Changes, changed[one.number] = changes, true
		}
		j.Descriptors = append(j.Descriptors, d)
	}
	for _, a := range r.attempts {
		j.Attempts = append(j.Attempts, attemptJSON{
			a.PID, a.Program, a.Call, a.Number, strings.Split(a.Operations.String(), ","), a.Result, a.count,
		})
	}
	if advice := r.advice(changed); advice != "" {
		j.Advice = &advice
	}
	if r.file == nil {
		return j.writeText(r.text)
	}
	encoder := json.NewEncoder(r.file)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(j); err != nil {
		return err
	}
	return r.file.Close()
}

// advice is the smallest line of options that would have kept off what the command did, when nothing was guarded.
func (r *record) advice(changed map[int]bool) string {
	if !r.learning {
		return ""
	}
	var private []string
	var ops seccomp.Op
	for _, one := range r.shared {
		var tried seccomp.Op
		for _, a := range r.attempts {
			if a.Number == one.number {
				tried |= a.Operations
			}
		}
		if tried == 0 && !changed[one.number] {
			continue
		}
		// A file that is only read may as well have an offset of its own; for the rest a guard knows what to do.
		readOnly := one.what.Kind == fdtable.KindFile && one.before.Access == unix.O_RDONLY
		if readOnly && tried&seccomp.Lock == 0 {
			private = append(private, fmt.Sprint(one.number))
			continue
		}
		ops |= tried
	}
	var options []string
	if ops != 0 {
		options = append(options, "--guard="+ops.String())
	}
	if len(private) > 0 {
		options = append(options, "--private "+strings.Join(private, ","))
	}
	return strings.Join(options, " ")
}

func (j *recordJSON) writeText(w io.Writer) error {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, "safeexec: report: "+format+"\n", args...) }
	for _, d := range j.Descriptors {
		what := "unchanged"
		if len(d.Changes) > 0 {
			what = strings.Join(d.Changes, ", ")
		}
		say("descriptor %d (%s %s): %s", d.Number, fdtable.Kind(d.Kind).Words(), oneLine(d.Target), what)
	}
	for _, a := range j.Attempts {
		times := ""
		if a.Count > 1 {
			times = fmt.Sprintf(", %d times", a.Count)
		}
		say("%d (%s): %s on the description of %d: %s%s", a.PID, oneLine(a.Program), a.Call, a.Number, a.Result, times)
	}
	if j.NotRecorded > 0 {
		say("%d more attempts", j.NotRecorded)
	}
	if j.Advice != nil {
		say("this would keep it off: %s", *j.Advice)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// reportTo is the value of --report: a file, or nothing for standard error.
type reportTo struct {
	set  bool
	file string
}

func (r *reportTo) String() string { return "" }

func (r *reportTo) Set(text string) error {
	r.set = true
	if text != bareReport {
		r.file = text
	}
	return nil
}

// bareReport stands for --report without a file.
const bareReport = "\x00"
