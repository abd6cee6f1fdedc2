// process opens files from processes that come and go in unusual ways, and floods the observer.
#include "case.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/time.h>

static char *const no_environment[] = {0};

static int many(const char *dir)
{
	make("f", "", 0600);
	for (int i = 0; i < 10000; i++) {
		pid_t child = fork();
		if (child == 0)
			_exit(touch("f"));
		if (child < 0 || reap(child))
			die("fork");
	}
	return 0;
}

static void *exec_nothing(void *path)
{
	execle(path, "process", "nothing", ".", (char *)0, no_environment);
	return (void *)1;
}

static int nothing(const char *dir) { return 0; }

// Every way to start a program, of a path of its own each.
static int spawns(const char *dir)
{
	const char *names[] = {"by-vfork", "by-spawn", "by-thread", "by-clone3"};
	for (int i = 0; i < 4; i++)
		if (symlink("/proc/self/exe", names[i]))
			die(names[i]);
	if (symlink("missing", "dangling"))
		die("dangling");
	pid_t child = vfork();
	if (child == 0) {
		execle("by-vfork", "process", "nothing", ".", (char *)0, no_environment);
		_exit(1);
	}
	int wrong = reap(child);
	char *argv[] = {"process", "nothing", ".", 0};
	if (posix_spawn(&child, "by-spawn", 0, 0, argv, no_environment))
		die("posix_spawn");
	wrong |= reap(child);
	child = fork();
	if (child == 0) {
		pthread_t thread;
		pthread_create(&thread, 0, exec_nothing, "by-thread");
		pthread_join(thread, 0);
		_exit(1);
	}
	wrong |= reap(child);
	execle("dangling", "process", (char *)0, no_environment);
	struct clone_args args = {.exit_signal = SIGCHLD};
	child = syscall(SYS_clone3, &args, sizeof args);
	if (child == 0)
		exec_nothing("by-clone3");
	if (child < 0)
		return wrong ? wrong : refused(child) ? 0 : 1;
	return wrong | reap(child);
}

static int orphan(const char *dir)
{
	int done[2];
	char byte;
	if (pipe(done))
		die("pipe");
	pid_t child = fork();
	if (child == 0) {
		if (fork() == 0) {
			while (getppid() == 1 ? 0 : usleep(100) == 0)
				;
			touch(OUTSIDE);
			_exit(write(done[1], "x", 1) != 1);
		}
		_exit(0);
	}
	int wrong = reap(child);
	return wrong | (read(done[0], &byte, 1) != 1);
}

// Children die by SIGKILL while they are in a call.
static int killed(const char *dir)
{
	for (int i = 0; i < 200; i++) {
		pid_t child = fork();
		if (child == 0)
			for (;;)
				touch("/no/such/file/killed");
		usleep(i * 10);
		kill(child, SIGKILL);
		if (reap(child) != 128 + SIGKILL)
			die("kill");
	}
	touch(OUTSIDE);
	return 0;
}

static void *kill_self(void *arg)
{
	usleep(2000);
	kill(getpid(), SIGKILL);
	return 0;
}

static int killed_by_itself(const char *dir)
{
	pid_t child = fork();
	if (child == 0) {
		pthread_t thread;
		pthread_create(&thread, 0, kill_self, 0);
		for (;;)
			touch("/no/such/file/suicide");
	}
	if (reap(child) != 128 + SIGKILL)
		die("kill");
	touch(OUTSIDE);
	return 0;
}

static volatile int handled;

static void count(int signal) { handled++; }

// A storm of handled signals, as Go's preemption makes them: calls are restarted, and each is one access.
static int storm(const char *dir)
{
	struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
	struct itimerval often = {{0, 50}, {0, 50}}, never = {{0, 0}, {0, 0}};
	make("f", "", 0600);
	if (sigaction(SIGALRM, &action, 0) || setitimer(ITIMER_REAL, &often, 0))
		die("setitimer");
	for (int i = 0; i < 20000; i++)
		if (touch("f"))
			die("f");
	setitimer(ITIMER_REAL, &never, 0);
	return handled < 10;
}

// A script whose interpreter is a script whose interpreter is outside.
static int interpreters(const char *dir)
{
	char line[4200];
	make("inner", "#! /usr/bin/make -v\n", 0700);
	snprintf(line, sizeof line, "#!%s/inner\n", dir);
	make("outer", line, 0700);
	pid_t child = fork();
	if (child == 0) {
		close(1);
		execle("outer", "outer", (char *)0, no_environment);
		_exit(0);
	}
	reap(child);
	return 0;
}

// distinct opens N paths that exist nowhere.
static int distinct(int n)
{
	char path[64];
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof path, "/no/such/directory/file-%d", i);
		touch(path);
	}
	return 0;
}

static int flood(const char *dir) { return distinct(100000); }

static int great_flood(const char *dir) { return distinct(1000000); }

static int repeat(const char *dir)
{
	struct stat s;
	for (int i = 0; i < 1000000; i++)
		stat("/no/such/file/repeated", &s);
	return 0;
}

// own_filter loads a filter that answers openat with this action, and returns what seccomp does.
static long own_filter(unsigned action, unsigned flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, code};
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

// The build refuses its own opens: the kernel did nothing either. What it can still do is seen.
static int errno_filter(const char *dir)
{
	struct stat s;
	if (own_filter(SECCOMP_RET_ERRNO | ENOMEM, 0))
		return REFUSED;
	if (open(OUTSIDE, O_RDONLY) >= 0 || errno != ENOMEM)
		return 1;
	stat(OUTSIDE, &s);
	return 0;
}

static int trace_filter(const char *dir)
{
	if (own_filter(SECCOMP_RET_TRACE, 0))
		return REFUSED;
	touch(OUTSIDE);
	return 0;
}

static int listener(const char *dir)
{
	long fd = own_filter(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
	if (fd >= 0 || (errno != EBUSY && !refused(fd)))
		return 1;
	touch(OUTSIDE);
	return 0;
}

// hunt looks for the listener among its descriptors, closes all of them, writes to all of them, and goes on.
static int hunt(const char *dir)
{
	uint64_t id = 1;
	for (int fd = 0; fd < 4096; fd++) {
		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0 || errno == ENOENT)
			die("there is a listener");
		if (fd > 2 && write(fd, "{\"line\":\"access\"}\n", 18) > 0)
			die("somebody reads what is written to a strange descriptor");
	}
	syscall(SYS_close_range, 0, ~0u, 0);
	touch(OUTSIDE);
	return 0;
}

int main(int argc, char **argv)
{
	const struct attack attacks[] = {{"many", many}, {"nothing", nothing}, {"spawns", spawns}, {"orphan", orphan}, {"killed", killed},
		{"suicide", killed_by_itself}, {"storm", storm}, {"interpreters", interpreters}, {"flood", flood},
		{"great-flood", great_flood}, {"repeat", repeat}, {"errno-filter", errno_filter}, {"trace-filter", trace_filter},
		{"listener", listener}, {"hunt", hunt}, {0}};
	return choose(attacks, argc, argv);
}
