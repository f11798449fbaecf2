export HOME=$PWD
"$@" redis-server --port "$PORT" --bind 127.0.0.1 --dir "$PWD" --save '' --appendonly yes --unixsocket "$PWD/socket" --logfile log &
server=$!
trap 'kill $server 2>/dev/null; wait $server' EXIT TERM
cli() { redis-cli -p "$PORT" "$@" 2>/dev/null </dev/null; }
while ! cli ping | grep -q PONG; do
	kill -0 $server
	sleep 0.05
done
[ "$(cli set key value)" = OK ]
[ "$(cli get key)" = value ]
[ "$(redis-cli -s socket get key </dev/null)" = value ]
cli bgsave >/dev/null
while cli info persistence | grep -q bgsave_in_progress:1; do sleep 0.05; done
cli info persistence | grep -q last_bgsave_status:ok
[ -s dump.rdb ]
cli shutdown nosave || true
wait $server
trap - EXIT
