// Stage 2: pid 1 of a jail, between libcontainer's init and the build. It runs in a constructor, before the Go runtime,
// single-threaded, after the pivot. It checks what libcontainer set up, makes the inner user namespace that locks the
// mounts and takes root away, loads the filters, starts the command and reaps. Every step succeeds or ends the start.
//
// Descriptors: 0-2 the command's streams, 3 this program, 4 the control socket (SOCK_SEQPACKET), 5 the plan. The plan is
// a list of records: tag (u32), length (u32), bytes; the runner writes it in jail/container/plan.go.
//
// Messages to the runner: "E phase errno detail" a step failed, "T" with the terminal's descriptor, "L killable" with the
// listener of a filter (killable is 1 if only fatal signals interrupt a notification), "P" from a process that is to be
// traced, "X status cpu_us peak_kib survivors" the command ended. From the runner: "T" ends every process with SIGTERM, "G"
// answers an "L" or a "P": the listener is served, or the process is traced.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <linux/filter.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FD_EXE = 3, FD_CONTROL = 4, FD_PLAN = 5, MAX_FILTERS = 2, MAX_CANARIES = 2 };

enum tag {
	TAG_ARG = 1,    // one argument of the command, NUL-terminated
	TAG_ENV = 2,    // one NAME=VALUE, NUL-terminated
	TAG_DIR = 3,    // start directory
	TAG_MOUNT = 4,  // struct want, then the mount point
	TAG_FILTER = 5, // struct sock_filter[]
	TAG_UIDMAP = 6, // text for uid_map of the inner namespace
	TAG_GIDMAP = 7,
	TAG_FLAGS = 8,  // u32
	TAG_CAPS = 9,   // u64, capabilities that the command keeps in the inner namespace
	TAG_BELOW = 10, // a mount point below which further mounts are expected
	TAG_CANARY = 11, // a path that does not exist, which our own accesses ask for: one before the command, one after it
	TAG_LANDLOCK = 12, // what the fence handles, what it scopes
	TAG_RULE = 13, // rights, then a path
	TAG_CPUS = 14,   // the processors of the command, for sched_setaffinity(2)
	TAG_SKIP = 15,   // u32, how many process numbers are passed over before the command's
};

enum { MOUNT_OPTIONAL = 1U << 31 }; // in want.flags: masks, which not every kernel has a file for

enum { FLAG_TERMINAL = 1, FLAG_SETGROUPS = 2, FLAG_RANDOMIZE = 4, FLAG_LISTEN = 8, FLAG_TRACE = 16 };

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV // Linux 5.19
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

struct want {
	uint64_t dev, ino;
	uint32_t type;  // S_IFMT bits, 0 when dev and ino are not known beforehand
	uint32_t flags; // ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC that must be set
};

struct mount_point {
	struct want want;
	const char *path;
	int seen;
};

// What Landlock lets through at a path and below it.
struct rule {
	uint64_t access;
	const char *path;
};

struct plan {
	char **argv, **envp;
	const char *dir, *uid_map, *gid_map;
	struct mount_point *mounts;
	const char **below;
	size_t argc, envc, mountc, belowc, filterc;
	struct sock_fprog filters[MAX_FILTERS];
	const char *canaries[MAX_CANARIES];
	size_t canaryc;
	uint64_t fence[2]; // what Landlock handles and scopes; nothing for no fence
	struct rule *rules;
	size_t rulec;
	const char *data; // where the plan is mapped
	const void *cpus; // NULL for ours
	size_t cpus_size;
	uint32_t flags, skip;
	uint64_t caps;
};

static volatile sig_atomic_t child_event;

static void on_child(int sig) { (void)sig; child_event = 1; }

static void fail(const char *phase, const char *detail)
{
	char msg[512];
	int err = errno;
	int n = snprintf(msg, sizeof msg, "E %s %d %s", phase, err, detail);
	if (n >= (int)sizeof msg)
		n = sizeof msg - 1;
	(void)!send(FD_CONTROL, msg, n, MSG_NOSIGNAL);
	_exit(125);
}

static void must(int ok, const char *phase, const char *detail)
{
	if (!ok)
		fail(phase, detail);
}

static void *grow(void *list, size_t count, size_t size)
{
	if (count & (count - 1)) // grows at powers of two
		return list;
	list = realloc(list, (count ? 2 * count : 1) * size);
	must(list != NULL, "plan", "memory");
	return list;
}

