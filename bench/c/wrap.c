// wrap nothing|range|proc COMMAND ..., wrap loop LIMIT COMMAND ...: closes everything above 2 in the way named, then becomes
// the command. LIMIT 0 stands for RLIMIT_NOFILE. wrap guard FILE COMMAND ... does as range, and takes a Landlock domain that keeps
// abstract sockets in, and the seccomp filter in the file.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include "sys.h"

static long number(const char *s)
{
	long n = 0;
	while (*s)
		n = n * 10 + *s++ - '0';
	return n;
}

static void loop(long limit)
{
	unsigned long rlimit[2];
	if (!limit) {
		sys(__NR_prlimit64, 0, 7 /* RLIMIT_NOFILE */, 0, (long)rlimit);
		limit = rlimit[0];
	}
	for (long fd = 3; fd < limit; fd++)
		sys(__NR_close, fd, 0, 0, 0);
}

static void walk(void)
{
	struct entry { // linux_dirent64
		unsigned long inode, next;
		unsigned short size;
		char type, name[];
	};
	static char buffer[32768] __attribute__((aligned(8)));
	long dir = sys(__NR_openat, AT_FDCWD, (long)"/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), got;
	while ((got = sys(__NR_getdents64, dir, (long)buffer, sizeof buffer, 0)) > 0)
		for (long at = 0; at < got; at += ((struct entry *)(buffer + at))->size) {
			char *name = ((struct entry *)(buffer + at))->name;
			if (name[0] != '.' && number(name) > 2 && number(name) != dir)
				sys(__NR_close, number(name), 0, 0, 0);
		}
	sys(__NR_close, dir, 0, 0, 0);
}

static void guard(const char *file)
{
	static struct sock_filter filter[4096];
	struct sock_fprog program = {.filter = filter};
	unsigned long ruleset[] = {0, 0, 1}; // files, network, scoped: abstract sockets
	long fd = sys(__NR_openat, AT_FDCWD, (long)file, O_RDONLY, 0);
	program.len = sys(__NR_read, fd, (long)filter, sizeof filter, 0) / sizeof filter[0];
	sys(__NR_close, fd, 0, 0, 0);
	fd = sys(__NR_landlock_create_ruleset, (long)ruleset, sizeof ruleset, 0, 0);
	sys(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0);
	if (sys(__NR_landlock_restrict_self, fd, 0, 0, 0) ||
	    sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, (long)&program, 0))
		sys(__NR_exit_group, 1, 0, 0, 0);
}

void start(long *stack)
{
	char **argv = (char **)(stack + 1), **envp = argv + stack[0] + 1, mode = argv[1][0];
	argv += 2;
	if (mode == 'r' || mode == 'g')
		sys(__NR_close_range, 3, ~0U, 0, 0);
	if (mode == 'g')
		guard(*argv++);
	if (mode == 'l')
		loop(number(*argv++));
	if (mode == 'p')
		walk();
	sys(__NR_execve, (long)argv[0], (long)argv, (long)envp, 0);
	sys(__NR_exit_group, 127, 0, 0, 0);
}
