package fdtable

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// run performs steps on a table in which every source holds itself, and returns what the targets hold.
func run(t *testing.T, moves []Move, steps []Step) map[int]string {
	t.Helper()
	table := map[int]string{}
	for _, m := range moves {
		if m.From != Null {
			table[m.From] = strconv.Itoa(m.From) + " marked"
		}
	}
	for _, s := range steps {
		from, to := int(s.From), int(s.To)
		if s.Op != Open && table[from] == "" {
			t.Fatalf("%v: step %v uses an empty number", moves, s)
		}
		switch s.Op {
		case Dup:
			if from == to {
				t.Fatalf("%v: dup3 of %d onto itself is EINVAL", moves, from)
			}
			table[to] = strconv.Itoa(root(table[from]))
		case Stash:
			if table[to] != "" {
				t.Fatalf("%v: stash overwrites %d", moves, to)
			}
			table[to] = strconv.Itoa(root(table[from])) + " marked"
		case Clear:
			table[to] = strconv.Itoa(root(table[to]))
		case Close:
			delete(table, from)
		case Open:
			if table[to] != "" {
				t.Fatalf("%v: /dev/null would overwrite %d", moves, to)
			}
			table[to] = "null"
		}
	}
	return table
}

func root(held string) int {
	n, _ := strconv.Atoi(string([]byte(held)[:max(1, len(held)-len(" marked"))]))
	if len(held) <= len(" marked") {
		n, _ = strconv.Atoi(held)
	}
	return n
}

func check(t *testing.T, moves []Move) {
	t.Helper()
	want := map[int]string{}
	for _, m := range moves {
		want[m.To] = strconv.Itoa(m.From)
		if m.From == Null {
			want[m.To] = "null"
		}
	}
	got := run(t, moves, Arrange(moves))
	for n, held := range want {
		if got[n] != held {
			t.Errorf("%v: %d holds %q, want %q", moves, n, got[n], held)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v: the table is %v, want %v", moves, got, want)
	}
}

func TestArrange(t *testing.T) {
	for name, moves := range map[string][]Move{
		"nothing":               nil,
		"in place":              {{3, 3}},
		"one":                   {{3, 9}},
		"swap":                  {{3, 4}, {4, 3}},
		"cycle of three":        {{3, 4}, {4, 5}, {5, 3}},
		"two cycles":            {{3, 4}, {4, 3}, {7, 8}, {8, 7}},
		"chain":                 {{3, 4}, {4, 5}, {5, 6}},
		"chain backwards":       {{5, 6}, {4, 5}, {3, 4}},
		"one onto several":      {{3, 4}, {3, 5}, {3, 3}},
		"cycle with a branch":   {{3, 4}, {4, 3}, {3, 9}, {4, 1}},
		"standard swapped":      {{0, 1}, {1, 0}, {2, 2}},
		"standard moved up":     {{0, 7}, {Null, 0}},
		"null onto free":        {{Null, 0}, {Null, 1}},
		"null where one left":   {{1, 2}, {2, 1}, {0, 5}, {Null, 0}},
		"far above":             {{3, 19999}},
		"source above, cycle":   {{1000, 0}, {0, 1000}},
		"stash skips the taken": {{0, 1}, {1, 0}, {2, 3}, {3, 2}, {4, 5}, {5, 4}},
	} {
		t.Run(name, func(t *testing.T) { check(t, moves) })
	}
}

func TestArrangeRandom(t *testing.T) {
	seed := uint64(rand.Uint32())
	if s := os.Getenv("SAFEEXEC_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("SAFEEXEC_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 20000 {
		var moves []Move
		for to := range 8 {
			switch n := r.IntN(10); {
			case n < 8:
				moves = append(moves, Move{n, to})
			case n == 8:
				moves = append(moves, Move{Null, to})
			}
		}
		r.Shuffle(len(moves), func(i, j int) { moves[i], moves[j] = moves[j], moves[i] })
		check(t, moves)
		if t.Failed() {
			return
		}
	}
}

func TestGaps(t *testing.T) {
	const top = 1<<32 - 1
	for _, c := range []struct {
		kept []int
		want []Span
	}{
		{nil, []Span{{0, top}}},
		{[]int{0, 1, 2}, []Span{{3, top}}},
		{[]int{2, 0}, []Span{{1, 1}, {3, top}}},
		{[]int{3, 3, -1, 4}, []Span{{0, 2}, {5, top}}},
		{[]int{1 << 30}, []Span{{0, 1<<30 - 1}, {1<<30 + 1, top}}},
	} {
		if got := Gaps(c.kept); !slices.Equal(got, c.want) {
			t.Errorf("Gaps(%v) = %v, want %v", c.kept, got, c.want)
		}
	}
}
