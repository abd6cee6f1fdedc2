// attack tries what a build must not be able to do and prints one line a try: its name, and ok or the errno.
// It is linked statically, so that it needs nothing of the host. The Go test holds the expected answers.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <termios.h>
#include <unistd.h>

static void say(const char *name, long result)
{
	printf("%s %s\n", name, result >= 0 ? "ok" : strerrorname_np(errno));
	fflush(stdout);
}

static long try_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	return fd;
}

// In a child, because success would change this process.
static void forked(const char *name, long (*attempt)(void))
{
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		say(name, attempt());
		_exit(0);
	}
	if (child < 0)
		say(name, -1);
	else
		waitpid(child, NULL, 0);
}

static long try_connect(const char *path, socklen_t extra)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	memcpy(a.sun_path, path, extra);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	long r = connect(fd, (struct sockaddr *)&a, sizeof(sa_family_t) + extra);
	int e = errno;
	close(fd);
	errno = e;
	return r;
}

static long try_inet(const char *address, int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	inet_pton(AF_INET, address, &a.sin_addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0)
		return -1;
	long r = connect(fd, (struct sockaddr *)&a, sizeof a);
	int e = errno;
	close(fd);
	errno = e;
	return r;
}

static void paths(const char *canary)
{
	char climbed[4200];
	say("read-canary", try_open(canary, O_RDONLY));
	snprintf(climbed, sizeof climbed, "/../../../../../..%s", canary);
	say("climb-root", try_open(climbed, O_RDONLY));
	int root = open("/", O_PATH);
	snprintf(climbed, sizeof climbed, "../../../..%s", canary);
	say("climb-descriptor", openat(root, climbed, O_RDONLY));
	snprintf(climbed, sizeof climbed, "/proc/self/cwd/../../../..%s", canary);
	say("climb-proc-cwd", try_open(climbed, O_RDONLY));
	snprintf(climbed, sizeof climbed, "/proc/self/root%s", canary);
	say("climb-proc-root", try_open(climbed, O_RDONLY));
	say("etc-shadow", try_open("/etc/shadow", O_RDONLY));
	say("machine-id", try_open("/etc/machine-id", O_RDONLY));
	say("nowhere", try_open("/no/such/path", O_RDONLY));
	say("home", try_open("/home", O_RDONLY));
	say("root-home", try_open("/root", O_RDONLY));
	say("sys", try_open("/sys", O_RDONLY));
	say("cgroup", try_open("/sys/fs/cgroup", O_RDONLY));
	say("run", try_open("/run", O_RDONLY));
	say("dev-mem", try_open("/dev/mem", O_RDONLY));
	say("dev-kvm", try_open("/dev/kvm", O_RDWR));
}

static void processes(void)
{
	say("proc1-root", try_open("/proc/1/root", O_RDONLY));
	say("proc1-cwd", try_open("/proc/1/cwd", O_RDONLY));
	say("proc1-mem", try_open("/proc/1/mem", O_RDONLY));
	say("proc1-environ", try_open("/proc/1/environ", O_RDONLY));
	say("proc1-exe", try_open("/proc/1/exe", O_RDONLY));
	say("proc1-exe-write", try_open("/proc/1/exe", O_RDWR));
	say("proc1-fd", try_open("/proc/1/fd", O_RDONLY));
	say("proc1-task", try_open("/proc/1/task/1/fd", O_RDONLY));
	say("proc1-ns", try_open("/proc/1/ns/mnt", O_RDONLY));
	say("ptrace-1", ptrace(PTRACE_ATTACH, 1, 0, 0));
	char byte;
	struct iovec local = {&byte, 1}, remote = {(void *)0x400000, 1};
	say("vm-readv-1", process_vm_readv(1, &local, 1, &remote, 1, 0));
	say("kill-host", kill(99999, 0));
	int pidfd = syscall(SYS_pidfd_open, 1, 0);
	say("pidfd-getfd-1", syscall(SYS_pidfd_getfd, pidfd, 0, 0));
	say("sysrq", try_open("/proc/sysrq-trigger", O_WRONLY));
	say("core-pattern", try_open("/proc/sys/kernel/core_pattern", O_WRONLY));
}

static long to_uid0(void) { return setuid(0); }
static long to_resuid(void) { return setresuid(1, 1, 1); }
static long new_user(void) { return unshare(CLONE_NEWUSER); }
static long new_mount(void) { return unshare(CLONE_NEWNS); }
static long new_net(void) { return unshare(CLONE_NEWNET); }
static long new_time(void) { return unshare(0x80); }
static long clone_user(void)
{
	long r = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (r == 0)
		_exit(0);
	return r;
}

static void identity(void)
{
	gid_t group = 0;
	forked("setuid-0", to_uid0);
	forked("setresuid", to_resuid);
	say("setgroups", setgroups(1, &group));
	say("chown-root", chown("/build", 0, 0));
	forked("unshare-user", new_user);
	forked("unshare-mount", new_mount);
	forked("unshare-net", new_net);
	forked("unshare-time", new_time);
	forked("clone-user", clone_user);
	say("clone3", syscall(SYS_clone3, NULL, 0));
	int ns = open("/proc/self/ns/mnt", O_RDONLY);
	say("setns", setns(ns, 0));
	say("chroot", chroot("/build"));
	printf("uid %d %d gid %d %d\n", getuid(), geteuid(), getgid(), getegid());
}

