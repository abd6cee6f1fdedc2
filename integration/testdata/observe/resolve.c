// resolve names files by detours.
#include "case.h"

static int dotdot(const char *dir)
{
	if (symlink("/usr/include", "inc"))
		die("symlink");
	touch("inc/../include/stdio.h");
	touch("/../../../usr/./include//stdio.h");
	int root = open("/", O_PATH);
	int fd = openat(root, "../../usr/include/stdio.h", O_RDONLY);
	return root < 0 || (fd >= 0 && close(fd));
}

static int link_out(const char *dir)
{
	if (symlink(OUTSIDE, "out") || symlink("out", "chain"))
		die("symlink");
	touch("chain");
	struct stat s;
	return lstat("chain", &s);
}

static int loops(const char *dir)
{
	if (symlink("loop2", "loop1") || symlink("loop1", "loop2"))
		die("symlink");
	int wrong = touch("loop1") == 0 || errno != ELOOP;
	wrong |= open("loop1", O_RDONLY | O_NOFOLLOW) >= 0 || errno != ELOOP;
	return wrong;
}

static int descriptors(const char *dir)
{
	struct stat s;
	mkdir("sub", 0700);
	make("sub/f", "", 0600);
	int d = open("sub", O_PATH), f = openat(d, "f", O_PATH);
	if (d < 0 || f < 0 || fstatat(f, "", &s, AT_EMPTY_PATH))
		die("sub/f");
	int r = openat(d, "f", O_RDONLY);
	char name[64];
	snprintf(name, sizeof name, "/proc/self/fd/%d/f", d);
	if (r < 0 || touch(name))
		die(name);
	snprintf(name, sizeof name, "/proc/self/fd/%d", f);
	if (touch(name))
		die(name);
	return 0;
}

// Programs by descriptor: there is no path in the call.
static int fexec(const char *dir)
{
	make("program", "", 0700);
	int from = open("/proc/self/exe", O_RDONLY), to = open("program", O_WRONLY | O_TRUNC);
	char block[1 << 16];
	ssize_t n;
	while ((n = read(from, block, sizeof block)) > 0)
		if (write(to, block, n) != n)
			die("program");
	close(to);
	char *argv[] = {"program", "nothing", ".", 0}, *envp[] = {0};
	pid_t child = fork();
	if (child == 0) {
		syscall(SYS_execveat, open("program", O_PATH), "", argv, envp, AT_EMPTY_PATH);
		die("execveat");
	}
	return reap(child);
}

static int nothing(const char *dir) { return 0; }

static int proc_root(const char *dir)
{
	touch("/proc/self/root/usr/include/stdio.h");
	touch("/proc/thread-self/root/usr/include/stdio.h");
	return 0;
}

// Another process's working directory.
static int other_cwd(const char *dir)
{
	int ready[2], done[2];
	char byte, path[64];
	if (pipe(ready) || pipe(done))
		die("pipe");
	pid_t child = fork();
	if (child == 0) {
		close(done[1]);
		if (chdir("/usr") || write(ready[1], "x", 1) != 1)
			die("chdir");
		_exit(read(done[0], &byte, 1) != 0);
	}
	if (read(ready[0], &byte, 1) != 1)
		die("read");
	snprintf(path, sizeof path, "/proc/%d/cwd/include/stdio.h", child);
	touch(path);
	close(done[1]);
	return reap(child);
}

static void *move(void *arg)
{
	return (void *)(long)chdir("/usr");
}

// A thread shares the working directory and moves it.
static int thread_chdir(const char *dir)
{
	pthread_t thread;
	void *result;
	if (pthread_create(&thread, 0, move, 0) || pthread_join(thread, &result) || result)
		die("thread");
	touch("include/stdio.h");
	return 0;
}

static int unshare_chdir(const char *dir)
{
	if (unshare(CLONE_FS))
		return REFUSED;
	if (chdir("/usr"))
		die("chdir");
	touch("include/stdio.h");
	return 0;
}

static int cwd_removed(const char *dir)
{
	if (mkdir("gone", 0700) || chdir("gone") || rmdir("../gone"))
		die("gone");
	return touch("x") == 0 || errno != ENOENT;
}

static int cwd_renamed(const char *dir)
{
	if (mkdir("old", 0700) || chdir("old") || rename("../old", "../new"))
		die("old");
	make("f", "", 0600);
	return 0;
}

// The kernel marks removed directories so; this one is there.
static int called_deleted(const char *dir)
{
	if (mkdir("x (deleted)", 0700) || chdir("x (deleted)"))
		die("x (deleted)");
	make("f", "", 0600);
	int d = open(".", O_PATH);
	return openat(d, "f", O_RDONLY) < 0;
}

static int change_root(const char *dir)
{
	if (mkdir("root", 0700) || chroot("root") == 0)
		return 1;
	return refused(-1) ? 0 : 1;
}

static const char *host;

// What only this host has, outside of the whitelist but for part/shown.
static int on_host(const char *dir)
{
	char path[4096], line[4200];
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char *argv[] = {"x", 0}, *envp[] = {0};
	snprintf(path, sizeof path, "%s/\033[31mred\n", host);
	touch(path);
	if (symlink(path, "red"))
		die("red");
	touch("red");
	snprintf(path, sizeof path, "%s/part/f", host);
	touch(path);
	snprintf(path, sizeof path, "%s/part/shown/f", host);
	if (touch(path))
		die(path);
	snprintf(path, sizeof path, "%s/part", host);
	int d = open(path, O_RDONLY | O_DIRECTORY);
	while (syscall(SYS_getdents64, d, line, sizeof line) > 0)
		;
	snprintf(a.sun_path, sizeof a.sun_path, "%s/socket", host);
	connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof a);
	snprintf(path, sizeof path, "%s/program", host);
	snprintf(line, sizeof line, "#!%s\n", path);
	make("script", line, 0700);
	for (int i = 0; i < 2; i++) {
		pid_t child = fork();
		if (child == 0) {
			execve(i ? "script" : path, argv, envp);
			_exit(0);
		}
		reap(child);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct attack attacks[] = {{"dotdot", dotdot}, {"link-out", link_out}, {"loops", loops}, {"descriptors", descriptors},
		{"fexec", fexec}, {"nothing", nothing}, {"proc-root", proc_root}, {"other-cwd", other_cwd}, {"thread-chdir", thread_chdir},
		{"unshare-chdir", unshare_chdir}, {"cwd-removed", cwd_removed}, {"cwd-renamed", cwd_renamed},
		{"called-deleted", called_deleted}, {"chroot", change_root}, {"host", on_host}, {0}};

	host = argc > 3 ? argv[3] : "";
	return choose(attacks, argc, argv);
}
