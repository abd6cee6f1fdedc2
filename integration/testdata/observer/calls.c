// A program for comparing observers: each scenario makes accesses whose record is known. It ends with status 0 if everything
// went as without an observer.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static const char *self; // a path to this program

static void want(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	_exit(99);
}

static void want_status(pid_t pid, int status)
{
	int got = -1;
	while (waitpid(pid, &got, 0) < 0 && errno == EINTR)
		;
	if (got != status)
		fprintf(stderr, "status %#x, want %#x\n", got, status);
	want(got == status, "wait");
}

static void plain(void)
{
	struct stat st;
	char buf[64];
	want(mkdir("plain", 0755) == 0, "mkdir");
	int fd = open("plain/a", O_CREAT | O_RDWR | O_EXCL, 0600);
	want(fd >= 0, "create");
	close(fd);
	want(open("plain/a", O_CREAT | O_EXCL | O_RDWR, 0600) < 0 && errno == EEXIST, "create again");
	want(stat("plain/a", &st) == 0 && stat("plain/./b", &st) < 0 && errno == ENOENT, "stat");
	want(symlink("a", "plain/l") == 0 && readlink("plain/l", buf, sizeof buf) == 1, "link");
	want(open("plain/l", O_RDONLY | O_NOFOLLOW) < 0 && errno == ELOOP, "open a link");
	want(open("plain", O_WRONLY) < 0 && errno == EISDIR, "write a directory");
	want(open("plain/a/x", O_RDONLY) < 0 && errno == ENOTDIR, "below a file");
	want(rename("plain/a", "plain/c") == 0 && unlink("plain/l") == 0 && access("plain/c", W_OK) == 0, "rename");
	want(rmdir("plain") < 0 && errno == ENOTEMPTY, "rmdir");
	int dir = open("plain", O_RDONLY | O_DIRECTORY);
	DIR *d = fdopendir(dir);
	want(d != NULL && readdir(d) != NULL, "list");
	want(unlinkat(dir, "c", 0) == 0 && chdir("plain") == 0 && chdir("..") == 0 && rmdir("plain") == 0, "remove");
	closedir(d);
	want(open("/nowhere/at/all", O_RDONLY) < 0 && errno == ENOENT, "nowhere");
	want(syscall(SYS_openat, -1, "relative", O_RDONLY) < 0 && errno == EBADF, "bad descriptor");
	want(syscall(SYS_openat, AT_FDCWD, (char *)8, O_RDONLY) < 0 && errno == EFAULT, "bad pointer");
	want(execve("/nowhere/program", environ, environ) < 0 && errno == ENOENT, "exec nothing");
	want(execve("/", environ, environ) < 0 && errno == EACCES, "exec a directory");
}

static void refused(void)
{
	want(mount("none", "/mnt", "tmpfs", 0, NULL) < 0 && errno == EPERM, "mount");
	want(unshare(CLONE_NEWNS) < 0 && errno == EPERM, "unshare");
	want(open("setuid", O_CREAT | O_WRONLY, 04755) < 0 && errno == EPERM, "create set-id");
	want(syscall(SYS_fsopen, "tmpfs", 0) < 0 && errno == ENOSYS, "fsopen");
	want(access("setuid", F_OK) < 0 && errno == ENOENT, "nothing made");
}

static void *in_thread(void *arg)
{
	char name[64];
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "thread-%ld-%d", (long)arg, i % 10);
		want(access(name, F_OK) < 0 && errno == ENOENT, "access");
	}
	return NULL;
}

static void threads(void)
{
	pthread_t list[8];
	for (int round = 0; round < 4; round++) {
		for (long i = 0; i < 8; i++)
			want(pthread_create(&list[i], NULL, in_thread, (void *)i) == 0, "thread");
		for (int i = 0; i < 8; i++)
			pthread_join(list[i], NULL);
	}
}

static char *const leaf_args[] = {"leaf", "leaf", NULL};

static void vforked(void)
{
	for (int i = 0; i < 20; i++) {
		pid_t pid = vfork();
		if (pid == 0) {
			execve("/nowhere/in/path", leaf_args, environ);
			execve(self, leaf_args, environ);
			_exit(98);
		}
		want_status(pid, 5 << 8);
	}
}

static void spawned(void)
{
	for (int i = 0; i < 20; i++) {
		pid_t pid;
		want(posix_spawn(&pid, self, NULL, NULL, leaf_args, environ) == 0, "spawn");
		want_status(pid, 5 << 8);
	}
}

static void execveats(void)
{
	int fd = open(self, O_RDONLY | O_CLOEXEC);
	pid_t pid = fork();
	if (pid == 0) {
		syscall(SYS_execveat, fd, "", leaf_args, environ, AT_EMPTY_PATH);
		_exit(98);
	}
	want_status(pid, 5 << 8);
}

static void *exec_leaf(void *arg)
{
	(void)arg;
	execve(self, leaf_args, environ);
	_exit(98);
}

static void *wait_forever(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

// The threads that an exec ends are in a call, without one, and the leader has ended before.
static void thread_execs(void)
{
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			pthread_t t;
			want(pthread_create(&t, NULL, wait_forever, NULL) == 0, "thread");
			want(pthread_create(&t, NULL, exec_leaf, NULL) == 0, "thread");
			if (i % 2)
				pthread_exit(NULL);
			wait_forever(NULL);
		}
		want_status(pid, 5 << 8);
	}
}

