// Sealing: a process that starts jails runs from a copy of the program in memory that nobody can change
// (CVE-2019-5736). It happens before the Go runtime starts, so that Go starts once: for verbs that always start a jail by
// their name, for others when Go asks by the variable _HDJAIL_SEAL. What fails here is reported by Go, which finds itself
// unsealed.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U // Linux 6.3
#endif

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static int starts_jail(int argc, char **argv)
{
	if (getenv("_HDJAIL_SEAL"))
		return 1;
	if (geteuid() == 0) // needs it seldom, and Go finds out
		return 0;
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "run") == 0 || strcmp(argv[i], "shell") == 0)
			return 1;
	return 0;
}

static int copy_self(int out, off_t size)
{
	int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	off_t done = 0;
	while (in >= 0 && done < size && sendfile(out, in, &done, size - done) > 0)
		;
	close(in);
	return done == size;
}

// The request is for this process only. It stays in the environment that Go sees if sealing fails.
static char **without_request(char **envp)
{
	size_t n = 0, kept = 0;
	while (envp[n])
		n++;
	char **copy = calloc(n + 1, sizeof *copy);
	for (size_t i = 0; copy && i < n; i++)
		if (strncmp(envp[i], "_HDJAIL_SEAL=", 13) != 0)
			copy[kept++] = envp[i];
	return copy;
}

__attribute__((constructor)) static void seal(int argc, char **argv, char **envp)
{
	struct stat st;
	char memory[64];
	if (!starts_jail(argc, argv))
		return;
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (self < 0 || fcntl(self, F_GET_SEALS) == SEALS || fstat(self, &st) != 0) {
		close(self);
		return;
	}
	close(self);
	int copied = memfd_create("hdjail", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	if (copied < 0 && errno == EINVAL)
		copied = memfd_create("hdjail", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (copied < 0)
		return;
	snprintf(memory, sizeof memory, "/proc/self/fd/%d", copied);
	// Readable for everybody: who executes a file that he may not read is not dumpable, and cannot map his ids (proc(5)).
	char **rest = without_request(envp);
	if (rest && copy_self(copied, st.st_size) && fchmod(copied, 0555) == 0 && fcntl(copied, F_ADD_SEALS, SEALS) == 0)
		execve(memory, argv, rest);
	close(copied);
}