static void read_record(struct plan *p, uint32_t tag, char *data, uint32_t len)
{
	int text = tag != TAG_CANARY && tag != TAG_FILTER && tag != TAG_FLAGS && tag != TAG_CAPS && tag != TAG_LANDLOCK && tag != TAG_CPUS &&
		tag != TAG_SKIP;
	errno = EINVAL;
	must(!text || (len > 0 && data[len - 1] == 0), "plan", "unterminated text");
	switch (tag) {
	case TAG_ARG:
		p->argv = grow(p->argv, p->argc, sizeof *p->argv);
		p->argv[p->argc++] = data;
		break;
	case TAG_ENV:
		p->envp = grow(p->envp, p->envc, sizeof *p->envp);
		p->envp[p->envc++] = data;
		break;
	case TAG_DIR: p->dir = data; break;
	case TAG_UIDMAP: p->uid_map = data; break;
	case TAG_GIDMAP: p->gid_map = data; break;
	case TAG_BELOW:
		p->below = grow(p->below, p->belowc, sizeof *p->below);
		p->below[p->belowc++] = data;
		break;
	case TAG_MOUNT:
		must(len > sizeof(struct want), "plan", "mount");
		p->mounts = grow(p->mounts, p->mountc, sizeof *p->mounts);
		memcpy(&p->mounts[p->mountc].want, data, sizeof(struct want));
		p->mounts[p->mountc].path = data + sizeof(struct want);
		p->mounts[p->mountc++].seen = 0;
		break;
	case TAG_FILTER:
		must(p->filterc < MAX_FILTERS && len % sizeof(struct sock_filter) == 0, "plan", "filter");
		p->filters[p->filterc].len = len / sizeof(struct sock_filter);
		p->filters[p->filterc++].filter = (struct sock_filter *)data;
		break;
	case TAG_CANARY: // not looked at: its page stays untouched
		must(p->canaryc < MAX_CANARIES, "plan", "canary");
		p->canaries[p->canaryc++] = data;
		break;
	case TAG_LANDLOCK: must(len == sizeof p->fence, "plan", "landlock"); memcpy(p->fence, data, len); break;
	case TAG_RULE:
		must(len > 8, "plan", "landlock rule");
		p->rules = grow(p->rules, p->rulec, sizeof *p->rules);
		memcpy(&p->rules[p->rulec].access, data, 8);
		p->rules[p->rulec++].path = data + 8;
		break;
	case TAG_FLAGS: must(len == 4, "plan", "flags"); memcpy(&p->flags, data, 4); break;
	case TAG_CAPS: must(len == 8, "plan", "caps"); memcpy(&p->caps, data, 8); break;
	case TAG_CPUS: p->cpus = data; p->cpus_size = len; break;
	case TAG_SKIP: must(len == 4, "plan", "skip"); memcpy(&p->skip, data, 4); break;
	default: fail("plan", "unknown record");
	}
}

// Records are padded to 8 bytes, so that filters are aligned. The mapping is private and stays: it holds the strings.
static void read_plan(struct plan *p)
{
	struct stat st;
	must(fstat(FD_PLAN, &st) == 0, "plan", "size");
	char *data = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, FD_PLAN, 0);
	must(data != MAP_FAILED, "plan", "map");
	p->data = data;
	for (uint64_t at = 0; at < (uint64_t)st.st_size;) {
		uint32_t head[2];
		errno = EINVAL;
		must(at + 8 <= (uint64_t)st.st_size, "plan", "truncated");
		memcpy(head, data + at, 8);
		must(at + 8 + head[1] <= (uint64_t)st.st_size, "plan", "truncated");
		read_record(p, head[0], data + at + 8, head[1]);
		at += 8 + (((uint64_t)head[1] + 7) & ~7ULL);
	}
	p->argv = grow(p->argv, p->argc, sizeof *p->argv);
	p->argv[p->argc] = NULL;
	p->envp = grow(p->envp, p->envc, sizeof *p->envp);
	p->envp[p->envc] = NULL;
	errno = EINVAL;
	must(p->argc > 0 && p->dir && p->uid_map && p->gid_map, "plan", "incomplete");
}

static void check_one(const struct mount_point *m)
{
	struct stat st;
	struct statvfs fs;
	must(lstat(m->path, &st) == 0 && statvfs(m->path, &fs) == 0, "verify", m->path);
	errno = ESTALE;
	if (m->want.type)
		must(st.st_dev == m->want.dev && st.st_ino == m->want.ino && (st.st_mode & S_IFMT) == m->want.type, "verify", m->path);
	errno = EROFS;
	uint32_t flags = m->want.flags & ~MOUNT_OPTIONAL;
	must((fs.f_flag & flags) == flags, "verify", m->path);
}

