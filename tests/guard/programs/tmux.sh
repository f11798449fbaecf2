export TMUX_TMPDIR=$PWD TERM=xterm HOME=$PWD SHELL=/bin/sh
unset TMUX
"$@" tmux -f /dev/null -L job new-session -d -x 80 -y 24 'sh -i'
trap 'tmux -L job kill-server 2>/dev/null' EXIT TERM
"$@" tmux -L job send-keys 'echo $((6*7)) >answer; tty >terminal; mv answer done' Enter
for _ in $(seq 400); do
	[ -e done ] && break
	tmux -L job has-session
	sleep 0.05
done
[ "$(cat done)" = 42 ]
grep -q /dev/pts terminal
"$@" tmux -L job capture-pane -p | grep -q 6.7
"$@" tmux -L job kill-server
trap - EXIT