static void mounts(void)
{
	say("mount-tmpfs", mount("none", "/build", "tmpfs", 0, NULL));
	say("bind", mount("/usr", "/build", NULL, MS_BIND, NULL));
	say("remount-usr", mount(NULL, "/usr", NULL, MS_REMOUNT | MS_BIND, NULL));
	say("umount-proc", umount2("/proc", MNT_DETACH));
	say("umount-usr", umount2("/usr", MNT_DETACH));
	say("pivot-root", syscall(SYS_pivot_root, ".", "."));
	say("mount-setattr", syscall(442, AT_FDCWD, "/usr", 0, NULL, 0));
	say("open-tree", syscall(428, AT_FDCWD, "/usr", 1));
	say("fsopen", syscall(430, "tmpfs", 0));
	say("move-mount", syscall(429, AT_FDCWD, "/usr", AT_FDCWD, "/build", 0));
}

static void readonly(const char *input)
{
	say("create-root", try_open("/x", O_WRONLY | O_CREAT));
	say("create-etc", try_open("/etc/x", O_WRONLY | O_CREAT));
	say("create-dev", try_open("/dev/x", O_WRONLY | O_CREAT));
	say("write-input", try_open(input, O_WRONLY));
	say("truncate-input", truncate(input, 0));
	say("chmod-input", chmod(input, 0666));
	say("unlink-input", unlink(input));
	say("rename-input", rename(input, "/build/stolen"));
	say("utimes-input", utimensat(AT_FDCWD, input, NULL, 0));
	say("mkdir-store", mkdir("/usr/x", 0777));
}

static void kernel(void)
{
	struct io_uring_params params = {0};
	say("io-uring", syscall(SYS_io_uring_setup, 4, &params));
	say("bpf", syscall(SYS_bpf, 0, NULL, 0));
	say("perf", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
	say("userfaultfd", syscall(SYS_userfaultfd, 0));
	say("keyctl", syscall(SYS_keyctl, 0, 0));
	say("add-key", syscall(SYS_add_key, "user", "x", "y", 1, -2));
	say("by-handle", syscall(SYS_open_by_handle_at, 0, NULL, 0));
	say("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
	say("int80", ({ long r; __asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory", "r8", "r9", "r10", "r11"); if (r < 0) { errno = -r; r = -1; } r; }));
	say("x32", syscall(0x40000000 + SYS_getpid));
	int fd = open("/dev/null", O_RDWR);
	char c = 'x';
	say("tiocsti", ioctl(fd, TIOCSTI, &c));
	say("tiocsti-high", syscall(SYS_ioctl, fd, 0x100000000UL | TIOCSTI, &c));
	say("tty", try_open("/dev/tty", O_RDWR));
	say("dev-null", try_open("/dev/null", O_RDWR));
	say("dev-urandom", try_open("/dev/urandom", O_RDONLY));
}

static void files(void)
{
	int fd = open("/build/plain", O_WRONLY | O_CREAT, 0644);
	int flags = FS_IMMUTABLE_FL;
	say("setid-chmod", chmod("/build/plain", 04755));
	say("setid-fchmod", fchmod(fd, 02755));
	say("setid-open", open("/build/setid", O_WRONLY | O_CREAT, 04755));
	say("setid-creat", creat("/build/setid2", 02755));
	say("setid-mknod", mknod("/build/setid3", S_IFREG | 04755, 0));
	say("setid-fchmodat2", syscall(452, AT_FDCWD, "/build/plain", 04755, 0));
	say("mknod-char", mknod("/build/dev", S_IFCHR | 0666, makedev(1, 3)));
	say("mknod-block", mknod("/build/dev", S_IFBLK | 0666, makedev(8, 0)));
	say("whiteout", syscall(SYS_renameat2, AT_FDCWD, "/build/plain", AT_FDCWD, "/build/moved", 4));
	say("setxattr", setxattr("/build/plain", "user.x", "y", 1, 0));
	say("getxattr", getxattr("/build/plain", "user.x", NULL, 0));
	say("listxattr", listxattr("/build/plain", NULL, 0));
	say("setxattrat", syscall(463, AT_FDCWD, "/build/plain", 0, "user.x", NULL, 0));
	say("immutable", ioctl(fd, FS_IOC_SETFLAGS, &flags));
	say("verity", ioctl(fd, 0x40806685, &flags));
	say("btrfs-snapshot", ioctl(fd, 0x50009401, &flags));
	say("btrfs-snapshot2", ioctl(fd, 0x50009417, &flags));
	close(fd);
}

static void network(const char *abstract)
{
	char name[64] = {0};
	snprintf(name + 1, sizeof name - 1, "%s", abstract);
	say("inet-public", try_inet("192.0.2.1", 80));
	say("inet-metadata", try_inet("169.254.169.254", 80));
	say("inet-loopback", try_inet("127.0.0.1", 9));
	say("abstract", try_connect(name, 1 + strlen(abstract)));
	say("dbus", try_connect("/run/dbus/system_bus_socket", sizeof "/run/dbus/system_bus_socket"));
	say("packet", socket(AF_PACKET, SOCK_RAW, 0));
	say("alg", socket(AF_ALG, SOCK_SEQPACKET, 0));
	say("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
	say("netfilter", socket(AF_NETLINK, SOCK_RAW, 12));
	say("route", socket(AF_NETLINK, SOCK_RAW, 0));
	say("shm", shmget(0x6864, 1, 0));
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	for (int fd = 3; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("descriptor-%d open\n", fd);
	paths(argv[1]);
	processes();
	identity();
	mounts();
	readonly(argv[2]);
	kernel();
	files();
	network(argv[3]);
	return 0;
}