static int is_below(const char *dir, const char *path)
{
	size_t n = strlen(dir);
	return strncmp(dir, path, n) == 0 && path[n] == '/';
}

static void unescape(char *s)
{
	char *to = s;
	for (; *s; s++) {
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else
			*to++ = *s;
	}
	*to = 0;
}

// A tree of the host may bring mounts along, but none that reaches processes or limits of the host.
static void check_brought(const char *path, const char *type)
{
	errno = EACCES;
	for (const char *const *t = (const char *const[]){"proc", "sysfs", "cgroup", "cgroup2", NULL}; *t; t++)
		must(strcmp(type, *t) != 0, "mount-source", path);
}

static void check_listed(struct plan *p, const char *path, const char *type)
{
	for (size_t i = 0; i < p->mountc; i++)
		if (strcmp(p->mounts[i].path, path) == 0) {
			p->mounts[i].seen = 1;
			return;
		}
	for (size_t i = 0; i < p->belowc; i++)
		if (is_below(p->below[i], path)) {
			check_brought(path, type);
			return;
		}
	errno = EEXIST;
	fail("verify", path);
}

// The mount list holds what was planned and nothing else (proc_pid_mountinfo(5)), with the flags that were planned.
static void verify_mounts(struct plan *p)
{
	char *line = NULL, path[8192], type[64];
	size_t size = 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	must(f != NULL, "verify", "/proc/self/mountinfo");
	while (getline(&line, &size, f) > 0) {
		errno = EINVAL;
		const char *fields = strstr(line, " - "); // optional fields end here
		must(sscanf(line, "%*s %*s %*s %*s %8191s", path) == 1 && fields && sscanf(fields, " - %63s", type) == 1, "verify", "mountinfo");
		unescape(path);
		check_listed(p, path, type);
	}
	fclose(f);
	free(line);
	for (size_t i = 0; i < p->mountc; i++) {
		errno = ENOENT;
		must(p->mounts[i].seen || (p->mounts[i].want.flags & MOUNT_OPTIONAL), "verify", p->mounts[i].path);
		if (p->mounts[i].seen)
			check_one(&p->mounts[i]);
	}
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	must(fd >= 0, "ids", path);
	ssize_t n = write(fd, text, strlen(text));
	must(n == (ssize_t)strlen(text), "ids", path);
	close(fd);
}

static void map_ids(const struct plan *p, pid_t child)
{
	char path[64];
	if (!(p->flags & FLAG_SETGROUPS)) {
		snprintf(path, sizeof path, "/proc/%d/setgroups", child);
		write_file(path, "deny");
	}
	snprintf(path, sizeof path, "/proc/%d/uid_map", child);
	write_file(path, p->uid_map);
	snprintf(path, sizeof path, "/proc/%d/gid_map", child);
	write_file(path, p->gid_map);
}

static void set_caps(uint64_t keep)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {
		{(uint32_t)keep, (uint32_t)keep, 0}, {(uint32_t)(keep >> 32), (uint32_t)(keep >> 32), 0}};
	must(syscall(SYS_capset, &head, data) == 0, "capabilities", "capset");
}

// A namespace owned by the inner user namespace got its mounts from a more privileged one, so all of them are locked
// (mount_namespaces(7)): they can neither be taken away nor made writable.
static void assert_locked(void)
{
	int r = umount2("/proc", MNT_DETACH);
	must(r == -1 && errno == EINVAL, "lock", "umount /proc");
	r = mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL);
	must(r == -1 && errno == EPERM, "lock", "remount /");
}

// pid 1 has the build's own uid outside, so the build could list its descriptors and threads.
static void cover_pid1(void)
{
	const char *dirs[] = {"/proc/1/fd", "/proc/1/fdinfo", "/proc/1/task"};
	for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
		must(mount("none", dirs[i], "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=000,nr_inodes=1,size=4k") == 0,
			"cover", dirs[i]);
}

