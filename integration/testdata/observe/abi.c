// abi uses doors into the kernel beside the usual ones, and every call of the usual ones that takes a path.
#include "case.h"
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <sys/inotify.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>
#include <dirent.h>

#ifdef __x86_64__
// The i386 table from a 64-bit program; its pointers have 32 bits.
static int int80(const char *dir)
{
	char *path = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	long result;
	strcpy(path, OUTSIDE);
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(5), "b"(path), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
	return result == -ENOSYS || result == -EPERM ? REFUSED : 0;
}

static int x32(const char *dir)
{
	long result = syscall(0x40000000 + SYS_openat, AT_FDCWD, OUTSIDE, O_RDONLY);
	return refused(result) ? REFUSED : 0;
}
#endif

// Numbers that no kernel has, or only future ones.
static int unknown_numbers(const char *dir)
{
	for (int nr = 480; nr < 1100; nr++)
		if (syscall(nr, AT_FDCWD, OUTSIDE, 0, 0, 0, 0) != -1 || errno != ENOSYS)
			die("a high number");
	return 0;
}

static int uring(const char *dir)
{
	struct io_uring_params p = {0};
	return refused(syscall(SYS_io_uring_setup, 4, &p)) ? REFUSED : 0;
}

static int by_handle(const char *dir)
{
	union {
		struct file_handle handle;
		char space[sizeof(struct file_handle) + 128];
	} u = {.handle = {.handle_bytes = 128}};
	int mount;
	make("f", "", 0600);
	name_to_handle_at(AT_FDCWD, "f", &u.handle, &mount, 0);
	u.handle.handle_bytes = 8;
	int d = open(".", O_RDONLY);
	return refused(open_by_handle_at(d, &u.handle, O_RDONLY)) ? REFUSED : 0;
}

static int openat2_flags(const char *dir)
{
	struct {
		const char *path;
		uint64_t resolve;
		int result; // 0 or an errno
	} rows[] = {
		{"f", 0, 0}, {"f", RESOLVE_NO_XDEV, 0}, {"f", RESOLVE_NO_MAGICLINKS, 0}, {"link", RESOLVE_NO_SYMLINKS, ELOOP},
		{"../f", RESOLVE_BENEATH, EXDEV}, {"/f", RESOLVE_IN_ROOT, 0}, {"../../f", RESOLVE_IN_ROOT, 0},
		{"/proc/self/exe", RESOLVE_NO_MAGICLINKS, ELOOP}, {"/proc/self/stat", RESOLVE_NO_XDEV, EXDEV},
	};
	mkdir("sub", 0700);
	make("sub/f", "", 0600);
	if (symlink("f", "sub/link"))
		die("link");
	int d = open("sub", O_PATH);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct open_how how = {.flags = O_RDONLY, .resolve = rows[i].resolve};
		long fd = syscall(SYS_openat2, d, rows[i].path, &how, sizeof how);
		if (rows[i].result ? fd >= 0 || errno != rows[i].result : fd < 0)
			die(rows[i].path);
	}
	// The path alone would tell of a file that is not there.
	struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_IN_ROOT};
	syscall(SYS_openat2, open("/usr", O_PATH), "/include/stdio.h", &how, sizeof how);
	return 0;
}

