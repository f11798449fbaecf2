package command

import (
	"strings"
	"testing"
)

// late is the binary with an option that changes nothing, but for which a line isn't among the plainest: Go's runtime starts
// then, and does all.
const late = "$safeexec --leaks close"

// branches are the ways on which safeexec comes to the command's table. What differs by no more than the errno takes samples.
var branches = []struct{ name, prefix, safeexec string }{
	{"early", "", "$safeexec"}, // what is plain; the rest as late
	{"late", "", late},
	{"close_range ENOSYS", "$filter close_range=ENOSYS", "$safeexec"},
	{"close_range EPERM", "$filter close_range=EPERM", "$safeexec"},
	{"clone3 ENOSYS", "$filter clone3=ENOSYS", late},
	{"clone3 EPERM", "$filter clone3=EPERM", late},
	{"both ENOSYS", "$filter close_range=ENOSYS,clone3=ENOSYS", late},
}

const standard = "0 in, 1 out, 2 err"

var lists = []struct {
	name    string
	open    string // redirections of the caller, besides 0 to 2
	options string
	want    string
}{
	{"nothing", "3<a 4<b 9<c", "", standard},
	{"one", "3<a 4<b", "--keep 3", standard + ", 3 a"},
	{"short", "3<a 4<b", "-k 3", standard + ", 3 a"},
	{"joined", "3<a 4<b", "-k3", standard + ", 3 a"},
	{"equals", "3<a 4<b", "--keep=3", standard + ", 3 a"},
	{"two", "3<a 4<b 5<c", "--keep 3,5", standard + ", 3 a, 5 c"},
	{"repeated", "3<a 4<b 5<c", "--keep 3 -k5", standard + ", 3 a, 5 c"},
	{"range", "3<a 4<b 5<c 6<d", "--keep 3-5", standard + ", 3 a, 4 b, 5 c"},
	{"range of one", "3<a 4<b", "--keep 4-4", standard + ", 4 b"},
	{"range and item", "3<a 4<b 5<c 9<d", "--keep 3-4,9", standard + ", 3 a, 4 b, 9 d"},
	{"standard range", "3<a", "--keep 0-3", standard + ", 3 a"},
	{"moved", "3<a 4<b", "--keep 3:7", standard + ", 7 a"},
	{"moved onto another", "3<a 4<b", "--keep 3:4", standard + ", 4 a"},
	{"itself", "3<a 4<b", "--keep 3:3", standard + ", 3 a"},
	{"moved and kept", "3<a 4<b", "--keep 3,3:7", standard + ", 3 a, 7 a"},
	{"swap", "3<a 4<b", "--keep 3:4,4:3", standard + ", 3 b, 4 a"},
	{"swap, two options", "3<a 4<b", "--keep 3:4 --keep 4:3", standard + ", 3 b, 4 a"},
	{"cycle of three", "3<a 4<b 5<c", "--keep 3:4,4:5,5:3", standard + ", 3 c, 4 a, 5 b"},
	{"cycle with a copy", "3<a 4<b", "--keep 3:4,4:3,3:5", standard + ", 3 b, 4 a, 5 a"},
	{"two swaps", "3<a 4<b 5<c 6<d", "--keep 3:4,4:3,5:6,6:5", standard + ", 3 b, 4 a, 5 d, 6 c"},
	{"chain", "3<a 4<b 5<c", "--keep 3:4,4:5,5:6", standard + ", 4 a, 5 b, 6 c"},
	{"chain, the other way", "4<a 5<b 6<c", "--keep 4:3,5:4,6:5", standard + ", 3 a, 4 b, 5 c"},
	{"several targets", "3<a 4<b", "--keep 3:4,3:5,3:60", standard + ", 4 a, 5 a, 60 a"},
	{"above all that is open", "3<a 4<b", "--keep 3:1000", standard + ", 1000 a"},
	{"all", "3<a 4<b 15<c", "--keep all", standard + ", 3 a, 4 b, 15 c"},
	{"all, one moved", "3<a 4<b 15<c", "--keep all,3:7", standard + ", 4 b, 7 a, 15 c"},
	{"all, one replaced", "3<a 4<b 15<c", "--keep all --keep 3:4", standard + ", 4 a, 15 c"},
	{"all, one closed", "3<a", "--keep all --close 0", "0 null, 1 out, 2 err, 3 a"},
	{"to 0", "3<a", "--keep 3:0", "0 a, 1 out, 2 err"},
	{"to 2", "3>d2", "--keep 3:2", "0 in, 1 out, 2 d2"},
	{"to 0, 1 and 2", "3<a 4>b2 5>c2", "--keep 3:0,4:1,5:2", "0 a, 1 b2, 2 c2"},
	{"from 0", "3<a", "--keep 0:3", standard + ", 3 in"},
	{"from 1 and 2", "", "--keep 1:5,2:6", standard + ", 5 out, 6 err"},
	{"output and errors swapped", "", "--keep 1:2,2:1", "0 in, 1 err, 2 out"},
	{"the standard ones turned", "", "--keep 0:1,1:2,2:0", "0 err, 1 in, 2 out"},
	{"swap with 2", "3<a", "--keep 2:3,3:2", "0 in, 1 out, 2 a, 3 err"},
	{"swap with 0", "7<a", "--keep 0:7,7:0", "0 a, 1 out, 2 err, 7 in"},
	{"2>&1", "", "--keep 1:2", "0 in, 1 out, 2 out"},
	{"close 0", "3<a", "--close 0", "0 null, 1 out, 2 err"},
	{"close all three", "3<a", "--close 0,1,2", "0 null, 1 null, 2 null"},
	{"close a range", "3<a", "--close 0-2 -k 3", "0 null, 1 null, 2 null, 3 a"},
	{"closed but kept elsewhere", "", "--close 2 --keep 2:5", "0 in, 1 out, 2 null, 5 err"},
	{"a hole below", "3<a 4<b 200<c", "--keep 200", standard + ", 200 c"},
	{"one file twice", "3<a 4<&3", "--keep 3,4", standard + ", 3 a, 4 a"},
}

