// Package early runs the plainest command lines before the Go runtime has started.
//
// Most runs are a few --keep, and a command: a dozen system calls, and this process is the command. Go's own start costs many
// times that, and a process that is about to become another program needs none of it. So the start hook (package inherit), which
// the runtime calls before anything else, calls begin first. The table is precisely what the caller left then: nothing has been
// opened over a closed 0, no limit has been raised, no handler installed, and there is one thread.
//
// Nothing depends on it but speed. Whatever begin doesn't know, and whatever is wrong, it leaves to package run, which does
// the same with all the options and all the words; so it changes nothing before it is sure. Only when the kernel refuses after that
// is there no way back: then main reports the Refusal. Builds that link the C library (-race, libseccomp) have another hook, and
// run does everything.
//
// The command alone imports it, and it has no tests of its own: a test binary that imports it would become a command. The
// tests of the command line go through here.
//
// # The rules
//
// There is no runtime, so this isn't Go as one knows it:
//
//   - The stack is the kernel's first one. g is the runtime's g0, and all that is in it is the end of the stack, 64 KiB away: enough
//     for functions to find that the stack needn't grow. There is no m, no p, and no thread-local storage.
//   - So nothing may allocate, or ask for a write barrier: there are no maps, closures, defers or interfaces, and no pointer
//     is stored outside the stack. What is to be remembered is in line, which has none. Strings are views of the kernel's memory.
//   - No call leaves the package but for RawSyscall6, which doesn't look at g, and for what the compiler calls to compare and copy
//     bytes, which is assembly and doesn't either. No package has been initialised, so others may not be ready.
//   - Indices are checked as everywhere, but none can be wrong: a panic would have nowhere to go.
//   - nocheckptr where addresses are reckoned, because what that mode adds are calls into the runtime.
package early

import (
	"math"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/safeexec/safeexec/internal/forkexec"
	"github.com/safeexec/safeexec/internal/search"
)

// What the hook calls. It goes by the variable's value: a call by name from assembly would lead through a wrapper.
//
//go:linkname hooked safeexecEarly
var hooked = begin

// A plain is a command line that needs no more than this package knows.
type plain struct {
	moves         [64]move // a line with more is left to package run
	count         int
	noNewPrivs    bool
	dieWithParent bool
	path          [4096]byte // of the program, with a NUL; the kernel takes no longer one
	stat          syscall.Stat_t
	limit         syscall.Rlimit

	// Why the kernel didn't take the program.
	refused bool
	stage   forkexec.Stage
	number  int
	errno   syscall.Errno
}

// A move says which of the caller's descriptors becomes which of the command's.
type move struct{ from, to int }

var line plain

// IsSubcommand reports whether the first word of a command line is a subcommand.
func IsSubcommand(word string) bool {
	return word == "fds" || word == "policy" || word == "doctor" || word == "check"
}

// Refusal returns the program's path and why the kernel didn't take it; err is nil when nothing was tried. The table has
// been emptied then, but standard error is as it was.
func Refusal() (path string, err *forkexec.Error) {
	if !line.refused {
		return "", nil
	}
	return unix.ByteSliceToString(line.path[:]), &forkexec.Error{Stage: line.stage, Number: line.number, Errno: line.errno}
}

const wordSize = 8 // on amd64 and arm64

// begin gets the arguments from where the runtime has put them, and the stack pointer. It returns when this process hasn't
// become the command.
//
// Another version of the runtime may put the arguments elsewhere, so it looks before it reads: the kernel leaves argc right below
// argv and the environment right behind it, and all that on top of the stack, of which hardly anything is in use yet.
//
//go:nocheckptr
func begin(argc int, argv **byte, stack uintptr) {
	const near = 256
	above := uintptr(unsafe.Pointer(argv)) - stack
	if above < wordSize || above > near || above%wordSize != 0 || argc < 2 || *(*int)(unsafe.Add(unsafe.Pointer(argv), -wordSize)) != argc {
		return
	}
	end := (**byte)(unsafe.Add(unsafe.Pointer(argv), argc*wordSize))
	if *end != nil {
		return
	}
	env, p := next(end), &line
	command := p.options(next(argv))
	if command == nil || namesDescriptor(command) || listens(env) {
		return
	}
	if p.standard() && p.simple() && p.find(text(*command), searchPath(env)) && canCloseRange() {
		// From here on there is no way back.
		_ = p.close(false) && p.place() && p.restrict() && p.exec(command, env)
	}
}

// next steps through the kernel's vectors, which end in nil.
//
//go:nocheckptr
func next(vector **byte) **byte { return (**byte)(unsafe.Add(unsafe.Pointer(vector), wordSize)) }

// text is a string of the kernel's, which ends in NUL, as Go has strings.
//
//go:nocheckptr
func text(p *byte) string {
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return unsafe.String(p, n)
}

func hasPrefix(s, prefix string) bool { return len(s) >= len(prefix) && s[:len(prefix)] == prefix }

