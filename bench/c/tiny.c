// The smallest program there is: it ends.
#include "sys.h"

void start(long *stack)
{
	(void)stack;
	sys(__NR_exit_group, 0, 0, 0, 0);
}
