#!/bin/sh
# Draws docs/shared.svg: a shell that holds a lock, and what its children in the background have kept of it.
# Wants safeexec in PATH and Graphviz's dot.
set -eu
docs=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
printf 'one\ntwo\n' >input

# shellcheck disable=SC2016 # for the inner shell, which starts with nothing that the outer one was given
safeexec -- env docs="$docs" sh -euc '
	exec 3<input 9>>deploy.lock </dev/null >deploy.log 2>&1
	flock 9
	read -r line <&3
	sleep 60 &
	daemon=$!
	sleep 60 3<&- 9<&- &
	tidy=$!
	until test "$(cat /proc/$daemon/comm /proc/$tidy/comm)" = "sleep
sleep"; do :; done
	safeexec fds --shared --dot --tree $$ >picture
	kill $daemon $tidy
	sed "s|$PWD/|/srv/|g" picture >"$docs/shared.dot"
	dot -Tsvg "$docs/shared.dot" -o "$docs/shared.svg"
'