static volatile int *caught; // shared with children

static void on_signal(int sig)
{
	int saved = errno;
	(void)sig;
	++*caught;
	errno = saved;
}

static void signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct itimerval fast = {{0, 500}, {0, 500}}, off = {{0, 0}, {0, 0}};
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &fast, NULL);
	for (int i = 0; i < 3000; i++)
		want(access("storm", F_OK) < 0 && errno == ENOENT, "access");
	while (!*caught)
		pause();
	setitimer(ITIMER_REAL, &off, NULL);
}

// blocked waits until another process waits in the opening of a FIFO. It makes no traced call: what the process waits for
// comes through a descriptor that is open already.
static void blocked(int wchan)
{
	char line[64];
	do {
		ssize_t n = pread(wchan, line, sizeof line - 1, 0);
		want(n > 0, "wchan");
		line[n] = 0;
		sched_yield();
	} while (!strstr(line, "fifo") && !strstr(line, "partner"));
}

static int open_wchan(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/wchan", pid);
	int fd = open(path, O_RDONLY);
	want(fd >= 0, path);
	return fd;
}

static void killed(void)
{
	want(mkfifo("fifo", 0600) == 0, "mkfifo");
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			(void)!open("fifo", O_RDONLY);
			_exit(98);
		}
		int wchan = open_wchan(pid);
		blocked(wchan);
		kill(pid, SIGKILL);
		close(wchan);
		want_status(pid, SIGKILL);
	}
	unlink("fifo");
}

static void stopped(void)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		access("before-stop", F_OK);
		raise(SIGSTOP);
		access("after-stop", F_OK);
		_exit(7);
	}
	want(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, "stop");
	struct timespec t = {0, 20000000};
	nanosleep(&t, NULL);
	want(waitpid(pid, &status, WNOHANG) == 0, "still stopped");
	kill(pid, SIGCONT);
	want(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status), "continue");
	want_status(pid, 7 << 8);
	pid = fork(); // and one that is killed while it is stopped
	if (pid == 0) {
		raise(SIGSTOP);
		_exit(98);
	}
	want(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status), "stop");
	kill(pid, SIGKILL);
	want_status(pid, SIGKILL);
}

static void many(void)
{
	for (int i = 0; i < 2000; i += 8) {
		pid_t list[8];
		for (int k = 0; k < 8; k++) {
			list[k] = fork();
			want(list[k] >= 0, "fork");
			if (list[k] == 0)
				_exit(access("one-of-many", F_OK) == 0);
		}
		for (int k = 0; k < 8; k++)
			want_status(list[k], 0);
	}
}

static void orphans(void)
{
	int end[2];
	char byte;
	want(pipe(end) == 0, "pipe");
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			if (fork() == 0) {
				access("orphan", F_OK);
				_exit(0);
			}
			_exit(0);
		}
		want_status(pid, 0);
	}
	close(end[1]);
	want(read(end[0], &byte, 1) == 0, "the orphans' end");
}

// interrupted has the opening of a FIFO ended by a signal: it is made again after a handler that says so, and is over after
// another one.
static void interrupted(void)
{
	want(mkfifo("fifo", 0600) == 0, "mkfifo");
	for (int restart = 0; restart < 2; restart++) {
		struct sigaction sa = {.sa_handler = on_signal, .sa_flags = restart ? SA_RESTART : 0};
		sigaction(SIGUSR1, &sa, NULL);
		*caught = 0;
		pid_t reader = fork();
		if (reader == 0) {
			int fd = open("fifo", O_RDONLY);
			_exit(restart ? fd < 0 : fd >= 0 || errno != EINTR);
		}
		int wchan = open_wchan(reader);
		blocked(wchan);
		kill(reader, SIGUSR1);
		if (restart) {
			while (!*caught)
				sched_yield();
			blocked(wchan);
			want(open("fifo", O_WRONLY) >= 0, "open the other end");
		}
		want_status(reader, 0);
	}
}

// A child that leaves its tracer.
static void untraced(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(access("/", F_OK) == 0 ? 0 : errno);
	want_status(pid, ENOSYS << 8);
}

static void debugger(void)
{
	want(ptrace(PTRACE_TRACEME, 0, 0, 0) < 0 && errno == EPERM, "ptrace");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} scenarios[] = {{"plain", plain}, {"refused", refused}, {"threads", threads}, {"vfork", vforked}, {"spawn", spawned},
		{"execveat", execveats}, {"thread-exec", thread_execs}, {"signals", signals}, {"killed", killed}, {"stopped", stopped},
		{"many", many}, {"orphans", orphans}, {"interrupted", interrupted}, {"untraced", untraced}, {"debugger", debugger}};
	if (argc == 2 && strcmp(argv[1], "leaf") == 0)
		return access("leaf", F_OK) == 0 ? 0 : 5;
	want(argc == 3, "arguments");
	self = argv[2];
	want(chdir("/tmp") == 0, "/tmp");
	caught = mmap(NULL, sizeof *caught, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	want(caught != MAP_FAILED, "mmap");
	for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
		if (strcmp(scenarios[i].name, argv[1]) == 0) {
			scenarios[i].run();
			return 0;
		}
	errno = EINVAL;
	want(0, argv[1]);
}
