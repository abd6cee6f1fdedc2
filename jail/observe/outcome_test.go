package observe

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hdjail/policies"
)

// pendingCall is a call as decode leaves it.
func pendingCall(t *testing.T, name string, flags uint64, paths ...string) *Pending {
	t.Helper()
	p := &Pending{directory: "/build"}
	for _, c := range policies.Traced() {
		if c.Name == name {
			p.call = Call{TID: 1, Name: name, Traced: &c}
		}
	}
	if p.call.Traced == nil {
		t.Fatalf("no call %s", name)
	}
	switch p.call.Traced.Kind {
	case policies.KindOpen:
		p.openFlags = flags
	case policies.KindCreat:
		p.openFlags = unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC
	case policies.KindAccess:
		p.call.Args[p.call.Traced.Mode] = flags
	default:
		p.flags = flags
	}
	for i, path := range paths {
		slash := len(path) > 1 && path[len(path)-1] == '/'
		p.paths[i] = pendingPath{path: normal(nil, "/build", []byte(path)), tid: 1, follow: p.follows() || slash, slash: slash}
		p.n++
	}
	return p
}

func inferred(v *view, p *Pending) (errno syscall.Errno) {
	for i := range p.n {
		if e := v.infer(p, i); e != 0 {
			errno = e
		}
	}
	return errno
}

// inferences are calls and what a kernel answers, in the tree of jailTree.
var inferences = []struct {
	call  string
	flags uint64
	path  string
	want  syscall.Errno
}{
	{"openat", 0, "/build/file", 0},
	{"openat", 0, "/nowhere", unix.ENOENT},
	{"openat", 0, "/build/file/x", unix.ENOTDIR},
	{"openat", 0, "/build/file/", unix.ENOTDIR},
	{"openat", 0, "/build/secret", unix.EACCES},
	{"openat", unix.O_PATH, "/build/secret", 0},
	{"openat", unix.O_WRONLY, "/build/file", 0},
	{"openat", unix.O_WRONLY, "/etc/passwd", unix.EACCES},
	{"openat", unix.O_WRONLY, "/usr/bin/data", unix.EROFS},
	{"openat", unix.O_TRUNC, "/usr/bin/data", unix.EROFS},
	{"openat", unix.O_WRONLY, "/build/full", unix.EISDIR},
	{"openat", unix.O_CREAT, "/build/full", unix.EISDIR},
	{"openat", unix.O_DIRECTORY, "/build/file", unix.ENOTDIR},
	{"openat", unix.O_NOFOLLOW, "/build/link", unix.ELOOP},
	{"openat", unix.O_NOFOLLOW | unix.O_PATH, "/build/link", 0},
	{"openat", 0, "/build/round", unix.ELOOP},
	{"openat", unix.O_CREAT | unix.O_WRONLY, "/build/new", 0},
	{"openat", unix.O_CREAT | unix.O_WRONLY, "/build/nowhere/new", unix.ENOENT},
	{"openat", unix.O_CREAT | unix.O_WRONLY, "/etc/new", unix.EROFS},
	{"openat", unix.O_CREAT | unix.O_WRONLY, "/build/locked/new", unix.EACCES},
	{"openat", unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY, "/build/file", unix.EEXIST},
	{"openat", unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY, "/build/dangling", unix.EEXIST},
	{"openat", unix.O_CREAT | unix.O_WRONLY, "/build/dangling", 0},
	{"openat", unix.O_TMPFILE | unix.O_WRONLY, "/build", 0},
	{"openat", unix.O_TMPFILE | unix.O_WRONLY, "/etc", unix.EROFS},
	{"openat", unix.O_TMPFILE | unix.O_WRONLY, "/build/file", unix.ENOTDIR},
	{"creat", 0, "/build/new", 0},
	{"creat", 0, "/etc/new", unix.EROFS},
	{"stat", 0, "/build/file", 0},
	{"stat", 0, "/build/secret", 0},
	{"stat", 0, "/build/dangling", unix.ENOENT},
	{"lstat", 0, "/build/dangling", 0},
	{"lstat", 0, "/build/link/", unix.ENOTDIR},
	{"access", unix.R_OK, "/build/secret", unix.EACCES},
	{"access", unix.F_OK, "/build/secret", 0},
	{"access", unix.W_OK, "/usr/bin/data", unix.EROFS},
	{"access", unix.W_OK, "/build/file", 0},
	{"access", unix.X_OK, "/usr/bin/data", unix.EACCES},
	{"readlink", 0, "/build/link", 0},
	{"readlink", 0, "/build/file", unix.EINVAL},
	{"readlink", 0, "/nowhere", unix.ENOENT},
	{"getdents64", 0, "/build/full", 0},
	{"chdir", 0, "/build/full", 0},
	{"chdir", 0, "/build/file", unix.ENOTDIR},
	{"mkdir", 0, "/build/new", 0},
	{"mkdir", 0, "/build/full", unix.EEXIST},
	{"mkdir", 0, "/etc/full", unix.EROFS},
	{"mkdir", 0, "/build/file/x", unix.ENOTDIR},
	{"mkdir", 0, "/build/dangling", unix.EEXIST},
	{"unlink", 0, "/build/file", 0},
	{"unlink", 0, "/build/full", unix.EISDIR},
	{"unlink", 0, "/build/nowhere", unix.ENOENT},
	{"unlink", 0, "/usr/bin/data", unix.EROFS},
	{"unlink", 0, "/build/link", 0},
	{"rmdir", 0, "/build/empty", 0},
	{"rmdir", 0, "/build/full", unix.ENOTEMPTY},
	{"rmdir", 0, "/build/file", unix.ENOTDIR},
	{"unlinkat", unix.AT_REMOVEDIR, "/build/full", unix.ENOTEMPTY},
	{"chmod", 0, "/build/file", 0},
	{"chmod", 0, "/usr/bin/data", unix.EROFS},
	{"chmod", 0, "/nowhere", unix.ENOENT},
	{"truncate", 0, "/build/full", unix.EISDIR},
	{"execve", 0, "/usr/bin/static", 0},
	{"execve", 0, "/usr/bin/data", unix.EACCES},
	{"execve", 0, "/build/full", unix.EACCES},
	{"execve", 0, "/build/file", unix.ENOEXEC},
	{"execve", 0, "/build/lost", unix.ENOENT},
	{"execve", 0, "/usr/bin/prog", unix.ENOENT}, // its loader
	{"execve", 0, "/build/script", unix.ENOENT},
	{"execve", 0, "/build/loop", unix.ELOOP},
	{"execve", 0, "/nowhere", unix.ENOENT},
	{"inotify_add_watch", 0, "/build/secret", unix.EACCES},
}

