package tree

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func removeAll(t *testing.T, parent string, names ...string) {
	t.Helper()
	p, err := os.Open(parent)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, name := range names {
		if err := Remove(p, name); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(parent + "/" + name); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
}

func copyTree(t *testing.T, src, dst string) {
	t.Helper()
	from, err := Open(src, false)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := Open(dst, false)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if err := Copy(context.Background(), from, to); err != nil {
		t.Fatal(err)
	}
}

// TestRemoveHostile removes what a build may leave, and nothing that its links lead to.
func TestRemoveHostile(t *testing.T) {
	parent := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(parent+"/canary", 0o755))
	must(os.WriteFile(parent+"/canary/f", nil, 0o644))
	root := parent + "/tree"
	must(os.MkdirAll(root+"/a/b/c/d", 0o755))
	must(os.MkdirAll(root+"/a/.removed-1/x", 0o755)) // the names that directories get on their way
	must(os.MkdirAll(root+"/.removed-1/x", 0o755))
	must(os.WriteFile(root+"/.removed-2", nil, 0))
	must(os.Mkdir(root+"/.removed-3", 0o755))
	must(os.Symlink("../canary", root+"/link"))
	must(os.Symlink("../../../../canary", root+"/a/b/c/link"))
	must(unix.Mkfifo(root+"/a/fifo", 0))
	must(os.WriteFile(root+"/a/b/c/d/f", nil, 0))
	for i := range 300 {
		must(os.MkdirAll(root+"/a/many/"+strconv.Itoa(i)+"/x", 0o755))
	}
	for _, p := range []string{"a/b/c/d", "a/b/c", "a/b", "a/many/7", "a", "."} {
		must(os.Chmod(filepath.Join(root, p), 0))
	}
	removeAll(t, parent, "tree", "tree")
	if _, err := os.Lstat(parent + "/canary/f"); err != nil {
		t.Error(err)
	}
	must(os.Symlink("canary", parent+"/top"))
	removeAll(t, parent, "top")
	if _, err := os.Lstat(parent + "/canary/f"); err != nil {
		t.Error(err)
	}
	p, err := os.Open(parent)
	must(err)
	defer p.Close()
	for _, name := range []string{"", ".", "..", "canary/f"} {
		if Remove(p, name) == nil {
			t.Errorf("%q was removed", name)
		}
	}
}

func TestCopyIsCanonical(t *testing.T) {
	parent := t.TempDir()
	for _, d := range []string{"src", "dst"} {
		if err := os.Mkdir(parent+"/"+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	plant(t, parent+"/src", vectors["nested"], contentsOf("#!/bin/sh\n", "\x00"))
	copyTree(t, parent+"/src", parent+"/dst")
	if got, want := digest(t, parent+"/dst"), digest(t, parent+"/src"); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	for p, mode := range map[string]uint32{"bin": 0o555, "bin/hello": 0o555, "zero\n": 0o444, "empty": 0o555, "lib": 0o777} {
		var st unix.Stat_t
		if err := unix.Lstat(parent+"/dst/"+p, &st); err != nil || st.Mode&0o7777 != mode || st.Mtim.Sec != 1 || st.Mtim.Nsec != 0 {
			t.Errorf("%s: mode %o, time %v (%v)", p, st.Mode, st.Mtim, err)
		}
	}
	removeAll(t, parent, "dst")
}