func (c *caller) testList(t *testing.T) {
	for _, branch := range branches {
		t.Run(branch.name, func(t *testing.T) {
			for i, tt := range lists {
				if strings.HasSuffix(branch.name, "EPERM") && i%5 != 0 {
					continue
				}
				r := c.bash(t, "exec "+branch.prefix+" "+branch.safeexec+" "+tt.options+" -- $table <in >out 2>err "+tt.open)
				if r.status != 0 || r.report != tt.want {
					t.Errorf("%s: %s of %q: status %d, table\n%q, want\n%q", tt.name, tt.options, tt.open, r.status, r.report, tt.want)
				}
			}
		})
	}
}

func (c *caller) testListRefuses(t *testing.T) {
	for _, tt := range []struct{ open, options, want string }{
		{"", "--keep 3", "--keep 3: descriptor 3 is not open"},
		{"3<a", "--keep 3,4", "descriptor 4 is not open"},
		{"3<a 5<b", "--keep 3-5", "--keep 3-5: descriptor 4 is not open"},
		{"3<a", "--keep 3-2147483647", "descriptor 4 is not open"},
		{"3<a", "--keep 9:3", "--keep 9:3: descriptor 9 is not open"},
		{"3<a 4<b", "--keep 3:5,4:5", "--keep 4:5: descriptor 5 is named already, by --keep 3:5"},
		{"3<a", "--keep 3,3", "descriptor 3 is named already"},
		{"3<a", "--keep 3 --keep 3", "descriptor 3 is named already"},
		{"3<a", "--keep 3:0 --close 0", "descriptor 0 is named already"},
		{"3<a", "--keep 3:2147483647", "above the limit on descriptors"},
		{"", "--keep 2147483648", "above the largest number"},
		{"", "--keep 99999999999999999999", "above the largest number"},
		{"", "--keep -1", "is negative"},
		{"3<a", "--keep 3:-1", "is negative"},
		{"", "--keep three", "is not a descriptor number"},
		{"3<a", `--keep 3\;4`, "is not a descriptor number"},
		{"", "--keep ''", "--keep: the list is empty"},
		{"", "--keep=", "--keep: the list is empty"},
		{"3<a", "--keep 3,", "an item of the list is empty"},
		{"3<a", "--keep 3@append", "@append is for --private"},
		{"3<a", "--close 3", "only 0, 1 and 2 can be closed"},
		{"", "--close all", "only 0, 1 and 2 can be closed"},
		{"", "--close 0:1", "only 0, 1 and 2 can be closed"},
		{"3<a", "--json-status-fd 3", "descriptor 3 is not open for writing"},
		{"3>>a", "--json-status-fd 3 --keep 3", "--keep 3 would pass it on"},
		{"3>>a", "--json-status-fd 3 --keep 3:5", "--keep 3:5 would pass it on"},
		{"1>out", "--json-status-fd 1", "the command would get it as its own 1"},
		{"", "--json-status-fd 7", "descriptor 7 is not open"},
	} {
		t.Run(tt.open+" "+tt.options, func(t *testing.T) {
			c.refused(t, c.bash(t, "exec $safeexec "+tt.options+" -- touch ran <in "+tt.open), 125, tt.want)
		})
	}
}

