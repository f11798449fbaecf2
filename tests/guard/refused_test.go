package guard

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// watched are the calls that filters have rules for.
const watched = "dup,dup2,dup3,fcntl,ioctl,flock,lseek,getdents64,socket,socketpair,sendmsg,sendmmsg,recvmsg,recvmmsg,pidfd_getfd," +
	"ptrace,process_vm_writev,mount,fsconfig,seccomp,fadvise64,readahead,splice,vmsplice,fsync,fdatasync,syncfs,sync_file_range," +
	"io_submit,mq_getsetattr,fcntl64,_llseek,fadvise64_64,socketcall" // the last four are in 32-bit programs

// refused names the calls that a setting refuses the program, and that aren't refused without it: the last ones first, as these
// are what it didn't get over.
func (j job) refused(t *testing.T, s setting) string {
	t.Helper()
	trace := func(options []string) []string {
		path := filepath.Join(t.TempDir(), "trace")
		j.run(t, s, options, "strace", "-f", "-qq", "-o", path, "-e", "signal=SIGSYS", "-e", "trace="+watched)
		text, err := os.ReadFile(path)
		must(t, err)
		return refusals(string(text))
	}
	usual := []string{"--keep", "all"}
	ordinary := trace(usual)
	calls := slices.DeleteFunc(trace(s.options), func(call string) bool { return slices.Contains(ordinary, call) })
	if len(calls) == 0 {
		return "nothing that strace sees"
	}
	return strings.Join(calls[:min(3, len(calls))], ", ")
}

// Lines of strace: "1234  fcntl(3, F_SETFL, O_RDONLY) = -1 EPERM (Operation not permitted)", and such a call in two parts.
var (
	refusedLine = regexp.MustCompile(`^\d+ +(\w+)\((.*)\) += -1 EPERM`)
	unfinished  = regexp.MustCompile(`^(\d+ +)(\w+\(.*) <unfinished \.\.\.>$`)
	resumed     = regexp.MustCompile(`^(\d+ +)<\.\.\. \w+ resumed>(.*)`)
	constant    = regexp.MustCompile(`\b(?:F_|FIO|AF_|SEEK_|LOCK_|SCM_|TIOC|PTRACE_)[A-Z_0-9]+`)
)

// wholeLines are a trace's, each that something came between put together again.
func wholeLines(trace string) (lines []string) {
	begun := map[string]string{} // by process
	for line := range strings.SplitSeq(trace, "\n") {
		if m := unfinished.FindStringSubmatch(line); m != nil {
			begun[m[1]] = line[:len(m[1])+len(m[2])]
			continue
		}
		if m := resumed.FindStringSubmatch(line); m != nil {
			line = begun[m[1]] + m[2]
		}
		lines = append(lines, line)
	}
	return lines
}

// refusals are the calls that were refused, as call(WHAT), each once, the last first.
func refusals(trace string) []string {
	var list []string
	for _, line := range slices.Backward(wholeLines(trace)) {
		if strings.Contains(line, "killed by SIGSYS") {
			list = append(list, "a call of another ABI")
			continue
		}
		m := refusedLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		call := m[1]
		switch what := constant.FindString(m[2]); {
		case call == "lseek" || call == "_llseek" || call == "flock" || call == "getdents64" || strings.HasPrefix(call, "dup"):
			number, _, _ := strings.Cut(m[2], ",")
			call += "(" + number + ")"
		case what != "":
			number, _, _ := strings.Cut(m[2], ",")
			if number == what {
				number = ""
			} else {
				number += ", "
			}
			call += "(" + number + what + ")"
		}
		if !slices.Contains(list, call) {
			list = append(list, call)
		}
	}
	return list
}

func TestRefusals(t *testing.T) {
	const trace = `14  recvmsg(5,  <unfinished ...>
12  fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = -1 EPERM (Operation not permitted)
12  dup2(3, 1)                        = -1 EPERM (Operation not permitted)
13  socket(AF_UNIX, SOCK_STREAM, 0)   = -1 EPERM (Operation not permitted)
13  fcntl(3, F_SETFL, O_RDWR)         = -1 EPERM (Operation not permitted)
13  ioctl(1, TCGETS, 0x7ffd)          = -1 ENOTTY (Inappropriate ioctl for device)
15  flock(4, LOCK_EX <unfinished ...>
14  <... recvmsg resumed>{...}, 0)    = -1 EPERM (Operation not permitted)
15  <... flock resumed>)              = -1 EPERM (Operation not permitted)
14  _llseek(4, 0, 0xff8c, SEEK_SET)   = -1 EPERM (Operation not permitted)
15  +++ killed by SIGSYS +++
`
	want := []string{"a call of another ABI", "_llseek(4)", "flock(4)", "recvmsg", "fcntl(3, F_SETFL)", "socket(AF_UNIX)", "dup2(3)"}
	if got := refusals(trace); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
