//go:build !libseccomp

package main

import (
	"errors"

	"github.com/safeexec/safeexec/seccomp"
)

func pfc(*seccomp.Filter) ([]byte, error) {
	return nil, errors.New("--format pfc: this binary was built without the tag libseccomp")
}
