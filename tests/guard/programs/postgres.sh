# initdb, a server with a UNIX socket and TCP, a query over each. It doesn't run as root.
export HOME=$PWD
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
as=
if [ "$(id -u)" = 0 ]; then
	chown 65534:65534 .
	as='setpriv --reuid=65534 --regid=65534 --clear-groups'
fi
"$@" $as "$bin/initdb" -D "$PWD/data" -U me --no-sync -A trust >initdb.log
"$@" $as "$bin/postgres" -D "$PWD/data" -k "$PWD" -p "$PORT" -c listen_addresses=127.0.0.1 -c logging_collector=on &
server=$!
trap 'kill -INT $server 2>/dev/null; wait $server' EXIT TERM
while ! "$bin/pg_isready" -q -h 127.0.0.1 -p "$PORT" </dev/null; do
	kill -0 $server
	sleep 0.1
done
for host in 127.0.0.1 "$PWD"; do
	[ "$(psql -h "$host" -p "$PORT" -U me -d postgres -Atc 'select 6*7' </dev/null)" = 42 ]
done
kill -INT $server
wait $server
trap - EXIT
