package sources

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/build/sources/unpack"
)

// archive is a tar.gz with p/a and p/b/c.
func archive(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range []string{"p/a", "p/b/c"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: 4, Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte("text"))
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// write makes files below a new directory: content by name; "->" and a target make a link, a name with a slash at its end a
// directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if target, ok := strings.CutPrefix(content, "->"); ok {
			err = errors.Join(err, os.Symlink(target, path))
		} else if strings.HasSuffix(name, "/") {
			err = errors.Join(err, os.MkdirAll(path, 0o755))
		} else {
			mode := os.FileMode(0o644)
			if strings.HasPrefix(content, "#!") {
				mode = 0o755
			}
			err = errors.Join(err, os.WriteFile(path, []byte(content), mode))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// read is the inverse of write.
func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
		switch d.Type() {
		case os.ModeSymlink:
			target, err := os.Readlink(path)
			files[name] = "->" + target
			return err
		case 0:
			data, err := os.ReadFile(path)
			files[name] = string(data)
			return err
		}
		if entries, err := os.ReadDir(path); err == nil && len(entries) == 0 {
			files[name+"/"] = ""
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, content := range want {
		if c, ok := got[name]; !ok || c != content {
			t.Errorf("%s is %q, want %q", name, c, content)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s should not be", name)
		}
	}
}

func place(t *testing.T, s *Store, dir string, src artifact.Source) error {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	return s.Place(context.Background(), src, Dest{d, os.Geteuid(), os.Getegid()})
}

func TestPlace(t *testing.T) {
	s := newStore(t, Options{})
	ctx := context.Background()
	dir := write(t, map[string]string{"x.tar.gz": string(archive(t)), "patch": "a patch", "tree/run": "#!/bin/sh", "tree/d/l": "->/etc", "tree/e/": ""})
	digests, err := s.Add(ctx, dir+"/x.tar.gz")
	if err != nil || len(digests) != 2 || digests[0].String() != sha(archive(t)) || digests[1].String() != b3(archive(t)) {
		t.Fatalf("%v %v", digests, err)
	}
	if again, err := s.Add(ctx, dir+"/x.tar.gz"); err != nil || again[0] != digests[0] {
		t.Errorf("%v %v", again, err)
	}
	patch, err := s.AddLocal(ctx, dir+"/patch")
	if err != nil || patch != b3([]byte("a patch")) {
		t.Fatal(patch, err)
	}
	tree, err := s.AddLocal(ctx, dir+"/tree")
	if err != nil || !strings.HasPrefix(tree, "tree:") {
		t.Fatal(tree, err)
	}
	if again, err := s.AddLocal(ctx, dir+"/tree"); err != nil || again != tree {
		t.Errorf("%v %v", again, err)
	}
	clean(t, s)
	build := t.TempDir()
	for _, c := range []struct {
		src  artifact.Source
		kind string
	}{
		{artifact.Source{Digest: digests[0].String(), Unpack: true}, ""},
		{artifact.Source{Digest: tree, Target: "sub/tree", Unpack: true}, ""},
		{artifact.Source{Digest: patch, Target: "sub/fix.patch"}, ""},
		{artifact.Source{Digest: digests[0].String(), Target: "x.tar.gz"}, ""},
		{artifact.Source{Digest: patch, Target: "a"}, "conflict"},
		{artifact.Source{Digest: patch, Target: ""}, "name"},
		{artifact.Source{Digest: patch, Target: "../x"}, "dotdot"},
		{artifact.Source{Digest: patch, Target: "sub/tree/d/l/x"}, "through-symlink"},
		{artifact.Source{Digest: patch, Unpack: true}, "archive"},
		{artifact.Source{Digest: tree, Target: "../x"}, "target"},
		{artifact.Source{Digest: digests[0].String(), Unpack: true}, "conflict"},
	} {
		err := place(t, s, build, c.src)
		var refusal *unpack.Refusal
		if errors.As(err, &refusal) != (c.kind != "") || refusal != nil && refusal.Kind != c.kind || c.kind == "" && err != nil {
			t.Errorf("%+v: %v, want %q", c.src, err, c.kind)
		}
	}
	same(t, read(t, build), map[string]string{"a": "text", "b/c": "text", "sub/tree/run": "#!/bin/sh", "sub/tree/d/l": "->/etc",
		"sub/tree/e/": "", "sub/fix.patch": "a patch", "x.tar.gz": string(archive(t))})
	var missing *MissingError
	if err := place(t, s, build, artifact.Source{Digest: sha(content)}); !errors.As(err, &missing) {
		t.Errorf("error %v", err)
	}
	var bad *BadDigestError
	if err := place(t, s, build, artifact.Source{Digest: "sha256:.."}); !errors.As(err, &bad) {
		t.Errorf("error %v", err)
	}
}

// TestPlaceCorrupt changes what is stored; that is found before the first byte is placed.
func TestPlaceCorrupt(t *testing.T) {
	s := newStore(t, Options{})
	dir := write(t, map[string]string{"file": "content", "tree/a": "b"})
	for _, name := range []string{"file", "tree"} {
		digest, err := s.AddLocal(context.Background(), filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(s.dir, strings.Replace(digest, ":", "/", 1))
		if name == "tree" {
			path = filepath.Join(path, "a")
		}
		if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, []byte("other"), 0o644)); err != nil {
			t.Fatal(err)
		}
		build := t.TempDir()
		var wrong *DigestError
		if err := place(t, s, build, artifact.Source{Digest: digest, Target: "t"}); !errors.As(err, &wrong) || wrong.Want != digest {
			t.Errorf("%s: %v", name, err)
		}
		same(t, read(t, build), map[string]string{"/": ""})
	}
}

