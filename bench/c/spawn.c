// spawn posix_spawn|vfork DESCRIPTORS [FILE]: starts programs as it is asked to, one line "COUNT SPAWNERS PROGRAM" at a time, and
// answers each with the nanoseconds that it took. The file is mapped whole, to make the process big.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static int count, spawners, by_vfork;
static char program[4096];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

// vfork needs a function of its own: nothing that the child writes may be needed by the parent.
static __attribute__((noinline)) pid_t start_vfork(char **argv)
{
	pid_t pid = vfork();
	if (pid == 0) {
		execve(program, argv, environ);
		_exit(127);
	}
	return pid;
}

static void *spawner(void *unused)
{
	char *argv[] = {program, NULL};
	for (int i = 0; i < count; i++) {
		pid_t pid;
		int status;
		if (by_vfork)
			pid = start_vfork(argv);
		else if (posix_spawn(&pid, program, NULL, NULL, argv, environ))
			pid = -1;
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			die(program);
	}
	return unused;
}

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

int main(int argc, char **argv)
{
	pthread_t thread[16];
	if (argc < 3)
		return 2;
	by_vfork = !strcmp(argv[1], "vfork");
	while (open("/dev/null", O_RDWR | O_CLOEXEC) < atoi(argv[2]) - 1)
		;
	if (argc == 4) {
		int file = open(argv[3], O_RDWR | O_CLOEXEC);
		off_t size = lseek(file, 0, SEEK_END);
		if (mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0) == MAP_FAILED)
			die(argv[3]);
		close(file);
	}
	while (scanf("%d %d %4095s", &count, &spawners, program) == 3 && spawners <= 16) {
		long begin = now();
		for (int i = 1; i < spawners; i++)
			pthread_create(&thread[i], NULL, spawner, NULL);
		spawner(NULL);
		for (int i = 1; i < spawners; i++)
			pthread_join(thread[i], NULL);
		printf("%ld\n", now() - begin);
		fflush(stdout);
	}
}
