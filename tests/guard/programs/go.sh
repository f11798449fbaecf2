# The runner itself, as a program in Go: os/exec, net/http, flock.
"$@" env SAFEEXEC_TEST_HELPER=go-program "$TEST_PROGRAM"
