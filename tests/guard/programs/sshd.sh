. "$PROGRAMS/ssh-common"
"$@" /usr/sbin/sshd -D -f "$PWD/sshd_config" -E "$PWD/sshd.log" &
server=$!
trap 'kill $server 2>/dev/null; wait $server' EXIT TERM
wait_for_server $server
[ "$($client 'echo $((6*7))' </dev/null)" = 42 ]
$client -tt tty </dev/null | grep -q /dev/pts
