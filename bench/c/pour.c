// pour BYTES CHUNK writes so many bytes to standard output, CHUNK at a time.
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static char buffer[1 << 20];
	if (argc != 3)
		return 2;
	long left = atol(argv[1]), chunk = atol(argv[2]);
	while (left > 0) {
		ssize_t n = write(1, buffer, left < chunk ? left : chunk);
		if (n <= 0)
			return 1;
		left -= n;
	}
	return 0;
}
