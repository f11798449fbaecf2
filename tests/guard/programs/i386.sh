# A 32-bit program, statically linked. SAFEEXEC_I386 names one that has been built already, for where there is no compiler.
[ "$SAFEEXEC_I386" ] || gcc -m32 -static -o job "$PROGRAMS/i386.c"
"$@" "${SAFEEXEC_I386:-./job}"
