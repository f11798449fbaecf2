// crowd PROCESSES: that many processes with 50 descriptors each: 0 to 2 and 7 more that all share, 20 files and 10 pipes of their
// own. Answers the first line that it reads when all are there; they go when it does.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static void member(int ready)
{
	int ends[2];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < 20; i++)
		if (open("/dev/null", O_RDONLY) < 0)
			exit(1);
	for (int i = 0; i < 10; i++)
		if (pipe(ends))
			exit(1);
	if (write(ready, "", 1) != 1)
		exit(1);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	int ready[2], processes = argc > 1 ? atoi(argv[1]) : 0;
	char byte;
	if (pipe(ready))
		return 1;
	while (open("/etc/passwd", O_RDONLY) < 9) // with the pipe's two, 10 to share
		;
	for (int i = 0; i < processes; i++)
		switch (fork()) {
		case -1:
			perror("fork");
			return 1;
		case 0:
			member(ready[1]);
		}
	for (int i = 0; i < processes; i++)
		if (read(ready[0], &byte, 1) != 1)
			return 1;
	while (fgets((char[64]){0}, 64, stdin)) {
		puts("0");
		fflush(stdout);
	}
}