// testLimits: numbers above the limits on descriptors.
func (c *caller) testLimits(t *testing.T) {
	for _, branch := range branches {
		t.Run(branch.name, func(t *testing.T) {
			for _, tt := range []struct{ name, before, options, want string }{
				{"leak above a lowered soft limit", "ulimit -S -n 40", "", "40 " + standard},
				{"kept above a lowered soft limit", "ulimit -S -n 40", "-k 80", "40 " + standard + ", 80 b"},
				{"moved above the soft limit", "ulimit -S -n 40", "-k 80:90", "40 " + standard + ", 90 b"},
				{"leak above a lowered hard limit", "ulimit -n 40", "", "40 " + standard},
				{"kept above a lowered hard limit", "ulimit -n 40", "-k 80", "40 " + standard + ", 80 b"},
				{"moved below a lowered hard limit", "ulimit -n 40", "-k 80:9", "40 " + standard + ", 9 b"},
				{"all above a lowered hard limit", "ulimit -n 40", "-k all", "40 " + standard + ", 3 a, 80 b"},
				{"the soft limit as it was", "ulimit -S -n 300", "", "300 " + standard},
			} {
				r := c.bash(t, "exec <in >out 2>err 3<a 80<b; "+tt.before+"; exec "+branch.prefix+
					" "+branch.safeexec+" "+tt.options+` -- bash -c '$table; printf "%s " $(ulimit -S -n) $(<report) >report'`)
				if got := strings.TrimSpace(r.report); r.status != 0 || got != tt.want {
					t.Errorf("%s: status %d, limit and table %q, want %q", tt.name, r.status, got, tt.want)
				}
			}
		})
	}
	t.Run("above the hard limit", func(t *testing.T) {
		c.refused(t, c.bash(t, "exec 3<a; ulimit -n 40; exec $safeexec -k 3:40 touch ran"), 125, "above the limit on descriptors")
	})
}

// testPoller: with a non-blocking standard input Go's poller holds an epoll and an eventfd before safeexec looks.
func (c *caller) testPoller(t *testing.T) {
	const prepare = `rm -f fifo; mkfifo -m 600 fifo; exec <>fifo; `
	for _, branch := range branches[:4] {
		t.Run(branch.name, func(t *testing.T) {
			for _, tt := range []struct{ options, want string }{
				{"", "0 fifo, 1 out, 2 err"},
				{"-k 8", "0 fifo, 1 out, 2 err, 8 a"},
				{"-k 8:3", "0 fifo, 1 out, 2 err, 3 a"},
				{"-k 8:3,9:4", "0 fifo, 1 out, 2 err, 3 a, 4 b"},
				{"-k 8:3,8:4,8:5,9:6", "0 fifo, 1 out, 2 err, 3 a, 4 a, 5 a, 6 b"},
				{"-k all", "0 fifo, 1 out, 2 err, 8 a, 9 b"},
				{"-k 0:3,8:0", "0 a, 1 out, 2 err, 3 fifo"},
			} {
				r := c.bash(t, prepare+"exec $nonblocking "+branch.prefix+" "+branch.safeexec+" "+tt.options+" -- $table >out 2>err 8<a 9<b")
				if r.status != 0 || r.report != tt.want {
					t.Errorf("%q: status %d, table %q, want %q", tt.options, r.status, r.report, tt.want)
				}
			}
			for _, options := range []string{"-k 3", "-k 4", "-k 3-4"} {
				c.refused(t, c.bash(t, prepare+"exec $nonblocking "+branch.prefix+" "+branch.safeexec+" "+options+" -- touch ran"), 125, "is not open")
			}
		})
	}
	t.Run("is there", func(t *testing.T) { // or the above would show nothing
		r := c.bash(t, prepare+"exec $nonblocking strace -f -e trace=epoll_create1,eventfd2 "+late+" true")
		if !strings.Contains(r.stderr, "epoll_create1(EPOLL_CLOEXEC) = 3") || !strings.Contains(r.stderr, "eventfd2") {
			t.Errorf("the poller's descriptors aren't what this test supposes: %s", r.stderr)
		}
	})
}
