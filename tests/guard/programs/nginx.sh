# As a daemon, with a reload: the master passes listening sockets to new workers by fork.
user=
[ "$(id -u)" != 0 ] || user='user root;'
cat >nginx.conf <<C
$user
worker_processes 2;
pid $PWD/nginx.pid;
error_log $PWD/error.log;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path $PWD/t1; proxy_temp_path $PWD/t2; fastcgi_temp_path $PWD/t3;
	uwsgi_temp_path $PWD/t4; scgi_temp_path $PWD/t5;
	server { listen 127.0.0.1:$PORT; root $PWD; }
}
C
echo page >page
"$@" nginx -e error.log -p "$PWD" -c nginx.conf
trap 'kill $(cat nginx.pid) 2>/dev/null' EXIT TERM
get() { curl -sS --max-time 20 "http://127.0.0.1:$PORT/page" </dev/null 2>curl.log; }
workers() { pgrep -P "$(cat nginx.pid)" | sort | tr '\n' ' '; }
[ "$(get)" = page ]
before=$(workers)
"$@" nginx -e error.log -p "$PWD" -c nginx.conf -s reload
for _ in $(seq 400); do
	after=$(workers)
	[ "$after" = "$before" ] || case $after in *' '*' '*' '*) ;; *' '*' ') break ;; esac
	sleep 0.05
done
[ "$after" != "$before" ]
[ "$(get)" = page ]
! grep -E 'emerg|alert' error.log
pid=$(cat nginx.pid)
"$@" nginx -e error.log -p "$PWD" -c nginx.conf -s quit
while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
trap - EXIT
