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
	"hdjail/artifact/lease"
	"hdjail/artifact/tree"
	"hdjail/build/sources/unpack"
)

// workDir is a directory below partial/ for one job. Its name tells the living from those that a crash left.
type workDir struct {
	s    *Store
	name string
}

// newWork makes a work directory.
func (s *Store) newWork() (*workDir, error) {
	w := &workDir{s: s, name: partial + "/" + s.holder.TempName()}
	if err := s.root.Mkdir(w.name, 0o700); err != nil {
		return nil, fmt.Errorf("make work directory: %w", err)
	}
	return w, nil
}

func (w *workDir) path() string { return filepath.Join(w.s.dir, w.name) }

func (w *workDir) remove() { w.s.removeWork(filepath.Base(w.name)) }

// sweep removes the work directories and locks of dead processes of this machine. What cannot be removed is swept later.
func (s *Store) sweep() {
	entries, _ := fs.ReadDir(s.root.FS(), partial)
	for _, e := range entries {
		if e.IsDir() && s.holder.Abandoned(e.Name()) {
			s.removeWork(e.Name())
		}
	}
	_ = lease.Sweep(filepath.Join(s.dir, partial), s.holder)
}

// removeWork deletes a work directory. What cannot be deleted is swept later.
func (s *Store) removeWork(name string) {
	if dir, err := s.root.Open(partial); err == nil {
		_ = tree.Remove(dir, name)
		dir.Close()
	}
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
