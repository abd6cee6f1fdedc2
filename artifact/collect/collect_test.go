package collect

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"hdjail/artifact/tree"
)

const (
	self = "/hdjail/store/aaa-self-1"
	dep  = "/hdjail/store/bbb-dep-1"
	far  = "/hdjail/store/ccc-far-1"
)

func options() Options {
	return Options{
		UID: os.Geteuid(), Artifact: self, Dependencies: []string{dep, far}, Direct: []string{"bbb-dep-1"},
		Allowed: func(path string) bool { return path == "/usr/bin/env" },
	}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// output makes a directory that is removed at the end however it looks then.
func output(t testing.TB) string {
	t.Helper()
	parent := t.TempDir()
	must(t, os.Mkdir(parent+"/out", 0o755))
	t.Cleanup(func() {
		p, err := os.Open(parent)
		must(t, err)
		defer p.Close()
		must(t, tree.Remove(p, "out"))
	})
	return parent + "/out"
}

func write(t testing.TB, path, content string, mode os.FileMode) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), mode), os.Chmod(path, mode))
}

func TestLinks(t *testing.T) {
	rows := []struct {
		at, target string
		ok         bool
	}{
		{"l", "f", true},
		{"l", "nowhere", true},
		{"l", "d/../f", true},
		{"l", "nowhere/../f", true},
		{"l", ".", true},
		{"l", "..", false},
		{"d/l", "..", true},
		{"d/l", "../f", true},
		{"d/l", "../..", false},
		{"d/l", "../../etc/passwd", false},
		{"l", "../bbb-dep-1", true},
		{"l", "../bbb-dep-1/lib/x.so", true},
		{"d/l", "../../bbb-dep-1/lib", true},
		{"d/l", "../bbb-dep-1/lib", true}, // dangles inside
		{"l", "../ccc-far-1/lib", false},  // has no link beside out
		{"l", "../bbb-dep-1/../x", false},
		{"l", "../bbb-dep-12", false},
		{"l", "x/../../bbb-dep-1", true},
		{"l", "here/../f", false}, // here is a link to "."
		{"l", "here/here/../../etc/passwd", false},
		{"l", "todep/../x", false},
		{"l", self, true},
		{"l", self + "/bin", true},
		{"l", self + "2/bin", false},
		{"l", dep + "/lib", true},
		{"l", far + "/lib", true},
		{"l", far + "/../x", false},
		{"l", "/usr/bin/env", true},
		{"l", "/usr//bin/./env", true},
		{"l", "/usr/bin/envy", false},
		{"l", "/usr/bin/../bin/env", false},
		{"l", "/", false},
		{"l", "/etc/passwd", false},
	}
	for _, r := range rows {
		out := output(t)
		write(t, out+"/f", "", 0o644)
		must(t, os.Mkdir(out+"/d", 0o755), os.Symlink(".", out+"/here"), os.Symlink("../bbb-dep-1", out+"/todep"))
		must(t, os.Symlink(r.target, out+"/"+r.at))
		_, err := Collect(context.Background(), out, options())
		var refused *RefusedError
		switch {
		case r.ok && err != nil:
			t.Errorf("%s -> %s: %v", r.at, r.target, err)
		case !r.ok && (!errors.As(err, &refused) || refused.Kind != "link-leaves-tree" || refused.Path != r.at):
			t.Errorf("%s -> %s: got %v", r.at, r.target, err)
		}
	}
}

