package fdtable

import (
	"math"
	"strconv"
	"strings"
)

// An Item is one element of a LIST: one number, a range of numbers, or one number that becomes another.
type Item struct {
	First, Last int    // the caller's descriptors, Last included
	To          int    // the command's number for First, or -1: the same numbers
	All         bool   // the word "all": everything inherited
	Suffix      string // what follows an @: "append" or "offset"
}

// String is the item as it would be written in a LIST.
func (i Item) String() string {
	s := strconv.Itoa(i.First)
	switch {
	case i.All:
		return "all"
	case i.To >= 0:
		s += ":" + strconv.Itoa(i.To)
	case i.Last > i.First:
		s += "-" + strconv.Itoa(i.Last)
	}
	if i.Suffix != "" {
		s += "@" + i.Suffix
	}
	return s
}

// ParseList reads a LIST: comma-separated items of the forms N, N-M, SRC:DST and all, each with an optional @append or
// @offset behind it. Which of the forms an option takes is the option's business. The error names the item.
func ParseList(list string) ([]Item, error) {
	if strings.TrimSpace(list) == "" {
		return nil, failed("the list is empty")
	}
	var items []Item
	for _, text := range strings.Split(list, ",") {
		item, err := parseItem(text)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

func parseItem(text string) (Item, error) {
	body, suffix, hasSuffix := strings.Cut(text, "@")
	if hasSuffix && suffix != "append" && suffix != "offset" {
		return Item{}, failed(strconv.Quote(text) + " has an unknown ending; there are @append and @offset")
	}
	if body == "all" {
		if hasSuffix {
			return Item{}, failed(strconv.Quote(text) + ": all takes no ending")
		}
		return Item{All: true, To: -1}, nil
	}
	if src, dst, ok := strings.Cut(body, ":"); ok {
		from, err := parseNumber(text, src)
		if err != nil {
			return Item{}, err
		}
		to, err := parseNumber(text, dst)
		return Item{First: from, Last: from, To: to, Suffix: suffix}, err
	}
	// A leading minus is a negative number, not a range without a beginning.
	if i := strings.IndexByte(body, '-'); i > 0 {
		first, err := parseNumber(text, body[:i])
		if err != nil {
			return Item{}, err
		}
		last, err := parseNumber(text, body[i+1:])
		if err == nil && last < first {
			err = failed(strconv.Quote(text) + " runs backwards")
		}
		return Item{First: first, Last: last, To: -1, Suffix: suffix}, err
	}
	n, err := parseNumber(text, body)
	return Item{First: n, Last: n, To: -1, Suffix: suffix}, err
}

// parseNumber reads a descriptor number. Only digits: strconv would take "+3" and "0x3" for numbers too.
func parseNumber(item, digits string) (int, error) {
	if digits == "" {
		if item == "" {
			return 0, failed("an item of the list is empty")
		}
		return 0, failed(strconv.Quote(item) + " lacks a number")
	}
	if digits[0] == '-' {
		return 0, failed(strconv.Quote(item) + " is negative")
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, failed(strconv.Quote(item) + " is not a descriptor number")
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > math.MaxInt32 {
		return 0, failed(strconv.Quote(item) + " is above the largest number that a descriptor can have, " + strconv.Itoa(math.MaxInt32))
	}
	return int(n), nil
}