// index returns where the first c is, or -1.
func index(s string, c byte) int {
	for i := range len(s) {
		if s[i] == c {
			return i
		}
	}
	return -1
}

// options takes --keep, --no-new-privs and --die-with-parent as package run does. It returns where the command begins, or nil
// when there is anything else, or no command.
//
//go:nocheckptr
func (p *plain) options(words **byte) (command **byte) {
	if IsSubcommand(text(*words)) {
		return nil
	}
	for ended := false; *words != nil; {
		word := text(*words)
		if word == "" {
			return nil
		}
		if ended || word[0] != '-' {
			return words
		}
		words = next(words)
		value, takesValue := "", true
		switch {
		case word == "--keep" || word == "-k":
			if *words == nil {
				return nil
			}
			value = text(*words)
			words = next(words)
		case hasPrefix(word, "--keep="):
			value = word[len("--keep="):]
		case hasPrefix(word, "-k="):
			value = word[len("-k="):]
		case hasPrefix(word, "-k"):
			value = word[len("-k"):]
		default:
			takesValue = false
		}
		switch {
		case takesValue:
			if !p.keep(value) {
				return nil
			}
		case word == "--no-new-privs" || word == "--nnp":
			p.noNewPrivs = true
		case word == "--die-with-parent":
			p.dieWithParent = true
		case word == "--":
			ended = true
		default:
			return nil
		}
	}
	return nil
}

// keep reads a LIST of N, N-M and SRC:DST.
func (p *plain) keep(list string) bool {
	for {
		from, rest := number(list)
		last, to := from, from
		switch {
		case hasPrefix(rest, ":"):
			to, rest = number(rest[1:])
		case hasPrefix(rest, "-"):
			last, rest = number(rest[1:])
		}
		if from < 0 || to < 0 || last < from {
			return false
		}
		for n := from; n <= last; n++ {
			if !isOpen(n) || !p.add(move{n, n - from + to}) {
				return false
			}
		}
		if rest == "" {
			return true
		}
		if rest[0] != ',' {
			return false
		}
		list = rest[1:]
	}
}

// number reads the digits that a text begins with. It returns -1 when there are none, or more than a descriptor can have.
func number(s string) (n int, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' && n <= math.MaxInt32 {
		n = n*10 + int(s[i]-'0')
		i++
	}
	if i == 0 || n > math.MaxInt32 {
		return -1, s
	}
	return n, s[i:]
}

// isOpen says what was inherited, too: what was close-on-exec is gone.
func isOpen(number int) bool {
	_, errno := call(syscall.SYS_FCNTL, uintptr(number), syscall.F_GETFD, 0, 0)
	return errno == 0
}

// add says no to a number that is taken.
func (p *plain) add(m move) bool {
	if p.count == len(p.moves) || p.holds(m.to) {
		return false
	}
	p.moves[p.count] = m
	p.count++
	return true
}

func (p *plain) holds(number int) bool {
	for _, m := range p.moves[:p.count] {
		if m.to == number {
			return true
		}
	}
	return false
}

// namesDescriptor: package run has something to say about such an argument.
//
//go:nocheckptr
func namesDescriptor(words **byte) bool {
	for ; *words != nil; words = next(words) {
		word := text(*words)
		for i := range len(word) {
			if word[i] == '/' && (hasPrefix(word[i:], "/dev/fd/") || hasPrefix(word[i:], "/proc/self/fd/")) {
				return true
			}
		}
	}
	return false
}

// listens: variables of socket activation are removed, or kept with their sockets.
//
//go:nocheckptr
func listens(env **byte) bool {
	for ; *env != nil; env = next(env) {
		if hasPrefix(text(*env), "LISTEN_") {
			return true
		}
	}
	return false
}

//go:nocheckptr
func searchPath(env **byte) string {
	for ; *env != nil; env = next(env) {
		if variable := text(*env); hasPrefix(variable, "PATH=") {
			return variable[len("PATH="):]
		}
	}
	return search.DefaultPath
}

// standard adds 0, 1 and 2 where nothing else goes there. It says no when one of them is closed: Go's runtime opens /dev/null
// there, and a command is to get the same on either way.
func (p *plain) standard() bool {
	for n := range 3 {
		if !isOpen(n) || !p.holds(n) && !p.add(move{n, n}) {
			return false
		}
	}
	return true
}

// simple says no when the order of the moves matters, when one replaces standard error, which must be there for the message
// should the exec fail, and when one goes above the limit, which the runtime raises.
//
//go:nocheckptr
func (p *plain) simple() bool {
	for _, m := range p.moves[:p.count] {
		if m.from == m.to {
			continue
		}
		for _, other := range p.moves[:p.count] {
			if other.from == m.to {
				return false
			}
		}
		_, errno := call(syscall.SYS_PRLIMIT64, 0, syscall.RLIMIT_NOFILE, 0, uintptr(unsafe.Pointer(&p.limit)))
		if errno != 0 || m.to == 2 || uint64(m.to) >= p.limit.Cur {
			return false
		}
	}
	return true
}

