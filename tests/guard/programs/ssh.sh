. "$PROGRAMS/ssh-common"
/usr/sbin/sshd -D -f "$PWD/sshd_config" -E "$PWD/sshd.log" </dev/null >/dev/null 2>&1 3<&- &
server=$!
trap 'kill $server 2>/dev/null; wait $server' EXIT TERM
wait_for_server $server
[ "$("$@" $client 'echo $((6*7))' </dev/null)" = 42 ]
"$@" $client 'echo said; echo warned >&2'
"$@" $client -tt tty </dev/null | grep -q /dev/pts
"$@" $client 'head -c 300000 /dev/zero' </dev/null >got
[ "$(stat -c %s got)" = 300000 ]
