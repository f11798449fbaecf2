//go:build libseccomp

package main

import "github.com/safeexec/safeexec/seccomp"

func pfc(filter *seccomp.Filter) ([]byte, error) { return filter.PFC() }
