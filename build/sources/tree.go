package sources

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/tree"
	"hdjail/build/sources/unpack"
)

// workDir is a directory below partial/ for one job. The lock on it tells the living from those that a crash left.
type workDir struct {
	s    *Store
	name string
	f    *os.File
}

const workPrefix = "work-"

// newWork makes a work directory and removes those of jobs that died.
func (s *Store) newWork() (*workDir, error) {
	s.sweep()
	for {
		path, err := os.MkdirTemp(filepath.Join(s.dir, partial), workPrefix)
		if err != nil {
			return nil, fmt.Errorf("make work directory: %w", err)
		}
		w := &workDir{s: s, name: partial + "/" + filepath.Base(path)}
		if w.f, err = s.root.Open(w.name); err != nil {
			continue // another's sweep was faster than the lock
		}
		if unix.Flock(int(w.f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && s.current(w.f, w.name) {
			return w, nil
		}
		w.f.Close()
	}
}

func (w *workDir) path() string { return filepath.Join(w.s.dir, w.name) }

func (w *workDir) remove() {
	w.s.removeWork(filepath.Base(w.name))
	w.f.Close()
}

func (s *Store) sweep() {
	entries, err := fs.ReadDir(s.root.FS(), partial)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), workPrefix) {
			continue
		}
		name := partial + "/" + e.Name()
		if f, err := s.root.Open(name); err == nil {
			if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
				s.removeWork(e.Name())
			}
			f.Close()
		}
	}
}

// removeWork deletes a work directory. What cannot be deleted is swept later.
func (s *Store) removeWork(name string) {
	if dir, err := s.root.Open(partial); err == nil {
		_ = tree.Remove(dir, name)
		dir.Close()
	}
}

// current reports whether path still leads to f.
func (s *Store) current(f *os.File, path string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := s.root.Lstat(path)
	return err == nil && os.SameFile(held, named)
}

// keepTree lets fill write a tree and stores it, read-only, under the digest that call gives it.
func (s *Store) keepTree(ctx context.Context, w *workDir, fill func(*unpack.Tree) error,
	call func(artifact.TreeDigest) (Digest, error)) (Digest, error) {
	name := w.name + "/tree"
	if err := s.root.Mkdir(name, 0o755); err != nil {
		return Digest{}, fmt.Errorf("store tree: %w", err)
	}
	dir, err := s.root.Open(name)
	if err != nil {
		return Digest{}, fmt.Errorf("store tree: %w", err)
	}
	defer dir.Close()
	t, err := unpack.NewTree(dir, unpack.Options{UID: os.Geteuid(), GID: os.Getegid(), ReadOnly: true, MaxBytes: s.o.MaxBytes})
	if err != nil {
		return Digest{}, err
	}
	if err := fill(t); err != nil {
		t.Abort()
		return Digest{}, err
	}
	if err := t.Close(); err != nil {
		return Digest{}, err
	}
	content, err := s.o.Tree(ctx, dir)
	if err != nil {
		return Digest{}, fmt.Errorf("digest tree: %w", err)
	}
	d, err := call(content)
	if err != nil || s.has(d) {
		return d, err
	}
	// A directory can be moved to another parent only while it is writable.
	if err := errors.Join(unix.Syncfs(int(dir.Fd())), dir.Chmod(0o755)); err != nil {
		return d, fmt.Errorf("store source %q: %w", d, err)
	}
	if err := s.root.Rename(name, d.path()); err != nil && !s.has(d) {
		return d, fmt.Errorf("store source %q: %w", d, err)
	}
	return d, errors.Join(dir.Chmod(0o555), s.syncDir(d.Algorithm))
}

// AddLocal stores a local file or tree as it is now and returns its digest: "blake3:" and 64 hexadecimal digits for a
// file, "tree:" and 64 for a directory. A link at path itself is followed, one below it never; sockets, pipes and devices
// are refused with *unpack.Refusal; a store inside the tree is left out.
func (s *Store) AddLocal(ctx context.Context, path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("add source: %w", err)
	}
	if !info.IsDir() {
		digests, err := s.addFile(ctx, path, "blake3")
		if err != nil {
			return "", err
		}
		return digests[0].String(), nil
	}
	d, err := s.addTree(ctx, path)
	if err != nil {
		return "", fmt.Errorf("add source %q: %w", path, err)
	}
	return d.String(), nil
}

func (s *Store) addTree(ctx context.Context, path string) (Digest, error) {
	src, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return Digest{}, err
	}
	defer src.Close()
	// Most trees are there already, and reading is cheaper than copying. An error here is one of the copy, which says more.
	if content, err := s.o.Tree(ctx, src); err == nil && s.has(treeDigest(content)) {
		return treeDigest(content), nil
	}
	store, err := os.Stat(s.o.Root)
	if err != nil {
		return Digest{}, err
	}
	w, err := s.newWork()
	if err != nil {
		return Digest{}, err
	}
	defer w.remove()
	fill := func(t *unpack.Tree) error {
		return unpack.Copy(ctx, src, t, func(info fs.FileInfo) bool { return os.SameFile(info, store) })
	}
	return s.keepTree(ctx, w, fill, func(d artifact.TreeDigest) (Digest, error) { return treeDigest(d), nil })
}

func treeDigest(d artifact.TreeDigest) Digest {
	return Digest{"tree", strings.TrimPrefix(d.String(), "blake3:")}
}