// find looks the command up as package search does, and leaves its path in p. It says no when there is no such program, and
// on any error that isn't an everyday one.
func (p *plain) find(name, path string) bool {
	if index(name, '/') >= 0 {
		return p.executable("", name) == 0
	}
	for {
		dir, rest := path, ""
		colon := index(path, ':')
		if colon >= 0 {
			dir, rest = path[:colon], path[colon+1:]
		}
		if dir == "" {
			dir = "."
		}
		errno := p.executable(dir, name)
		if errno == 0 {
			return true
		}
		everyday := errno == syscall.ENOENT || errno == syscall.ENOTDIR || errno == syscall.EACCES
		if !everyday || colon < 0 {
			return false
		}
		path = rest
	}
}

//go:nocheckptr
func (p *plain) executable(dir, name string) syscall.Errno {
	if len(dir)+len("/")+len(name)+len("\x00") > len(p.path) {
		return syscall.ENAMETOOLONG
	}
	end := 0
	if dir != "" {
		end = copy(p.path[:], dir)
		end += copy(p.path[end:], "/")
	}
	end += copy(p.path[end:], name)
	p.path[end] = 0

	const workingDir = ^uintptr(99) // AT_FDCWD
	path := uintptr(unsafe.Pointer(&p.path))
	if _, errno := call(unix.SYS_NEWFSTATAT, workingDir, path, uintptr(unsafe.Pointer(&p.stat)), 0); errno != 0 {
		return errno
	}
	if p.stat.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return syscall.EACCES
	}
	_, errno := call(unix.SYS_FACCESSAT2, workingDir, path, unix.X_OK, unix.AT_EACCESS)
	return errno
}

// canCloseRange asks with a number that is never open. Where the kernel or a sandbox refuses it, package run goes by /proc.
func canCloseRange() bool {
	_, errno := call(unix.SYS_CLOSE_RANGE, math.MaxUint32, math.MaxUint32, 0, 0)
	return errno == 0
}

// close closes everything but the sources or, once they have been placed, everything but the targets.
func (p *plain) close(placed bool) bool {
	last := math.MaxUint32
	for last >= 0 {
		kept := -1 // the highest one up to last
		for _, m := range p.moves[:p.count] {
			n := m.from
			if placed {
				n = m.to
			}
			if n <= last {
				kept = max(kept, n)
			}
		}
		if kept < last && !p.call(forkexec.StageClose, -1, unix.SYS_CLOSE_RANGE, uintptr(kept+1), uintptr(last), 0) {
			return false
		}
		last = kept - 1
	}
	return true
}

// place brings the sources to their numbers, in any order: simple has seen to that.
func (p *plain) place() bool {
	moved := false
	for _, m := range p.moves[:p.count] {
		if m.from == m.to {
			continue
		}
		if !p.call(forkexec.StagePlace, m.to, syscall.SYS_DUP3, uintptr(m.from), uintptr(m.to), 0) {
			return false
		}
		moved = true
	}
	return !moved || p.close(true)
}

func (p *plain) restrict() bool {
	if p.dieWithParent {
		parent, _ := call(syscall.SYS_GETPPID, 0, 0, 0, 0)
		if !p.call(forkexec.StageDeathSig, -1, syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0) {
			return false
		}
		if now, _ := call(syscall.SYS_GETPPID, 0, 0, 0, 0); now != parent { // it died before: nobody would send the signal
			self, _ := call(syscall.SYS_GETPID, 0, 0, 0, 0)
			if !p.call(forkexec.StageDeathSig, -1, syscall.SYS_KILL, self, uintptr(syscall.SIGKILL), 0) {
				return false
			}
		}
	}
	return !p.noNewPrivs || p.call(forkexec.StageNoNewPrivs, -1, syscall.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
}

// exec passes the kernel's own vectors on.
//
//go:nocheckptr
func (p *plain) exec(command, env **byte) bool {
	return p.call(forkexec.StageExec, -1, syscall.SYS_EXECVE,
		uintptr(unsafe.Pointer(&p.path)), uintptr(unsafe.Pointer(command)), uintptr(unsafe.Pointer(env)))
}

// call makes one system call, and takes down what failed.
func (p *plain) call(stage forkexec.Stage, number int, trap, a1, a2, a3 uintptr) bool {
	_, errno := call(trap, a1, a2, a3, 0)
	if errno != 0 {
		p.refused, p.stage, p.number, p.errno = true, stage, number, errno
	}
	return errno == 0
}

func call(trap, a1, a2, a3, a4 uintptr) (result uintptr, errno syscall.Errno) {
	result, _, errno = syscall.RawSyscall6(trap, a1, a2, a3, a4, 0, 0)
	return result, errno
}
