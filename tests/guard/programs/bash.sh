# A script that redirects, forks, locks and pipes in all the usual ways.
"$@" bash -c '
set -eu
echo one | tr a-z A-Z >out
[ "$(cat out)" = ONE ]
cat >here <<END
here $((6 * 7))
END
grep -q 42 here
n=0
while read -r line; do n=$((n + 1)); done < <(printf "a\nb\nc\n")
[ $n = 3 ]
{ echo to stderr >&2; } 2>err
grep -q stderr err
exec 8>lockfile
flock 8
exec 8>&-
coproc cat
echo hi >&"${COPROC[1]}"
read -r x <&"${COPROC[0]}"
[ "$x" = hi ]
eval "exec ${COPROC[1]}>&-"
wait
sleep 0.05 & wait $!
[ "$(tail -n 1 <here)" = "here 42" ]
head -c 100000 /dev/zero | gzip | gzip -d | wc -c | grep -qx 100000
echo said; echo warned >&2
ls >/dev/null 2>&1
'
