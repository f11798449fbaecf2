export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
"$@" git init -q -b main source
for i in 1 2 3; do
	echo "$i" >source/file
	"$@" git -C source add file
	"$@" git -C source commit -q -m "$i"
done
"$@" git clone source local
"$@" git clone "file://$PWD/source" transported
"$@" git -C transported gc -q
[ "$("$@" git -C transported log --oneline | wc -l)" = 3 ]
cmp source/file local/file
