package main

import (
	"slices"
	"strings"
	"testing"
)

// recorded is what strace 6.1 printed, and what is in it.
var recorded = []struct {
	name, trace string
	want        []string
}{
	{"an open by its descriptor's note", `10    openat(AT_FDCWD</w/d>, "./a//b", O_RDONLY|O_CLOEXEC) = 3</w/d/a/b>`, []string{"read /w/d/a/b"}},
	{"both ways, and ..", `10 openat(3</usr/lib>, "../x", O_RDWR|O_CREAT, 0666) = -1 EROFS (Read-only file system)`,
		[]string{"read /usr/lib/../x EROFS", "write /usr/lib/../x EROFS"}},
	{"a new file", `10 openat(AT_FDCWD</w>, "o", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</w/o>`, []string{"write /w/o"}},
	{"a path only", `10 openat(AT_FDCWD</w>, "/usr", O_RDONLY|O_PATH) = 3</usr>`, []string{"probe /usr"}},
	{"openat2", `10 openat2(3</w/d>(deleted), "f", {flags=O_RDONLY, resolve=RESOLVE_BENEATH}, 24) = -1 ENOENT (No such file or directory)`,
		[]string{"read /w/d/f ENOENT"}},
	{"escapes", `10 openat(AT_FDCWD</w/\74\76>, "x\377\n<>\"\\", O_RDONLY) = -1 ENOENT (No such file or directory)`,
		[]string{"read /w/<>/x\xff\n<>\"\\ ENOENT"}},
	{"a digit after an escape", `10 access("\00012\33[31m", F_OK) = 0`, []string{"probe /start/\x0012\x1b[31m"}},
	{"a deleted working directory", `10 openat(AT_FDCWD</w/d (deleted)>, "x", O_RDONLY) = -1 ENOENT (No such file or directory)`,
		[]string{"read /w/d/x ENOENT"}},
	{"no path", `10 openat(AT_FDCWD</w>, 0x1, O_RDONLY) = -1 EFAULT (Bad address)
10 openat(AT_FDCWD</w>, "", O_RDONLY) = -1 ENOENT (No such file or directory)
10 newfstatat(3</w/x>, "", {st_mode=S_IFREG|0644, st_size=1, ...}, AT_EMPTY_PATH) = 0
10 utimensat(3</w/x>, NULL, NULL, 0) = 0
10 openat(9, "x", O_RDONLY) = -1 EBADF (Bad file descriptor)
10 getcwd("/w", 4096) = 3`, nil},
	{"restarted", `10 openat(AT_FDCWD</w>, "f", O_RDONLY) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)
10 --- SIGALRM {si_signo=SIGALRM, si_code=SI_KERNEL} ---
10 openat(AT_FDCWD</w>, "f", O_RDONLY) = 3</w/f>`, []string{"read /w/f"}},
	{"interrupted by others", `10 openat(AT_FDCWD</w>, "a,)b", O_RDONLY <unfinished ...>
11 stat("/s",  <unfinished ...>
10 <... openat resumed>) = 3</w/a,)b>
11 <... stat resumed>{st_mode=S_IFREG|0644, st_size=1, ...}) = 0`, []string{"read /w/a,)b", "probe /s"}},
	{"never ended", `10 stat("/s",  <unfinished ...>
10 +++ killed by SIGKILL +++`, nil},
	{"ended by death", `10 openat(AT_FDCWD</w>, "f", O_RDONLY <unfinished ...>
10 <... openat resumed>) = ?
10 +++ killed by SIGKILL +++`, []string{"read /w/f ?"}},
	{"two paths", `10 rename("a", "/b") = 0
10 linkat(3</x>, "a", AT_FDCWD</w>, "b", 0) = -1 EXDEV (Invalid cross-device link)
10 symlink("../target", "l") = 0`, []string{"rename /w/a", "rename /b", "link /x/a EXDEV", "link /w/b EXDEV", "create /w/l"}},
	{"a note tells where the directory was all along", `10 chdir("sub/../sub") = 0
10 access("q", F_OK) = -1 ENOENT (No such file or directory)
10 openat(AT_FDCWD</real/sub>, "x", O_RDONLY) = 3</real/sub/x>`,
		[]string{"chdir /start/sub/../sub", "probe /real/sub/q ENOENT", "read /real/sub/x"}},
	{"fchdir", `10 fchdir(4</elsewhere>) = 0
10 lstat("q", {st_mode=S_IFREG|0644, st_size=0, ...}) = 0`, []string{"probe /elsewhere/q"}},
	{"a child that speaks first", `10 chdir("/p") = 0
10 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD <unfinished ...>
11 access("x", F_OK) = 0
11 chdir("/c") = 0
11 access("y", F_OK) = 0
10 <... clone resumed>, child_tidptr=0x7f7fa4028a10) = 11
10 access("z", F_OK) = 0`, []string{"chdir /p", "probe /p/x", "chdir /c", "probe /c/y", "probe /p/z"}},
	{"a thread shares its working directory", `10 clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM, stack_size=0x7fff80} => {parent_tid=[11]}, 88) = 11
11 chdir("/c") = 0
10 readlink("/proc/10/exe", "/x", 4095) = 2
11 readlink("/proc/10/exe", "/x", 4095) = 2
11 readlink("/proc/9/exe", 0x1, 4095) = -1 EACCES (Permission denied)
10 access("y", F_OK) = 0`, []string{"chdir /c", "readlink /proc/self/exe", "readlink /proc/self/exe", "readlink /proc/<pid>/exe EACCES", "probe /c/y"}},
	{"a thread's exec", `11 execve("/bin/true", ["true"], 0x7ffe910f4968 /* 35 vars */ <pid changed to 10 ...>
10 +++ superseded by execve in pid 11 +++
10 <... execve resumed>) = 0`, []string{"exec /bin/true"}},
	{"programs", `10 execve("/bin/sh", ["sh", "-c", "a) = b, \"c\""], 0x7ffe910f4968 /* 35 vars */) = 0
10 execveat(3</w/prog>, "", ["a"], 0x1 /* 0 vars */, AT_EMPTY_PATH) = 0
10 execve("rel", ["rel"], 0x1 /* 1 var */) = -1 ENOENT (No such file or directory)`,
		[]string{"exec /bin/sh", "exec /w/prog", "exec /start/rel ENOENT"}},
	{"a directory's entries", `10 getdents64(3</usr/lib>, 0x55d /* 9 entries */, 32768) = 280
10 getdents64(3</usr/lib>, 0x55d /* 0 entries */, 32768) = 0`, []string{"list /usr/lib", "list /usr/lib"}},
	{"sockets", `10 connect(4<socket:[1]>, {sa_family=AF_UNIX, sun_path="rel"}, 110) = -1 ENOENT (No such file or directory)
10 connect(4<socket:[1]>, {sa_family=AF_UNIX, sun_path=@"el\0\0"}, 10) = -1 ECONNREFUSED (Connection refused)
10 connect(5<socket:[2]>, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = 0
10 connect(5<socket:[2]>, {sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = 0
10 bind(5<socket:[2]>, {sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, 12) = 0`,
		[]string{"connect /start/rel ENOENT", "connect @el\x00\x00 ECONNREFUSED", "connect 127.0.0.1:80", "connect [::1]:80"}},
	{"other lines", `10 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---
10 exit_group(0) = ?
[ Process PID=10 runs in 32 bit mode. ]
10 +++ exited with 0 +++`, nil},
}