func TestRefused(t *testing.T) {
	rows := map[string]struct {
		kind string
		root bool
		make func(p string) error
	}{
		"set-uid file":         {"set-id", false, func(p string) error { return os.Chmod(p, 0o755|os.ModeSetuid) }},
		"set-gid file":         {"set-id", false, func(p string) error { return os.Chmod(p, 0o644|os.ModeSetgid) }},
		"fifo":                 {"fifo", false, func(p string) error { return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o644)) }},
		"socket":               {"socket", false, func(p string) error { return errors.Join(os.Remove(p), unix.Mknod(p, unix.S_IFSOCK|0o644, 0)) }},
		"hard link to outside": {"hard-link", false, func(p string) error { return os.Link(p, filepath.Dir(p)+"/../../outside") }},
		"device":               {"device", true, func(p string) error { return errors.Join(os.Remove(p), unix.Mknod(p, unix.S_IFCHR|0o644, 259)) }},
		"block device":         {"device", true, func(p string) error { return errors.Join(os.Remove(p), unix.Mknod(p, unix.S_IFBLK|0o644, 259)) }},
		"whiteout":             {"whiteout", true, func(p string) error { return errors.Join(os.Remove(p), unix.Mknod(p, unix.S_IFCHR, 0)) }},
		"foreign owner":        {"foreign-owner", true, func(p string) error { return os.Chown(p, 4711, 4711) }},
		"foreign link":         {"foreign-owner", true, func(p string) error { return errors.Join(os.Remove(p), os.Symlink("x", p), os.Lchown(p, 4711, 4711)) }},
		"foreign directory":    {"foreign-owner", true, func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0), os.Chown(p, 4711, 4711)) }},
	}
	for name, r := range rows {
		if r.root && os.Geteuid() != 0 {
			continue
		}
		out := output(t)
		write(t, out+"/d/x", "content", 0o600)
		write(t, out+"/a", "earlier", 0o640)
		must(t, r.make(out+"/d/x"))
		_, err := Collect(context.Background(), out, options())
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Kind != r.kind || refused.Path != "d/x" {
			t.Errorf("%s: got %v", name, err)
		}
		if st, err := os.Lstat(out + "/a"); err != nil || st.Mode() != 0o640 {
			t.Errorf("%s: a refused tree was changed: %v %v", name, st.Mode(), err)
		}
	}
}

// TestCanonical collects modes, times and owners of every kind.
func TestCanonical(t *testing.T) {
	out := output(t)
	write(t, out+"/f", "f", 0o666)
	write(t, out+"/none", "none", 0)
	write(t, out+"/bin/x", "x", 0o750)
	write(t, out+"/bin/group", "g", 0o654)
	write(t, out+"/locked/deep/f", "deep", 0)
	must(t, os.Link(out+"/bin/x", out+"/bin/y"), os.Link(out+"/bin/x", out+"/z"), os.Symlink("bin/x", out+"/l"))
	must(t, os.Mkdir(out+"/shared", 0o755), os.Chmod(out+"/shared", 0o777|os.ModeSetgid|os.ModeSticky))
	for _, sec := range []int64{-31536000, 7258118400} { // 1969 and 2200
		must(t, unix.Lutimes(out+"/l", []unix.Timeval{{Sec: sec}, {Sec: sec}}), unix.Lutimes(out+"/f", []unix.Timeval{{Sec: sec}, {Sec: sec}}))
	}
	want, err := tree.DigestEntries(expected(t))
	must(t, err)
	o := options()
	if os.Geteuid() == 0 {
		o.UID = 4711
		must(t, filepath.WalkDir(out, func(p string, _ os.DirEntry, _ error) error { return os.Lchown(p, 4711, 4711) }))
	}
	must(t, os.Chmod(out+"/locked/deep", 0), os.Chmod(out+"/locked", 0), os.Chmod(out, 0))
	got, err := Collect(context.Background(), out, o)
	must(t, err)
	if got.Tree != want {
		t.Errorf("digest %s, want %s", got.Tree, want)
	}
	if got.Stats != (tree.Stats{Files: 7, Bytes: 13, Names: 12}) {
		t.Errorf("stats %+v", got.Stats)
	}
	modes := map[string]uint32{
		"": 0o755, "f": 0o444, "none": 0o444, "bin": 0o555, "bin/x": 0o555, "bin/y": 0o555, "z": 0o555, "bin/group": 0o444,
		"locked": 0o555, "locked/deep": 0o555, "locked/deep/f": 0o444, "shared": 0o555, "l": 0o777,
	}
	for p, mode := range modes {
		var st unix.Stat_t
		must(t, unix.Lstat(out+"/"+p, &st))
		if p == "" {
			st.Mtim = unix.Timespec{Sec: 1} // whoever registers it seals it
		}
		if st.Mode&0o7777 != mode || st.Mtim != (unix.Timespec{Sec: 1}) || int(st.Uid) != os.Geteuid() || int(st.Gid) != os.Getegid() {
			t.Errorf("%q: mode %04o, time %v, owner %d:%d", p, st.Mode&0o7777, st.Mtim, st.Uid, st.Gid)
		}
	}
	again, err := Collect(context.Background(), out, options())
	must(t, err)
	if again.Tree != got.Tree {
		t.Errorf("collected again the digest is %s", again.Tree)
	}
}