#ifdef __x86_64__
// Each call that takes a path, once, each with a path of its own.
static int every_call(const char *dir)
{
	struct stat s;
	struct statx x;
	struct statfs f;
	char text[64];
	int d = open(".", O_RDONLY | O_DIRECTORY);
	make("file", "x", 0700);
	syscall(SYS_stat, "p-stat", &s);
	syscall(SYS_lstat, "p-lstat", &s);
	syscall(SYS_newfstatat, d, "p-newfstatat", &s, 0);
	syscall(SYS_statx, d, "p-statx", 0, STATX_SIZE, &x);
	syscall(SYS_access, "p-access", R_OK);
	syscall(SYS_faccessat, d, "p-faccessat", R_OK);
	syscall(439, d, "p-faccessat2", R_OK, AT_EACCESS);
	syscall(SYS_statfs, "p-statfs", &f);
	syscall(SYS_open, "r-open", O_RDONLY);
	syscall(SYS_openat, d, "r-openat", O_RDONLY);
	syscall(SYS_open, "p-path", O_PATH);
	syscall(SYS_creat, "w-creat", 0600);
	syscall(SYS_open, "w-tmpfile/x", O_TMPFILE | O_WRONLY, 0600);
	syscall(SYS_open, "file", O_RDWR);
	syscall(SYS_readlink, "l-readlink", text, sizeof text);
	syscall(SYS_readlinkat, d, "l-readlinkat", text, sizeof text);
	syscall(SYS_chdir, "c-chdir");
	syscall(SYS_execve, "x-execve", 0, 0);
	syscall(SYS_execveat, d, "x-execveat", 0, 0, 0);
	syscall(SYS_mkdir, "m-mkdir", 0700);
	syscall(SYS_mkdirat, d, "m-mkdirat", 0700);
	syscall(SYS_mknod, "m-mknod", S_IFIFO | 0600, 0);
	syscall(SYS_mknodat, d, "m-mknodat", S_IFIFO | 0600, 0);
	syscall(SYS_symlink, "nowhere", "m-symlink");
	syscall(SYS_symlinkat, "nowhere", d, "m-symlinkat");
	syscall(SYS_link, "file", "k-link");
	syscall(SYS_linkat, d, "file", d, "k-linkat", 0);
	syscall(SYS_rename, "k-link", "n-rename");
	syscall(SYS_renameat, d, "n-rename", d, "n-renameat");
	syscall(SYS_renameat2, d, "n-renameat", d, "n-renameat2", 1);
	syscall(SYS_unlink, "u-unlink");
	syscall(SYS_unlinkat, d, "u-unlinkat", 0);
	syscall(SYS_rmdir, "m-mkdir");
	syscall(SYS_truncate, "t-truncate", 0);
	syscall(SYS_chmod, "t-chmod", 0600);
	syscall(SYS_fchmodat, d, "t-fchmodat", 0600);
	syscall(452, d, "t-fchmodat2", 0600, 0);
	syscall(SYS_chown, "t-chown", -1, -1);
	syscall(SYS_lchown, "t-lchown", -1, -1);
	syscall(SYS_fchownat, d, "t-fchownat", -1, -1, 0);
	syscall(SYS_utime, "t-utime", 0);
	syscall(SYS_utimes, "t-utimes", 0);
	syscall(SYS_futimesat, d, "t-futimesat", 0);
	syscall(SYS_utimensat, d, "t-utimensat", 0, 0);
	syscall(SYS_inotify_add_watch, inotify_init(), "i-inotify", IN_OPEN);
	return 0;
}
#endif

static int connects(const char *dir)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(a.sun_path, "bound");
	if (bind(s, (struct sockaddr *)&a, sizeof a))
		die("bind");
	strcpy(a.sun_path, "/run/no-such-socket");
	connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof a);
	memcpy(a.sun_path, "\0hdjail-observe", 15);
	connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof(sa_family_t) + 15);
	return 0;
}

static int watches(const char *dir)
{
	inotify_add_watch(inotify_init(), "/usr/include", IN_CREATE);
	return 0;
}

static int lists(const char *dir)
{
	mkdir("sub", 0700);
	for (const char **at = (const char *[]){"sub", "/usr", 0}; *at; at++) {
		DIR *d = opendir(*at);
		if (!d)
			die(*at);
		while (readdir(d))
			;
		closedir(d);
	}
	return 0;
}

// plain is what the i386 program does.
static int plain(const char *dir)
{
	touch(OUTSIDE);
	return 0;
}

int main(int argc, char **argv)
{
	const struct attack attacks[] = {
#ifdef __x86_64__
		{"int80", int80}, {"x32", x32}, {"every-call", every_call},
#endif
		{"unknown-numbers", unknown_numbers}, {"uring", uring}, {"by-handle", by_handle}, {"openat2", openat2_flags},
		{"connects", connects}, {"watches", watches}, {"lists", lists}, {"plain", plain}, {0}};
	return choose(attacks, argc, argv);
}