// send_descriptor sends a message with a descriptor to the runner.
static int send_descriptor(const char *text, int fd)
{
	char space[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {(char *)text, strlen(text)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(FD_CONTROL, &msg, MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

// Landlock says the same as the mounts, as a second fence (landlock(7)). A rule is about what is at its path by now.
static void load_landlock(const struct plan *p)
{
	struct { uint64_t handled, net, scoped; } set = {p->fence[0], 0, p->fence[1]};
	if (!set.handled)
		return;
	// A kernel that knows fewer fields takes longer structures, if what it does not know is zero.
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &set, sizeof set, 0);
	must(ruleset >= 0, "landlock", "ruleset");
	for (size_t i = 0; i < p->rulec; i++) {
		struct __attribute__((packed)) { uint64_t access; int32_t parent; } beneath = {p->rules[i].access, -1};
		beneath.parent = open(p->rules[i].path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
		must(beneath.parent >= 0, "landlock", p->rules[i].path);
		must(syscall(SYS_landlock_add_rule, ruleset, 1, &beneath, 0) == 0, "landlock", p->rules[i].path);
		close(beneath.parent);
	}
	must(syscall(SYS_landlock_restrict_self, ruleset, 0) == 0, "landlock", "restrict");
	close(ruleset);
}

// The last filter asks a listener where the plan says so, and the runner gets it. From here to the runner's answer only calls
// are made that no filter asks about.
static void load_filters(const struct plan *p)
{
	int listener = -1, killable = 1;
	for (size_t i = 0; i < p->filterc; i++) {
		struct sock_fprog *filter = (struct sock_fprog *)&p->filters[i];
		if (i + 1 < p->filterc || !(p->flags & FLAG_LISTEN)) {
			must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, filter) == 0, "filter", "seccomp");
			continue;
		}
		unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
		listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, filter);
		if (listener < 0 && errno == EINVAL) {
			killable = 0;
			listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, filter);
		}
		must(listener >= 0, "listener", "seccomp");
	}
	if (listener < 0)
		return;
	must(send_descriptor(killable ? "L 1" : "L 0", listener), "filter", "send the listener");
	close(listener);
}

// A process that is to be traced says so before it loads the filters, whose calls fail without a tracer. The runner knows it
// by the credentials of the message. Its answer comes to pid 1 or, for the last canary, to the process itself.
static void ask_for_tracer(const struct plan *p)
{
	if (p->flags & FLAG_TRACE)
		must(send(FD_CONTROL, "P", 1, MSG_NOSIGNAL) == 1, "tracer", "ask for one");
}

// Our own accesses, which have to be on record: of a path, once through a page that nobody has touched, once relative to a
// descriptor, which is of the root directory.
static void ask_canary(const struct plan *p, size_t which, int root)
{
	struct stat st;
	if (which >= p->canaryc)
		return;
	uint64_t offset = (uint64_t)(p->canaries[which] - p->data), page = offset & ~4095ULL;
	const char *fresh = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, FD_PLAN, (off_t)page);
	must(fresh != MAP_FAILED, "canary", "map");
	must(syscall(SYS_openat, AT_FDCWD, fresh + (offset - page), O_RDONLY | O_CLOEXEC) == -1 && errno == ENOENT, "canary", "open");
	const char *path = p->canaries[which];
	must(syscall(SYS_openat, root, path + 1, O_RDONLY | O_CLOEXEC) == -1 && errno == ENOENT, "canary", "openat");
	must(lstat(path, &st) == -1 && errno == ENOENT, "canary", "stat");
	must(execve(path, p->argv, p->envp) == -1 && errno == ENOENT, "canary", "exec");
}

static int open_root(void)
{
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	must(root >= 0, "canary", "/");
	return root;
}

