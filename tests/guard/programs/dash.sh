"$@" dash -c '
set -eu
echo one | tr a-z A-Z >out
[ "$(cat out)" = ONE ]
cat >here <<END
here $((6 * 7))
END
n=0
while read -r line; do n=$((n + 1)); done <here
[ $n = 1 ]
{ echo to stderr >&2; } 2>err
grep -q stderr err
exec 8>lockfile
flock 8
exec 8>&-
sleep 0.05 & wait $!
ls /nowhere >both 2>&1 || true
grep -q nowhere both
(cd / && ls >/dev/null)
echo said; echo warned >&2
'
