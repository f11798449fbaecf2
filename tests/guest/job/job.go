// Package job is what the machine that starts guests and the first process inside agree on: the list of programs to run, and
// the lines by which the results come back over a serial port.
package job

// List is where the jobs stand in the guest, as JSON.
const List = "/jobs.json"

// Results is the variable of init's environment that names the serial port for the results, like ttyS1.
const Results = "results"

// A Job is a program to run in the guest.
type Job struct {
	Name string   // without blanks
	Dir  string   // where it runs
	UID  int      // as whom; the group is the same
	Args []string // the program and its arguments
	Env  []string // added to a small environment
}

// The lines that stand around a program's output. Begin is followed by the name; End by the name, the exit status and the
// milliseconds that it took. Bye is the last line of a guest that has run everything.
const (
	Begin = "@guest begin "
	End   = "@guest end "
	Bye   = "@guest bye"
)