// expected describes what TestCanonical made.
func expected(t *testing.T) []tree.Entry {
	t.Helper()
	reference := output(t)
	for p, content := range map[string]string{"f": "f", "none": "none", "bin/group": "g", "locked/deep/f": "deep"} {
		write(t, reference+"/"+p, content, 0o644)
	}
	for _, p := range []string{"bin/x", "bin/y", "z"} {
		write(t, reference+"/"+p, "x", 0o755)
	}
	must(t, os.Symlink("bin/x", reference+"/l"), os.Mkdir(reference+"/shared", 0o755))
	var entries []tree.Entry
	root, err := os.Open(reference)
	must(t, err)
	defer root.Close()
	must(t, tree.Walk(context.Background(), root, false, func(n *tree.Node) error {
		if n.Path == "" {
			return nil
		}
		e := tree.Entry{Path: n.Path, Kind: n.Kind, Target: n.Target}
		if n.Kind == tree.File || n.Kind == tree.Executable {
			data, err := os.ReadFile(reference + "/" + n.Path)
			must(t, err)
			e.Size, e.Content = int64(len(data)), blake3.Sum256(data)
		}
		entries = append(entries, e)
		return nil
	}))
	return entries
}

// TestDropsACL needs a file system with access control lists.
func TestDropsACL(t *testing.T) {
	out := output(t)
	write(t, out+"/f", "", 0o644)
	// Version 2; user::rw-, user:4711:rw-, group::r--, mask::rw-, other::r-- (acl(5), linux/posix_acl_xattr.h).
	entry := func(tag, perm byte, id uint32) []byte {
		return []byte{tag, 0, perm, 0, byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24)}
	}
	const none = 0xffffffff
	list := []byte{2, 0, 0, 0}
	for _, e := range [][]byte{entry(1, 6, none), entry(2, 6, 4711), entry(4, 4, none), entry(16, 6, none), entry(32, 4, none)} {
		list = append(list, e...)
	}
	if err := unix.Setxattr(out+"/f", "system.posix_acl_access", list, 0); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("the file system of temporary directories has no access control lists")
	} else {
		must(t, err)
	}
	must(t, unix.Setxattr(out, "system.posix_acl_default", list, 0))
	_, err := Collect(context.Background(), out, options())
	must(t, err)
	for _, p := range []string{"", "/f"} {
		if n, err := unix.Listxattr(out+p, nil); err != nil || n != 0 {
			t.Errorf("%q still has attributes: %d bytes, %v", p, n, err)
		}
	}
}

func TestDeepOutput(t *testing.T) {
	out := output(t)
	at, err := unix.Open(out, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	for range 500 {
		must(t, unix.Mkdirat(at, "d", 0o311))
		next, err := unix.Openat(at, "d", unix.O_PATH, 0)
		must(t, err, unix.Close(at))
		at = next
	}
	must(t, unix.Close(at))
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 160, Max: old.Max}))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	if got, err := Collect(context.Background(), out, options()); err != nil || got.Stats.Names != 500 {
		t.Errorf("%d names, %v", got.Stats.Names, err)
	}
}

func TestEmptyAndMissing(t *testing.T) {
	out := output(t)
	empty, err := tree.DigestEntries(nil)
	must(t, err)
	got, err := Collect(context.Background(), out, options())
	if err != nil || got != (Result{Tree: empty}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := Collect(context.Background(), out+"/none", options()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	must(t, os.Symlink(".", out+"/l"))
	if _, err := Collect(context.Background(), out+"/l", options()); err == nil {
		t.Error("the root may be a link")
	}
}
