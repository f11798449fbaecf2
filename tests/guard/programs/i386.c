#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
// What a small program does: it locks, writes, seeks and reads a file, and reads what a child says through a pipe.
int main(void) {
	char buffer[8] = "";
	int p[2], status, f = open("file", O_RDWR | O_CREAT, 0600);
	if (f < 0 || flock(f, LOCK_EX) || write(f, "line", 4) != 4 || lseek(f, 0, SEEK_SET) || read(f, buffer, 8) != 4) return 1;
	if (pipe(p)) return 2;
	if (!fork()) {
		dup2(p[1], 1);
		execlp("echo", "echo", "hello", (char *)0);
		_exit(3);
	}
	close(p[1]);
	if (read(p[0], buffer, 8) != 6 || strncmp(buffer, "hello", 5)) return 4;
	if (wait(&status) < 0 || status) return 5;
	puts("said");
	return 0;
}
