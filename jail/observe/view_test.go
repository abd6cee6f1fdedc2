package observe

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hdjail/mounts"
	"hdjail/policies"
)

func TestNormal(t *testing.T) {
	for _, test := range []struct{ base, typed, want string }{
		{"/build", "a", "/build/a"},
		{"/build", "/a", "/a"},
		{"/", "a", "/a"},
		{"/build", "", "/build"},
		{"/build", ".", "/build"},
		{"/build", "./a/./b/.", "/build/a/b"},
		{"/build", "//a///b//", "/a/b"},
		{"/build", "../x", "/build/../x"},
		{"/build", "/..", "/.."},
		{"/build", "/", "/"},
		{"/", ".", "/"},
		{"/build", ".a/..b", "/build/.a/..b"},
		{"/build", "a\xff\nb", "/build/a\xff\nb"},
	} {
		if got := string(normal(nil, test.base, []byte(test.typed))); got != test.want {
			t.Errorf("%q at %q: %q, want %q", test.typed, test.base, got, test.want)
		}
	}
}

// jailTree is a root directory as a jail has one: /build is writable, the rest is not.
func jailTree(t *testing.T) *view {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"build/full", "build/empty", "build/locked", "usr/bin", "etc", "proc/self", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"build/full/file": "text", "build/file": "text", "etc/passwd": "x", "usr/bin/data": "no program",
		"build/secret": "x", "build/script": "#! /usr/bin/prog -x\n", "build/lost": "#!/nowhere\n", "build/relative": "#!script\n",
		"usr/bin/prog": string(elfHeader("/lib/ld.so")), "usr/bin/static": string(elfHeader("")), "build/loop": "#!loop\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"bin": "usr/bin", "build/link": "/etc/passwd", "build/dangling": "nowhere", "build/round": "round",
		"build/up": "../../../../etc", "build/twice": "link"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"build/secret": 0, "etc/passwd": 0o444, "usr/bin/data": 0o644, "build/locked": 0o500} {
		path := filepath.Join(root, name)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(path, 0o700) })
	}
	if err := unix.Mkfifo(filepath.Join(root, "build/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	table := mounts.Table{Entries: []mounts.Entry{
		{Target: "/build", Kind: mounts.Bind, Source: "/scratch", Writable: true},
		{Target: "/usr", Kind: mounts.Bind, Source: "/usr"},
		{Target: "/proc", Kind: mounts.Proc},
	}}
	// The files are the tester's, who may be root: ids, not rights, are what is compared.
	return &view{root: fd, proc: -1, areas: newAreas(table, policies.ModeHide, nil),
		ids: ids{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}, known: map[lookKey]look{}, headers: map[string][]byte{}}
}

func TestLook(t *testing.T) {
	v := jailTree(t)
	for _, test := range []struct {
		path     string
		follow   bool
		errno    syscall.Errno
		resolved string
		via      string
	}{
		{"/build/file", true, 0, "/build/file", ""},
		{"/build/nowhere/x", true, unix.ENOENT, "/build/nowhere/x", ""},
		{"/build/file/x", true, unix.ENOTDIR, "/build/file/x", ""},
		{"/build/link", true, 0, "/etc/passwd", "/build/link"},
		{"/build/link", false, 0, "/build/link", ""},
		{"/build/twice", true, 0, "/etc/passwd", "/build/twice /build/link"},
		{"/build/dangling", true, unix.ENOENT, "/build/nowhere", "/build/dangling"},
		{"/bin/prog", false, 0, "/usr/bin/prog", "/bin"},
		{"/bin/nowhere", true, unix.ENOENT, "/usr/bin/nowhere", "/bin"},
		{"/bin/../etc/passwd", true, unix.ENOENT, "/usr/etc/passwd", "/bin"},
		{"/../../etc/passwd", true, 0, "/etc/passwd", ""},
		{"/build/up/passwd", true, 0, "/etc/passwd", "/build/up"},
		{"/", true, 0, "/", ""},
	} {
		for range 2 { // the second answer may be a remembered one
			got := v.at([]byte(test.path), 1, test.follow)
			if got.errno != test.errno || got.resolved != test.resolved || strings.Join(got.via, " ") != test.via {
				t.Errorf("%s (follow %v): %v, %s via %v", test.path, test.follow, got.errno, got.resolved, got.via)
			}
		}
	}
	if got := v.at([]byte("/build/round"), 1, true); got.errno != unix.ELOOP || len(got.via) <= maxLinks {
		t.Errorf("a loop of links ends with %v after %d", got.errno, len(got.via))
	}
	for key := range v.known {
		if strings.HasPrefix(key.path, "/build/file") {
			t.Errorf("%s is remembered, and may change", key.path)
		}
	}
}

func TestAreas(t *testing.T) {
	table := mounts.Table{Entries: []mounts.Entry{
		{Target: "/build", Kind: mounts.Bind, Source: "/store/tmp/x", Writable: true},
		{Target: "/usr", Kind: mounts.Bind, Source: "/store/tree/usr"},
		{Target: "/srv/data/set", Kind: mounts.Bind, Source: "/srv/data/set"},
		{Target: "/opt", Kind: mounts.Bind, Source: "/opt"},
		{Target: "/opt/secret", Kind: mounts.Bind, Source: "/store/empty", Covers: true},
		{Target: "/proc", Kind: mounts.Proc},
		{Target: "/dev/null", Kind: mounts.Bind, Source: "/dev/null", Device: true, Writable: true},
		{Target: "/bin", Kind: mounts.Symlink, Source: "usr/bin"},
		{Target: "/mnt", Kind: mounts.Dir},
	}}
	for _, test := range []struct {
		mode  policies.Mode
		path  string
		kind  areaKind
		leads bool
	}{
		{policies.ModeHide, "/build/a/b", areaOwn, false},
		{policies.ModeHide, "/usr/lib/x", areaListed, false},
		{policies.ModeHide, "/opt/x", areaListed, false},
		{policies.ModeLog, "/opt/x", areaHost, true}, // not itself: /opt/secret covers
		{policies.ModeLog, "/srv/data/set/x", areaListed, false},
		{policies.ModeLog, "/opt/secret/x", areaCovered, false},
		{policies.ModeLog, "/proc/self/maps", areaOwn, false},
		{policies.ModeLog, "/dev/null", areaOwn, false},
		{policies.ModeHide, "/bin", areaListed, false},
		{policies.ModeLog, "/bin", areaHost, false},
		{policies.ModeHide, "/srv/data", areaSkeleton, true},
		{policies.ModeHide, "/mnt", areaSkeleton, false},
		{policies.ModeHide, "/nowhere", areaSkeleton, false},
		{policies.ModeHide, "/", areaSkeleton, true},
	} {
		a := newAreas(table, test.mode, []string{"/srv/data/set"})
		if got := a.of(test.path); got.kind != test.kind {
			t.Errorf("%s in mode %s: kind %d, want %d", test.path, test.mode, got.kind, test.kind)
		}
		if test.kind == areaSkeleton && a.leads(test.path) != test.leads {
			t.Errorf("%s in mode %s: leads %v", test.path, test.mode, !test.leads)
		}
	}
	if a := newAreas(table, policies.ModeHide, nil).of("/build/x"); !a.writable || a.target != "/build" {
		t.Errorf("the area of the build is %+v", a)
	}
}