func TestAddLocal(t *testing.T) {
	dir := write(t, map[string]string{"src/a": "1", "src/store/": "", "src/.git/config": "2", "src/link": "->a", "top": "->src"})
	s := newStore(t, Options{Root: filepath.Join(dir, "src/store")})
	ctx := context.Background()
	digest, err := s.AddLocal(ctx, dir+"/top")
	if err != nil {
		t.Fatal(err)
	}
	stored := filepath.Join(s.dir, strings.Replace(digest, ":", "/", 1))
	same(t, read(t, stored), map[string]string{"a": "1", ".git/config": "2", "link": "->a"})
	for name, want := range map[string]os.FileMode{"": 0o555, "a": 0o444, ".git": 0o555} {
		if info, err := os.Stat(filepath.Join(stored, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of %q is %v, want %v; %v", name, info.Mode(), want, err)
		}
	}
	if err := unix.Mkfifo(dir+"/src/pipe", 0o644); err != nil {
		t.Fatal(err)
	}
	var refusal *unpack.Refusal
	if _, err := s.AddLocal(ctx, dir+"/src"); !errors.As(err, &refusal) || refusal.Kind != "special" || refusal.Name != "pipe" {
		t.Errorf("error %v", err)
	}
	for _, name := range []string{"src/pipe", "none"} {
		if digest, err := s.AddLocal(ctx, filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was stored as %s", name, digest)
		}
	}
	clean(t, s)
	// A directory that a crash left, read-only too, goes with the next use; one in use stays.
	w, err := s.newWork()
	if err != nil {
		t.Fatal(err)
	}
	gone := s.holder
	gone.Start++
	dead := filepath.Join(s.dir, partial, gone.TempName())
	if err := errors.Join(os.MkdirAll(dead+"/tree/x", 0o755), os.Chmod(dead+"/tree", 0o555)); err != nil {
		t.Fatal(err)
	}
	s.sweep()
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a crash left is still there: %v", err)
	}
	if _, err := os.Stat(w.path()); err != nil {
		t.Error(err)
	}
	w.remove()
	clean(t, s)
}
