// reading names files in ways that make a path hard to read from outside.
#include "case.h"

// The path lies in a page of a file that nobody has touched: the kernel faults it in, an observer may find it absent.
static int untouched(const char *dir)
{
	char page[4096] = OUTSIDE;
	int fd = open("page", O_RDWR | O_CREAT, 0600);
	if (fd < 0 || write(fd, page, sizeof page) != sizeof page)
		die("page");
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	char *path = mmap(0, sizeof page, PROT_READ, MAP_PRIVATE, fd, 0);
	if (path == MAP_FAILED)
		die("mmap");
	touch(path);
	return 0;
}

// two_pages returns the end of a page that no mapped page follows.
static char *end_of_page(void)
{
	char *pages = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED || munmap(pages + 4096, 4096))
		die("mmap");
	return pages + 4096;
}

static int page_end(const char *dir)
{
	char *path = end_of_page() - sizeof OUTSIDE;
	memcpy(path, OUTSIDE, sizeof OUTSIDE);
	touch(path);
	return 0;
}

// The string has no end before the unmapped page: EFAULT.
static int no_end(const char *dir)
{
	char *path = end_of_page() - 8;
	memcpy(path, "/usr/inc", 8);
	return touch(path) == 0 || errno != EFAULT;
}

static int across(const char *dir)
{
	char *pages = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		die("mmap");
	char *path = pages + 4096 - 7;
	memcpy(path, OUTSIDE, sizeof OUTSIDE);
	touch(path);
	return 0;
}

static char *slashes(int length)
{
	char *path = malloc(length + 1);
	memset(path, '/', length);
	memcpy(path + length - strlen(OUTSIDE), OUTSIDE, sizeof OUTSIDE);
	return path;
}

// 4095 bytes and the NUL are the longest path.
static int longest(const char *dir)
{
	touch(slashes(4095));
	return 0;
}

static int too_long(const char *dir)
{
	return touch(slashes(4096)) == 0 || errno != ENAMETOOLONG;
}

// Components of 255 bytes, none of which exists.
static int deep(const char *dir)
{
	char path[4096];
	for (int i = 0; i < 4095; i++)
		path[i] = i % 256 == 0 ? '/' : 'd';
	path[4095] = 0;
	return touch(path) == 0 || errno != ENOENT;
}

static int no_path(const char *dir)
{
	struct stat s;
	int wrong = touch("") == 0 || errno != ENOENT;
	wrong |= syscall(SYS_open, NULL, O_RDONLY) >= 0 || errno != EFAULT;
	wrong |= syscall(SYS_open, 1, O_RDONLY) >= 0 || errno != EFAULT;
	wrong |= syscall(SYS_open, -1L, O_RDONLY) >= 0 || errno != EFAULT;
	wrong |= syscall(SYS_openat, 999, "relative", O_RDONLY) >= 0 || errno != EBADF;
	wrong |= syscall(SYS_newfstatat, 0, "", &s, AT_EMPTY_PATH) != 0;
	touch(OUTSIDE);
	return wrong;
}

static int bytes(const char *dir)
{
	make("\xff\xfe", "", 0600);
	make("two\nlines", "", 0600);
	make("\033[31mred\033]0;title\007", "", 0600);
	make("quote\"back\\slash", "", 0600);
	return touch("\xc3\x28") == 0;
}

static char flipping[] = "./a";

static void *flip(void *stop)
{
	while (!*(volatile int *)stop)
		*(volatile char *)(flipping + 2) ^= 'a' ^ 'b';
	return 0;
}

// Another thread changes the path all the time: which of the two the kernel took is nobody's to say, that one was is.
static int race(const char *dir)
{
	volatile int stop = 0;
	pthread_t thread;
	make("a", "", 0600);
	make("b", "", 0600);
	if (pthread_create(&thread, 0, flip, (void *)&stop))
		die("thread");
	for (int i = 0; i < 2000; i++)
		if (touch(flipping))
			die(flipping);
	stop = 1;
	return pthread_join(thread, 0);
}

static int undumpable(const char *dir)
{
	if (prctl(PR_SET_DUMPABLE, 0))
		die("prctl");
	touch(OUTSIDE);
	return 0;
}

// A descriptor that another thread closes and reuses while it is the base of opens.
static void *reuse(void *stop)
{
	while (!*(volatile int *)stop) {
		int fd = open("one", O_PATH | O_DIRECTORY);
		dup2(fd, 100);
		close(fd);
		fd = open("two", O_PATH | O_DIRECTORY);
		dup2(fd, 100);
		close(fd);
	}
	return 0;
}

static int reused(const char *dir)
{
	volatile int stop = 0;
	pthread_t thread;
	mkdir("one", 0700);
	mkdir("two", 0700);
	dup2(open("one", O_PATH | O_DIRECTORY), 100);
	make("one/f", "", 0600);
	make("two/f", "", 0600);
	if (pthread_create(&thread, 0, reuse, (void *)&stop))
		die("thread");
	for (int i = 0; i < 1000; i++) {
		int fd = openat(100, "f", O_RDONLY);
		if (fd < 0)
			die("f");
		close(fd);
	}
	stop = 1;
	return pthread_join(thread, 0);
}

int main(int argc, char **argv)
{
	const struct attack attacks[] = {{"untouched", untouched}, {"page-end", page_end}, {"no-end", no_end}, {"across", across},
		{"longest", longest}, {"too-long", too_long}, {"deep", deep}, {"no-path", no_path}, {"bytes", bytes}, {"race", race},
		{"undumpable", undumpable}, {"reused", reused}, {0}};
	return choose(attacks, argc, argv);
}
