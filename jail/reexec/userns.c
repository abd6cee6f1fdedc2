// A process that only has to exist for a moment in a new user namespace, so that its parent can map ids and open it. It
// shares the memory of its parent, because a fork would have every page that the parent writes copied meanwhile: with
// several threads that costs more than a jail's other preparations together. So it must not touch anything: no libc,
// whose errno is the parent's, and no signal handler, which would be Go's.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "userns.h"

enum { STACK = 16384 };

// The kernel's own convention on the two machines that jails run on; the compiler's libc would set errno.
static long raw(long number, long a, long b, long c)
{
#if defined(__x86_64__)
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
#else
#error "jails run on x86-64 and arm64"
#endif
}

// The descriptors are the child's own copies, so the pipe ends with the parent.
__attribute__((no_stack_protector)) static int wait_for_end(void *arg)
{
	const int *pipe = arg;
	char byte;
	raw(SYS_close, pipe[1], 0, 0);
	while (raw(SYS_read, pipe[0], (long)&byte, 1) == -EINTR)
		;
	raw(SYS_exit_group, 0, 0, 0);
	return 0;
}

static int write_proc(pid_t pid, const char *name, const char *text)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return ok;
}

static int open_mapped(pid_t pid, const char *map)
{
	char path[64];
	if (!write_proc(pid, "setgroups", "deny") || !write_proc(pid, "uid_map", map) || !write_proc(pid, "gid_map", map))
		return -1;
	snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

int hdjail_userns(const char *map)
{
	sigset_t all, before;
	int pipe[2], found = -1, error = 0;
	if (pipe2(pipe, O_CLOEXEC) != 0)
		return -1;
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid = -1;
	if (stack != MAP_FAILED) {
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		pid = clone(wait_for_end, stack + STACK, CLONE_VM | CLONE_NEWUSER | SIGCHLD, pipe);
		error = errno;
		pthread_sigmask(SIG_SETMASK, &before, NULL);
		errno = error;
	}
	if (pid > 0)
		found = open_mapped(pid, map);
	error = errno;
	close(pipe[0]);
	close(pipe[1]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (stack != MAP_FAILED)
		munmap(stack, STACK);
	errno = error;
	return found;
}
