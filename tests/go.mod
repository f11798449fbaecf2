module github.com/safeexec/safeexec/tests

go 1.26.0

require (
	github.com/moby/profiles/seccomp v0.3.0
	github.com/opencontainers/runtime-spec v1.3.0
	github.com/rogpeppe/go-internal v1.16.0
	github.com/safeexec/safeexec v0.0.0-00010101000000-000000000000
	golang.org/x/net v0.62.0
	golang.org/x/sys v0.50.0
)

require (
	github.com/seccomp/libseccomp-golang v0.11.1 // indirect
	golang.org/x/tools v0.26.0 // indirect
)

replace github.com/safeexec/safeexec => ../
