package fdtable

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseList(t *testing.T) {
	for list, want := range map[string][]Item{
		"3":                   {{First: 3, Last: 3, To: -1}},
		"0,2":                 {{First: 0, Last: 0, To: -1}, {First: 2, Last: 2, To: -1}},
		"3-5":                 {{First: 3, Last: 5, To: -1}},
		"3:4,4:3":             {{First: 3, Last: 3, To: 4}, {First: 4, Last: 4, To: 3}},
		"all":                 {{All: true, To: -1}},
		"7@append,8:1@offset": {{First: 7, Last: 7, To: -1, Suffix: "append"}, {First: 8, Last: 8, To: 1, Suffix: "offset"}},
		"2147483647":          {{First: 2147483647, Last: 2147483647, To: -1}},
	} {
		got, err := ParseList(list)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseList(%q) = %v, %v; want %v", list, got, err, want)
		}
	}
}

func TestParseListRefuses(t *testing.T) {
	for list, want := range map[string]string{
		"":                     "the list is empty",
		" ":                    "the list is empty",
		"3,":                   "an item of the list is empty",
		",3":                   "an item of the list is empty",
		"x":                    `"x" is not a descriptor number`,
		"+3":                   `"+3" is not a descriptor number`,
		"0x3":                  `"0x3" is not a descriptor number`,
		" 3":                   `" 3" is not a descriptor number`,
		"-1":                   `"-1" is negative`,
		"3:-1":                 `"3:-1" is negative`,
		"3:":                   `"3:" lacks a number`,
		":3":                   `":3" lacks a number`,
		"3-":                   `"3-" lacks a number`,
		"5-3":                  `"5-3" runs backwards`,
		"3:4:5":                `"3:4:5" is not a descriptor number`,
		"3-5:7":                `"3-5:7" is not a descriptor number`,
		"2147483648":           "above the largest number",
		"99999999999999999999": "above the largest number",
		"3@x":                  "there are @append and @offset",
		"all@append":           "all takes no ending",
		"3\x00":                "is not a descriptor number",
	} {
		got, err := ParseList(list)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseList(%q) = %v, %v; want an error with %q", list, got, err, want)
		}
	}
}

func FuzzParseList(f *testing.F) {
	for _, s := range []string{"3", "3-5,7:9", "all", "4@append", "3:4,4:3", "-", "@", "1-2-3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		items, err := ParseList(list)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Fatalf("the error isn't one line: %q", err)
			}
			return
		}
		var again []string
		for _, i := range items {
			again = append(again, i.String())
		}
		back, err := ParseList(strings.Join(again, ","))
		if err != nil || !reflect.DeepEqual(items, back) {
			t.Fatalf("%q reads as %v, written %v, read again %v, %v", list, items, again, back, err)
		}
	})
}
