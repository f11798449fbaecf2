# A parallel build with a make inside, which shares the jobserver.
cat >Makefile <<'M'
all: 1.out 2.out 3.out 4.out 5.out 6.out
	@cat *.out >all.out
	@+$(MAKE) -f sub.mk
%.out:
	@echo building $@; sleep 0.02; echo $@ >$@
M
printf 'all: a b c d\n\t@cat a b c d >sub.out\n%%:\n\t@sleep 0.02; echo $@ >$@\n' >sub.mk
"$@" make -j 4
[ "$(wc -l <all.out)" = 6 ] && [ "$(wc -l <sub.out)" = 4 ]