static void close_descriptors(void)
{
	if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) == 0)
		return;
	must(unshare(CLONE_FILES) == 0, "descriptors", "unshare"); // before Linux 5.11
	for (int fd = 3; fd < 1024; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static void use_terminal(int terminal)
{
	must(ioctl(terminal, TIOCSCTTY, 0) == 0, "terminal", "controlling terminal");
	for (int fd = 0; fd < 3; fd++)
		must(dup2(terminal, fd) == fd, "terminal", "dup");
}

// A stream that is the host's /dev/null, be it ours or the caller's, becomes the jail's own, which lies on a read-only mount:
// through a descriptor of the host's a script that runs as root could change the node's mode.
static void own_null(void)
{
	for (int fd = 0; fd < 3; fd++) {
		struct stat st;
		if (fstat(fd, &st) != 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
			continue;
		int flags = fcntl(fd, F_GETFL), null = open("/dev/null", (flags & O_ACCMODE) | O_NOCTTY | O_CLOEXEC);
		must(flags >= 0 && null >= 0 && dup2(null, fd) == fd, "streams", "/dev/null");
		close(null);
	}
}

// A file without #! is a shell script, as in execvp(3).
static void exec_one(const struct plan *p, const char *path)
{
	execve(path, p->argv, p->envp);
	if (errno != ENOEXEC)
		return;
	char **argv = calloc(p->argc + 2, sizeof *argv);
	must(argv != NULL, "exec", "memory");
	argv[0] = "/bin/sh";
	argv[1] = (char *)path;
	memcpy(argv + 2, p->argv + 1, p->argc * sizeof *argv);
	execve("/bin/sh", argv, p->envp);
	errno = ENOEXEC;
}

// A command without a slash is looked up in the PATH of its own environment.
static void exec_command(const struct plan *p)
{
	char path[4096];
	const char *name = p->argv[0], *list = "";
	int refused = 0;
	if (strchr(name, '/')) {
		exec_one(p, name);
		fail("exec", name);
	}
	for (size_t i = 0; i < p->envc; i++)
		if (strncmp(p->envp[i], "PATH=", 5) == 0)
			list = p->envp[i] + 5;
	for (const char *end; *list; list = *end ? end + 1 : end) {
		end = strchrnul(list, ':');
		int n = snprintf(path, sizeof path, "%.*s/%s", (int)(end - list), list, name);
		if (n >= (int)sizeof path || path[0] != '/' || strncmp(path, "/proc/", 6) == 0)
			continue;
		exec_one(p, path);
		if (errno != ENOENT && errno != ENOTDIR && !refused)
			refused = errno;
	}
	errno = refused ? refused : ENOENT;
	fail("exec", name);
}

static int end_at_once(void *unused)
{
	(void)unused;
	_exit(0);
}

// Process numbers are given out in their order (pid_namespaces(7)), so each child that comes and goes takes one. This needs
// no privilege, unlike /proc/sys/kernel/ns_last_pid.
static void skip_numbers(const struct plan *p)
{
	static char stack[16 << 10] __attribute__((aligned(16)));
	for (uint32_t i = 0; i < p->skip; i++) {
		pid_t child = clone(end_at_once, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
		must(child >= 0, "skip", "clone");
		must(waitpid(child, NULL, 0) == child, "skip", "wait");
	}
}

// The child of step 12 on: inside the inner user namespace. It returns only by ending.
static void run_command(const struct plan *p, int go, int terminal)
{
	char byte;
	sigset_t none;
	must(read(go, &byte, 1) == 1, "ids", "wait");
	assert_locked();
	cover_pid1();
	must(setsid() > 0, "session", "setsid");
	if (terminal >= 0)
		use_terminal(terminal);
	own_null();
	umask(022);
	if (!(p->flags & FLAG_RANDOMIZE))
		must(personality(ADDR_NO_RANDOMIZE) >= 0, "personality", "ADDR_NO_RANDOMIZE");
	for (int cap = 0; cap <= 63 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (!(p->caps >> cap & 1))
			must(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0, "capabilities", "bounding set");
	set_caps(p->caps);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	must(chdir(p->dir) == 0, "directory", p->dir);
	if (p->cpus)
		must(syscall(SYS_sched_setaffinity, 0, p->cpus_size, p->cpus) == 0, "processors", "sched_setaffinity");
	int root = open_root();
	load_landlock(p);
	ask_for_tracer(p);
	if (p->flags & FLAG_TRACE)
		must(read(go, &byte, 1) == 1, "tracer", "wait for it");
	load_filters(p);
	if (p->flags & FLAG_LISTEN)
		must(read(go, &byte, 1) == 1, "filter", "wait for the listener");
	ask_canary(p, 0, root);
	close_descriptors();
	exec_command(p);
}

// A terminal of the jail's own devpts: the runner gets one end, the command the other.
static int make_terminal(void)
{
	int unlock = 0;
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	must(master >= 0, "terminal", "/dev/ptmx");
	must(ioctl(master, TIOCSPTLCK, &unlock) == 0, "terminal", "unlock");
	int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	must(slave >= 0, "terminal", "peer");
	must(send_descriptor("T", master), "terminal", "send");
	close(master);
	return slave;
}

static void report_end(int status, const struct rusage *used, int survivors)
{
	char msg[128];
	long long cpu = (used->ru_utime.tv_sec + used->ru_stime.tv_sec) * 1000000LL + used->ru_utime.tv_usec + used->ru_stime.tv_usec;
	int n = snprintf(msg, sizeof msg, "X %d %lld %ld %d", status, cpu, used->ru_maxrss, survivors);
	(void)!send(FD_CONTROL, msg, n, MSG_NOSIGNAL);
}

// Whatever the command left running ends before its end is reported. What cannot be killed from here, or not within a
// second, ends with pid 1.
static int end_survivors(void)
{
	int survivors = 0;
	sigset_t child;
	struct timespec second = {1, 0};
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	kill(-1, SIGKILL);
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);
		if (pid < 0)
			return survivors;
		if (pid > 0)
			survivors += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
		else if (sigtimedwait(&child, NULL, &second) < 0)
			return survivors;
	}
}

static void wait_for_answer(void)
{
	for (char byte = 0; byte != 'G';)
		must(recv(FD_CONTROL, &byte, 1, 0) == 1, "canary", "wait for the answer");
}

static int last_canary(void *plan)
{
	const struct plan *p = plan;
	int root = open_root();
	ask_for_tracer(p);
	if (p->flags & FLAG_TRACE)
		wait_for_answer();
	load_filters(p);
	if (p->flags & FLAG_LISTEN)
		wait_for_answer();
	ask_canary(p, 1, root);
	_exit(0);
}

// A last child with the same filters tests the observer once more, after everything else. It has our memory, because a copy
// costs more than all that it does; we wait.
static void ask_again(const struct plan *p)
{
	static char stack[64 << 10] __attribute__((aligned(16)));
	if (!(p->flags & (FLAG_LISTEN | FLAG_TRACE)))
		return;
	pid_t child = clone(last_canary, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)p);
	must(child >= 0, "canary", "clone");
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

// pid 1 reaps until the command has ended; its own end then takes the whole pid namespace. Signals from the runner's
// side arrive as a message, because pid 1 ignores what it has no handler for.
static void reap(const struct plan *p, pid_t command, int go, const sigset_t *unblocked)
{
	struct pollfd control = {FD_CONTROL, POLLIN, 0};
	for (;;) {
		int status;
		for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
			if (pid == command) {
				struct rusage used;
				int survivors = end_survivors();
				getrusage(RUSAGE_CHILDREN, &used);
				ask_again(p);
				report_end(status, &used, survivors);
				_exit(0);
			}
		child_event = 0;
		if (ppoll(&control, 1, NULL, unblocked) <= 0 || !control.revents)
			continue;
		char byte;
		if (recv(FD_CONTROL, &byte, 1, MSG_DONTWAIT) <= 0)
			_exit(125); // the runner is gone
		if (byte == 'T')
			kill(-1, SIGTERM);
		if (byte == 'G')
			must(write(go, "", 1) == 1, "filter", "release");
	}
}

static void stage2(void)
{
	struct plan p = {0};
	int go[2], terminal = -1;
	sigset_t child_signal, unblocked;

	must(fcntl(FD_CONTROL, F_SETFD, FD_CLOEXEC) == 0, "start", "control socket");
	if (syscall(SYS_close_range, FD_PLAN + 1, ~0U, 0) != 0) // what the mounting hook was given; none before Linux 5.12
		must(errno == ENOSYS, "start", "descriptors");
	read_plan(&p);
	verify_mounts(&p);
	skip_numbers(&p);
	if (p.flags & FLAG_TERMINAL)
		terminal = make_terminal();
	signal(SIGCHLD, on_child);
	sigemptyset(&child_signal);
	sigaddset(&child_signal, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child_signal, &unblocked);
	sigdelset(&unblocked, SIGCHLD);
	must(pipe2(go, O_CLOEXEC) == 0, "ids", "pipe");
	pid_t command = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWNS | CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	must(command >= 0, "inner-namespace", "clone");
	if (command == 0)
		run_command(&p, go[0], terminal);
	map_ids(&p, command);
	set_caps(0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	must(write(go[1], "", 1) == 1, "ids", "release");
	reap(&p, command, go[1], &unblocked);
}

__attribute__((constructor)) static void stage2_entry(int argc, char **argv, char **envp)
{
	(void)envp;
	if (argc == 1 && strcmp(argv[0], "hdjail-probe") == 0)
		_exit(0); // a child that only had to exist
	if (argc == 2 && strcmp(argv[1], "hdjail-stage2") == 0 && getpid() == 1) {
		stage2();
		_exit(125);
	}
}
