// The mounts of a jail, made by a hook of libcontainer's init: in the jail's namespaces, before the pivot, with the root
// directory as working directory. Here a mount costs a few system calls, and a jail with hundreds of dependencies starts
// as one with none. The hook also starts the jail's loopback interface, for which libcontainer would need netlink. Needs Linux 5.12 (mount_setattr); on older kernels libcontainer mounts, and there is no hook.
//
// Descriptors: 4 the control socket (see stage2.c), 6 the list of mounts, from 7 on mounts that root has cloned already,
// because the jail's uid may not go where they are. What was mounted is verified by stage 2.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int mount(const char *, const char *, const char *, unsigned long, const void *); // sys/mount.h clashes with linux/mount.h

enum { FD_CONTROL = 4, FD_MOUNTS = 6, REC = 0x8000, EMPTY_PATH = 0x1000, PRIVATE = 1 << 18 };

// One mount, as jail/container/hook.go writes it; then source, target and data, each NUL-terminated, padded to 8 bytes.
struct op {
	uint32_t size;      // of the whole record
	int32_t fd;         // a cloned mount, or -1
	uint32_t source, target, data; // offsets from the record's start; data is 0 for a bind mount
	uint32_t recursive;
	uint64_t flags; // MOUNT_ATTR_* of a bind mount, MS_* of a file system
};

static void fail_in(const char *phase, const char *detail)
{
	char msg[512];
	int n = snprintf(msg, sizeof msg, "E %s %d %s", phase, errno, detail);
	(void)!send(FD_CONTROL, msg, n < (int)sizeof msg ? n : (int)sizeof msg - 1, MSG_NOSIGNAL);
	_exit(1);
}

static void fail(const char *detail) { fail_in("mount", detail); }

// A path inside the root directory, whatever links lead to it.
static int open_inside(const char *path)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

// Mount points are there already, but for those in file systems that this hook has mounted empty.
static int open_target(const char *target, int is_dir)
{
	char path[4096];
	int fd = open_inside(target), parent = -1;
	if (fd >= 0)
		return fd;
	if (errno != ENOENT || snprintf(path, sizeof path, "%s", target) >= (int)sizeof path)
		fail(target);
	for (char *name = path + 1, *end; *name; name = end) {
		name[-1] = 0;
		close(parent);
		parent = open_inside(*path ? path : "/");
		name[-1] = '/';
		end = strchrnul(name, '/');
		int last = *end == 0;
		*end = 0;
		int made = last && !is_dir ? mknodat(parent, name, S_IFREG | 0444, 0) : mkdirat(parent, name, 0755);
		if (made != 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
			fail(path);
		if (!last)
			*end++ = '/';
	}
	close(parent);
	fd = open_inside(target);
	if (fd < 0)
		fail(target);
	return fd;
}

static void bind_mount(const struct op *op, const char *source, const char *target)
{
	unsigned recursive = op->recursive ? REC : 0;
	int tree = op->fd;
	if (tree < 0) {
		struct mount_attr attr = {.attr_set = op->flags, .propagation = PRIVATE};
		tree = (int)syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive);
		if (tree < 0 || syscall(SYS_mount_setattr, tree, "", EMPTY_PATH | recursive, &attr, sizeof attr) != 0)
			fail(source);
	}
	struct stat st;
	if (fstat(tree, &st) != 0)
		fail(source);
	int point = open_target(target, S_ISDIR(st.st_mode));
	if (syscall(SYS_move_mount, tree, "", point, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
		fail(target);
	close(tree);
	close(point);
}

static void filesystem(const struct op *op, const char *type, const char *target, const char *data)
{
	char path[64];
	int point = open_target(target, 1);
	snprintf(path, sizeof path, "/proc/self/fd/%d", point);
	if (mount(type, path, type, op->flags, data) != 0)
		fail(target);
	close(point);
}

// Only the jail itself is on its network. Any socket will do, and this one every kernel has (netdevice(7)).
static void start_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0 || ioctl(s, SIOCGIFFLAGS, &request) != 0)
		fail_in("network", "lo");
	if (request.ifr_flags & IFF_UP) { // the host's, where jails have no network of their own
		close(s);
		return;
	}
	request.ifr_flags |= IFF_UP;
	if (ioctl(s, SIOCSIFFLAGS, &request) != 0)
		fail_in("network", "lo");
	close(s);
}

__attribute__((constructor)) static void mounts(int argc, char **argv)
{
	struct stat st;
	if (argc != 2 || strcmp(argv[1], "hdjail-mounts") != 0)
		return;
	if (fstat(FD_MOUNTS, &st) != 0)
		fail("list");
	const char *list = st.st_size ? mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, FD_MOUNTS, 0) : NULL;
	if (list == MAP_FAILED)
		fail("list");
	for (off_t at = 0; at < st.st_size;) {
		struct op op;
		memcpy(&op, list + at, sizeof op); // the list is the runner's own, sealed
		if (op.data)
			filesystem(&op, list + at + op.source, list + at + op.target, list + at + op.data);
		else
			bind_mount(&op, list + at + op.source, list + at + op.target);
		at += op.size;
	}
	start_loopback();
	_exit(0);
}