func TestInfer(t *testing.T) {
	v := jailTree(t)
	for _, test := range inferences {
		if got := inferred(v, pendingCall(t, test.call, test.flags, test.path)); got != test.want {
			t.Errorf("%s(%q, %#x): %v, want %v", test.call, test.path, test.flags, got, test.want)
		}
	}
}

func TestInferMove(t *testing.T) {
	v := jailTree(t)
	for _, test := range []struct {
		call     string
		flags    uint64
		from, to string
		want     syscall.Errno
	}{
		{"rename", 0, "/build/file", "/build/new", 0},
		{"rename", 0, "/build/file", "/build/script", 0},
		{"rename", 0, "/build/nowhere", "/build/new", unix.ENOENT},
		{"rename", 0, "/build/file", "/nowhere/new", unix.ENOENT},
		{"rename", 0, "/build/file", "/build/full", unix.EISDIR},
		{"rename", 0, "/build/full", "/build/file", unix.ENOTDIR},
		{"rename", 0, "/build/empty", "/build/full", unix.ENOTEMPTY},
		{"rename", 0, "/build/full", "/build/empty", 0},
		{"rename", 0, "/usr/bin/data", "/build/new", unix.EXDEV},
		{"rename", 0, "/usr/bin/data", "/usr/bin/new", unix.EROFS},
		{"renameat2", unix.RENAME_NOREPLACE, "/build/file", "/build/script", unix.EEXIST},
		{"renameat2", unix.RENAME_EXCHANGE, "/build/file", "/build/full", 0},
		{"link", 0, "/build/file", "/build/new", 0},
		{"link", 0, "/build/file", "/build/script", unix.EEXIST},
		{"link", 0, "/build/nowhere", "/build/new", unix.ENOENT},
		{"link", 0, "/build/full", "/build/new", unix.EPERM},
		{"link", 0, "/usr/bin/data", "/build/new", unix.EXDEV},
		{"link", 0, "/build/dangling", "/build/new", 0},
	} {
		if got := inferred(v, pendingCall(t, test.call, test.flags, test.from, test.to)); got != test.want {
			t.Errorf("%s(%q, %q, %#x): %v, want %v", test.call, test.from, test.to, test.flags, got, test.want)
		}
	}
}

