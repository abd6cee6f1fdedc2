// What the programs of this directory share. Each is run as PROGRAM CASE DIR, in DIR, which is writable. A case ends with 0
// if what it meant to do was done, with 9 if the jail refused it, and with 1 if something else went wrong.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define REFUSED 9
// The host has it; it belongs to libc6-dev, which no jail of these tests lists.
#define OUTSIDE "/usr/include/stdio.h"

struct attack {
	const char *name;
	int (*run)(const char *dir);
};

// die says which step did not do what the case needs.
static inline void die(const char *step)
{
	perror(step);
	_exit(1);
}

// touch opens a file for reading and closes it.
static inline int touch(const char *path)
{
	int fd = open(path, O_RDONLY);
	if (fd >= 0)
		close(fd);
	return fd >= 0 ? 0 : -1;
}

// make writes a file.
static inline void make(const char *path, const char *text, int mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd))
		die(path);
}

// refused is the answer of a filter.
static inline int refused(long result)
{
	return result < 0 && (errno == ENOSYS || errno == EPERM);
}

// reap waits for a child and returns its exit status, or 128 and the signal.
static inline int reap(pid_t child)
{
	int status;
	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline int choose(const struct attack *attacks, int argc, char **argv)
{
	if (argc < 3 || chdir(argv[2]))
		return 2;
	for (; attacks->name; attacks++)
		if (!strcmp(attacks->name, argv[1]))
			return attacks->run(argv[2]);
	return 2;
}