func TestAccesses(t *testing.T) {
	for _, test := range recorded {
		l, err := readTrace(strings.NewReader(test.trace + "\n"))
		if err != nil || len(l.odd) > 0 {
			t.Errorf("%s: error %v, not understood %q", test.name, err, l.odd)
			continue
		}
		var got []string
		for _, e := range accesses(l, "/start") {
			text := e.op + " " + e.path
			switch {
			case e.empty:
				continue
			case e.open:
				text += " ?"
			case e.errno != "":
				text += " " + e.errno
			}
			got = append(got, text)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", test.name, got, test.want)
		}
	}
}

func TestNotUnderstood(t *testing.T) {
	for _, line := range []string{"hello", "10 openat(AT_FDCWD</w>, \"x", "10 openat 3", "10 <... openat resumed>) = 3", "10 stat(\"a\") 0"} {
		l, err := readTrace(strings.NewReader(line + "\n"))
		if err != nil || len(l.odd) != 1 {
			t.Errorf("%q: error %v, not understood %q", line, err, l.odd)
		}
	}
}

func FuzzTrace(f *testing.F) {
	f.Add("10 openat(3</w/d>(deleted), \"f\\377\", {flags=O_RDONLY}, 24) = -1 ENOENT (No such)\n10 +++ exited with 0 +++\n")
	f.Add("10 clone(flags=CLONE_FS <unfinished ...>\n11 chdir(\"/\") = 0\n10 <... clone resumed>) = 11\n")
	f.Add("10 connect(5<socket:[2]>, {sa_family=AF_UNIX, sun_path=@\"a\"}, 16) = 0\n")
	f.Fuzz(func(t *testing.T, trace string) {
		l, err := readTrace(strings.NewReader(trace))
		if err != nil {
			t.Fatal(err)
		}
		accesses(l, "/")
	})
}