func TestInferUnreadable(t *testing.T) {
	v := jailTree(t)
	for reason, want := range map[string]syscall.Errno{reasonUnreadable: unix.EFAULT, reasonTooLong: unix.ENAMETOOLONG, reasonBase: unix.EBADF,
		reasonNoDir: unix.ENOTDIR} {
		p := pendingCall(t, "openat", 0, "x")
		p.paths[0].unreadable = reason
		if got := inferred(v, p); got != want {
			t.Errorf("%s: %v, want %v", reason, got, want)
		}
	}
}

// TestImplicit is about what the kernel opens itself to run a file.
func TestImplicit(t *testing.T) {
	v := jailTree(t)
	for path, want := range map[string][]string{
		"/usr/bin/static": nil,
		"/usr/bin/prog":   {"/lib/ld.so"},
		"/build/script":   {"/usr/bin/prog", "/lib/ld.so"},
		"/build/lost":     {"/nowhere"},
		"/build/relative": {"/build/script", "/usr/bin/prog", "/lib/ld.so"},
	} {
		p := pendingCall(t, "execve", 0, path)
		inferred(v, p)
		var got []string
		for _, opened := range p.implicit {
			got = append(got, opened.path)
		}
		if len(got) != len(want) {
			t.Errorf("%s: %q, want %q", path, got, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
	}
}

func TestInferSocket(t *testing.T) {
	v := jailTree(t)
	for _, test := range []struct {
		call, name string
		want       syscall.Errno
	}{
		{"connect", "@name", unix.ECONNREFUSED},
		{"connect", "192.0.2.1:80", unix.ENETUNREACH},
		{"connect", "127.0.0.1:80", 0},
		{"connect", "[::1]:80", 0},
		{"connect", "[::ffff:127.0.0.1]:80", 0},
		{"connect", "/build/file", unix.ECONNREFUSED},
		{"connect", "/run/dbus", unix.ENOENT},
		{"bind", "/build/socket", 0},
		{"bind", "/build/file", unix.EADDRINUSE},
		{"bind", "/etc/socket", unix.EROFS},
	} {
		p := pendingCall(t, test.call, 0)
		p.paths[0] = pendingPath{path: []byte(test.name), tid: 1, follow: test.call == "connect"}
		p.n = 1
		if got := inferred(v, p); got != test.want {
			t.Errorf("%s to %s: %v, want %v", test.call, test.name, got, test.want)
		}
	}
}

func TestOpenOperations(t *testing.T) {
	for _, test := range []struct {
		flags    uint64
		op, also policies.Operation
	}{
		{unix.O_RDONLY, policies.OpRead, ""},
		{unix.O_WRONLY, policies.OpWrite, ""},
		{unix.O_RDWR, policies.OpRead, policies.OpWrite},
		{unix.O_CREAT, policies.OpRead, policies.OpWrite},
		{unix.O_TRUNC, policies.OpRead, policies.OpWrite},
		{unix.O_WRONLY | unix.O_CREAT, policies.OpWrite, ""},
		{unix.O_WRONLY | unix.O_TMPFILE, policies.OpWrite, ""},
		{unix.O_PATH, policies.OpProbe, ""},
		{unix.O_RDONLY | unix.O_DIRECTORY, policies.OpRead, ""},
	} {
		if op, also := openOperations(test.flags); op != test.op || also != test.also {
			t.Errorf("%#x: %s and %q, want %s and %q", test.flags, op, also, test.op, test.also)
		}
	}
}
