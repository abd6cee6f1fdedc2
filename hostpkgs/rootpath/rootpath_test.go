package rootpath

import (
	"os"
	"path/filepath"
	"testing"
)

// host is a made-up root: the links of a merged /usr, a closed folder, loops.
func host(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"usr/bin", "usr/lib/x", "closed/in", "open"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"bin": "usr/bin", "lib": "/usr/lib", "usr/up": "../open", "usr/far": "up/../usr/lib/x", "loop": "loop2", "loop2": "/loop",
		"way": "/closed/in", "usr/out": "../../../../usr/lib", "usr/bin/sh": "dash", "usr/share": "lib/./x/", "dead": "nowhere/at/all",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "closed"), 0o750); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestResolver(t *testing.T) {
	r := OnHost(host(t))
	for _, c := range []struct {
		path         string
		name, follow Real
	}{
		{"/", Real{Path: "/"}, Real{Path: "/"}},
		{"/bin", Real{Path: "/bin"}, Real{Path: "/usr/bin"}},
		{"/bin/sh", Real{Path: "/usr/bin/sh"}, Real{Path: "/usr/bin/dash"}},
		{"/bin/../bin/sh", Real{Path: "/usr/bin/sh"}, Real{Path: "/usr/bin/dash"}},
		{"/lib/x/libc.so", Real{Path: "/usr/lib/x/libc.so"}, Real{Path: "/usr/lib/x/libc.so"}},
		{"/usr/up/a/b", Real{Path: "/open/a/b"}, Real{Path: "/open/a/b"}},
		{"/usr/far/y", Real{Path: "/usr/lib/x/y"}, Real{Path: "/usr/lib/x/y"}},
		{"/usr/out/x", Real{Path: "/usr/lib/x"}, Real{Path: "/usr/lib/x"}},
		{"/usr/share/doc", Real{Path: "/usr/lib/x/doc"}, Real{Path: "/usr/lib/x/doc"}},
		{"/dead/end", Real{Path: "/nowhere/at/all/end"}, Real{Path: "/nowhere/at/all/end"}},
		{"/closed", Real{Path: "/closed"}, Real{Path: "/closed", Closed: true}},
		{"/closed/in", Real{Path: "/closed/in", Closed: true}, Real{Path: "/closed/in", Closed: true}},
		{"/way/f", Real{Path: "/closed/in/f", Closed: true}, Real{Path: "/closed/in/f", Closed: true}},
	} {
		if got := r.Name(c.path); got != c.name {
			t.Errorf("Name(%q) = %+v, want %+v", c.path, got, c.name)
		}
		if got := r.Follow(c.path); got != c.follow {
			t.Errorf("Follow(%q) = %+v, want %+v", c.path, got, c.follow)
		}
	}
}

func TestLoopIsClosed(t *testing.T) {
	r := OnHost(host(t))
	for range 2 { // the second time from memory
		if got := r.Name("/loop/f"); !got.Closed {
			t.Errorf("Name(/loop/f) = %+v, want it closed", got)
		}
	}
}
