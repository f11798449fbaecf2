package main

import (
	"slices"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	for name, want := range map[string]string{"UNIXSockets": "UNIX Sockets", "Files": "Files", "LeakedThings": "Leaked Things", "I386Gate": "I386 Gate"} {
		if got := spaced(name); got != want {
			t.Errorf("spaced(%s) = %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"change:_O_NONBLOCK":           "change: O_NONBLOCK",
		"pass:_F_DUPFD_CLOEXEC":        "pass: F_DUPFD_CLOEXEC",
		"pass:_io_uring":               "pass: io_uring",
		"inside:_named_stream":         "inside: named stream",
		"a_shared_file,_no_UNIX_socks": "a shared file, no UNIX socks",
	} {
		if got := sentence(name); got != want {
			t.Errorf("sentence(%s) = %q, want %q", name, got, want)
		}
	}
}

// A guest's serial port as the host reads it.
func TestCollect(t *testing.T) {
	const said = "noise\n@guest begin test:a:0\nwords\n\n@guest end test:a:0 2 1500\n"
	outcomes, err := collect(strings.NewReader(said+"@guest bye\n"), &strings.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	o := outcomes["test:a:0"]
	if o == nil || !o.done || o.status != 2 || o.took.Milliseconds() != 1500 || o.output.String() != "words\n\n" {
		t.Fatalf("%+v", o)
	}
	if _, err := collect(strings.NewReader(said), &strings.Builder{}); err == nil {
		t.Error("a guest that ended early counts as complete")
	}
}

// The job of a 32-bit program under two settings, one of which an ordinary user's came out differently under.
func TestSettings(t *testing.T) {
	const job = "TestPrograms/all/i386"
	suite := func(uid string, hows ...string) suiteResults {
		return suiteResults{name: narrowJob, uid: uid, tests: []result{
			{name: job}, {name: job + "/0-2_a_pipe", how: hows[0]}, {name: job + "/--deny_dup", how: hows[1]},
		}}
	}
	p := &page{guests: []*guest{{name: "6.12", suites: []suiteResults{suite("0", "works", "dup2(5)"), suite("65534", "works", "dup2(4)")}}}}
	p.settings()
	const want = "| setting | 6.12 |\n| --- | --- |\n| 0-2 a pipe | works |\n| --deny dup | dup2(5); dup2(4) |\n"
	if got := p.text.String(); !strings.HasSuffix(got, want) {
		t.Errorf("got %s\nwant at its end %s", got, want)
	}
	p = &page{guests: []*guest{{name: "6.12"}}}
	if p.settings(); p.text.Len() != 0 {
		t.Errorf("without that job: %s", p.text.String())
	}
}

// A test that tells how it passed, one that is skipped, and one that never ends.
func TestReadEvents(t *testing.T) {
	got, err := readEvents(strings.NewReader(`
{"Action":"run","Test":"A"} {"Action":"attr","Test":"A","Key":"how","Value":"by hand"} {"Action":"pass","Test":"A"}
{"Action":"run","Test":"B"} {"Action":"output","Test":"B","Output":"    b_test.go:1: wanting: x\n"} {"Action":"skip","Test":"B"}
{"Action":"run","Test":"C"} {"Action":"output","Output":"FAIL"}`))
	want := []result{
		{name: "A", action: "pass", reason: "it didn't end", how: "by hand"},
		{name: "B", action: "skip", reason: "wanting: x"},
		{name: "C", action: "fail", reason: "it didn't end"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}
