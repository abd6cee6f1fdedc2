// sweep makes every system call of an ABI with arguments that are all zero, each in a process of its own, and prints a line a
// call: its number, and ENOSYS, another errno, or "passes" for what succeeds, ends, crashes or waits for ever.
// usage: sweep native|int80|x32 COUNT
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static long by_syscall(long nr)
{
	long result;
	register long r10 __asm__("r10") = 0, r8 __asm__("r8") = 0, r9 __asm__("r9") = 0;
	__asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(0L), "S"(0L), "d"(0L), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return result;
}

static long by_int80(long nr)
{
	int result;
	__asm__ volatile("push %%rbp; xor %%ebp, %%ebp; int $0x80; pop %%rbp"
			 : "=a"(result) : "a"((int)nr), "b"(0), "c"(0), "d"(0), "S"(0), "D"(0) : "r8", "r9", "r10", "r11", "memory");
	return result;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	const char *abi = argv[1];
	int count = atoi(argv[2]);
	for (long nr = 0; nr < count; nr++) {
		int answer[2];
		if (pipe(answer) != 0)
			return 1;
		pid_t child = fork();
		if (child == 0) {
			struct itimerval limit = {.it_value = {.tv_usec = 100000}}; // of those that wait for ever
			setitimer(ITIMER_REAL, &limit, NULL);
			long result = !strcmp(abi, "int80") ? by_int80(nr) : by_syscall(!strcmp(abi, "x32") ? nr | 0x40000000 : nr);
			write(answer[1], &result, sizeof result);
			_exit(0);
		}
		close(answer[1]);
		long result = 0;
		if (read(answer[0], &result, sizeof result) != sizeof result)
			result = 0; // it ended, or was ended
		close(answer[0]);
		waitpid(child, NULL, 0);
		while (waitpid(-1, NULL, __WALL) > 0) // what a call like clone left
			;
		printf("%ld %s\n", nr, result < 0 && result > -4096 ? strerrorname_np(-result) : "passes");
		fflush(stdout);
	}
	return 0;
}
