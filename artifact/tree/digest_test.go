package tree

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"hdjail/artifact"
)

// plant writes a tree. The content of a file is in contents, by its digest.
func plant(t testing.TB, root string, list []Entry, contents map[[32]byte]string) {
	t.Helper()
	for _, e := range list {
		var err error
		p := filepath.Join(root, e.Path)
		switch e.Kind {
		case Directory:
			err = os.Mkdir(p, 0o755)
		case Link:
			err = os.Symlink(e.Target, p)
		case File:
			err = os.WriteFile(p, []byte(contents[e.Content]), 0o644)
		case Executable:
			err = os.WriteFile(p, []byte(contents[e.Content]), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func contentsOf(texts ...string) map[[32]byte]string {
	m := map[[32]byte]string{}
	for _, s := range texts {
		m[file("x", s).Content] = s
	}
	return m
}

func digest(t testing.TB, dir string) artifact.TreeDigest {
	t.Helper()
	d, err := DigestPath(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDigestOfFiles shows that the tree on disk has the digest of its entries, whatever order a directory lists them in.
func TestDigestOfFiles(t *testing.T) {
	parent := t.TempDir()
	contents := contentsOf("", "a", "b", "a/b")
	rapid.Check(t, func(rt *rapid.T) {
		list := entries().Draw(rt, "tree")
		root, err := os.MkdirTemp(parent, "")
		if err != nil {
			t.Fatal(err)
		}
		plant(t, root, list, contents)
		want, err := DigestEntries(list)
		if err != nil {
			rt.Fatal(err)
		}
		if got := digest(t, root); got != want {
			rt.Fatalf("digest %s, want %s", got, want)
		}
	})
}

func TestOwnerAndTimeDoNotCount(t *testing.T) {
	root := t.TempDir()
	plant(t, root, vectors["nested"], contentsOf("#!/bin/sh\n", "\x00"))
	want := digest(t, root)
	for _, change := range []func(string) error{
		func(p string) error { return os.Chmod(p, 0o700) },
		func(p string) error { return os.Chmod(p, 0o555|os.ModeSticky) },
		func(p string) error { return unix.UtimesNano(p, canonicalTimes[:]) },
	} {
		for _, p := range []string{"bin", "bin/hello", "empty", "."} {
			if err := change(filepath.Join(root, p)); err != nil {
				t.Fatal(err)
			}
		}
		if got := digest(t, root); got != want {
			t.Errorf("digest %s, want %s", got, want)
		}
	}
	if err := os.Chmod(filepath.Join(root, "bin/hello"), 0o655); err != nil {
		t.Fatal(err)
	}
	if digest(t, root) == want {
		t.Error("the executable bit of the owner does not count")
	}
	removeAll(t, filepath.Dir(root), filepath.Base(root)) // its directories are read-only
}

func TestDigestRefuses(t *testing.T) {
	plant := map[string]func(string) error{
		"fifo":   func(p string) error { return unix.Mkfifo(p, 0o600) },
		"socket": func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o600, 0) },
	}
	if os.Geteuid() == 0 {
		plant["device"] = func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) }
		plant["whiteout"] = func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o600, 0) }
	}
	for kind, make := range plant {
		root := t.TempDir()
		if err := os.Mkdir(root+"/d", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := make(root + "/d/x"); err != nil {
			t.Fatal(err)
		}
		_, err := DigestPath(context.Background(), root)
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Kind != kind || refused.Path != "d/x" {
			t.Errorf("%s: got %v", kind, err)
		}
	}
}

// TestChangeWhileRead changes a file after it was opened, and again in its last moment.
func TestChangeWhileRead(t *testing.T) {
	for name, change := range map[string]func(*os.File) error{
		"longer":  func(f *os.File) error { _, err := f.WriteAt([]byte("x"), 10); return err },
		"shorter": func(f *os.File) error { return f.Truncate(1) },
		"touched": func(f *os.File) error { return unix.Futimes(int(f.Fd()), []unix.Timeval{{Sec: 5}, {Sec: 5}}) },
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("content"); err != nil {
			t.Fatal(err)
		}
		j := &job{entry: Entry{Path: "f"}}
		j.node.FD, _ = unix.Open(f.Name(), unix.O_RDONLY, 0)
		if err := unix.Fstat(j.node.FD, &j.node.Stat); err != nil {
			t.Fatal(err)
		}
		if err := change(f); err != nil {
			t.Fatal(err)
		}
		var refused *RefusedError
		d := &digester{ctx: context.Background()}
		if err := new(hasher).run(d, j); !errors.As(err, &refused) || refused.Kind != "changed" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestSwap replaces an entry between the look at it and its opening.
func TestSwap(t *testing.T) {
	root := t.TempDir()
	for _, p := range []string{"f", "g"} {
		if err := os.WriteFile(root+"/"+p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(root+"/d", 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, p := range []string{"f", "d"} {
		swap := func(n *Node) error {
			if n.Path != p {
				return nil
			}
			if err := os.Rename(root+"/"+p, root+"/old-"+p); err != nil {
				return err
			}
			return os.Symlink("g", root+"/"+p)
		}
		_, _, err := Digest(context.Background(), r, Options{Visit: swap})
		if err == nil {
			t.Errorf("%s became a link and was read", p)
		}
	}
}

func TestCancel(t *testing.T) {
	root := t.TempDir()
	plant(t, root, vectors["order"], contentsOf("1", "2", "3", "4"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := DigestPath(ctx, root); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// deep makes nested directories by descriptor, as no path is that long, with a file in the lowest.
func deep(t testing.TB, root, name string, levels int) {
	t.Helper()
	at, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range levels {
		if err == nil {
			err = unix.Mkdirat(at, name, 0o755)
		}
		var next int
		if err == nil {
			next, err = unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
		unix.Close(at)
		at = next
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(at)
	fd, err := unix.Openat(at, "f", unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
}

// lowerFDLimit makes a function that opens too many descriptors fail.
func lowerFDLimit(t *testing.T, limit uint64) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	})
}

// TestDeep handles 2,000 levels with few descriptors: digest and remove, and a copy of fewer, as making them takes long.
func TestDeep(t *testing.T) {
	parent := t.TempDir()
	for _, d := range []string{"src", "less", "dst"} {
		if err := os.Mkdir(parent+"/"+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	deep(t, parent+"/src", "d", 2000)
	deep(t, parent+"/less", "d", 300)
	lowerFDLimit(t, 160)
	var list []Entry
	for i := range 2000 {
		list = append(list, dir(strings.Repeat("d/", i)+"d"))
	}
	list = append(list, file(strings.Repeat("d/", 2000)+"f", ""))
	want, err := DigestEntries(list)
	if err != nil {
		t.Fatal(err)
	}
	if got := digest(t, parent+"/src"); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	copyTree(t, parent+"/less", parent+"/dst")
	if got, want := digest(t, parent+"/dst"), digest(t, parent+"/less"); got != want {
		t.Errorf("digest of the copy %s, want %s", got, want)
	}
	removeAll(t, parent, "src", "less", "dst")
}

func TestTooDeep(t *testing.T) {
	parent := t.TempDir()
	if err := os.Mkdir(parent+"/src", 0o755); err != nil {
		t.Fatal(err)
	}
	deep(t, parent+"/src", strings.Repeat("d", 255), 17)
	var refused *RefusedError
	if _, err := DigestPath(context.Background(), parent+"/src"); !errors.As(err, &refused) || refused.Kind != "name" {
		t.Errorf("got %v", err)
	}
	removeAll(t, parent, "src")
}
