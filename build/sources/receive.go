package sources

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/tree"
	"hdjail/build/sources/unpack"
)

// Receive stores what another process has opened, under the digest that it must have: the content of a file, or for "tree:"
// a tar stream that Pack wrote. from is read once, to its end. Content with another digest gives *DigestError, and nothing is
// kept of it.
func (s *Store) Receive(ctx context.Context, digest string, from *os.File) error {
	d, err := ParseDigest(digest)
	if err != nil {
		return err
	}
	if s.has(d) {
		return nil
	}
	if d.Algorithm == "git" {
		return fmt.Errorf("receive source %q: a commit is more than its tree", d)
	}
	// Without the lock of the digest: whoever sends slowly would keep everybody else from that source.
	w, err := s.newWork()
	if err != nil {
		return err
	}
	defer w.remove()
	if d.Algorithm == "tree" {
		return s.receiveTree(ctx, d, from, w)
	}
	in := &intake{s: s, d: d, name: w.name + "/file", hash: newHash(d.Algorithm)}
	if in.f, err = s.root.OpenFile(in.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return fmt.Errorf("receive source %q: %w", d, err)
	}
	defer in.f.Close()
	return in.copyIn(ctx, from, func(int64, int64) {})
}

func (s *Store) receiveTree(ctx context.Context, d Digest, from io.Reader, w *workDir) error {
	_, err := s.keepTree(ctx, w, func(t *unpack.Tree) error { return unpack.Stream(ctx, from, t) },
		func(content artifact.TreeDigest) (Digest, error) {
			if got := treeDigest(content); got != d {
				return d, &DigestError{Want: d.String(), Got: got.String(), URL: "its user"}
			}
			return d, nil
		})
	return err
}

// Size is how many bytes a stored source has, its files together.
func (s *Store) Size(ctx context.Context, digest string) (int64, error) {
	d, err := ParseDigest(digest)
	if err != nil {
		return 0, err
	}
	f, err := s.open(d)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if d.IsFile() {
		info, err := f.Stat()
		if err != nil {
			return 0, err
		}
		return info.Size(), nil
	}
	return tree.Bytes(ctx, f)
}

// Pack writes the tree below the open directory dir as a tar stream, in the order of its encoding.
func Pack(ctx context.Context, dir *os.File, to io.Writer) error {
	out := tar.NewWriter(to)
	err := tree.Walk(ctx, dir, false, func(n *tree.Node) error {
		if n.Path == "" {
			return nil
		}
		// The GNU form holds every name, and names of any length.
		h := tar.Header{Name: n.Path, Mode: 0o644, Format: tar.FormatGNU}
		switch n.Kind {
		case tree.Directory:
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		case tree.Link:
			h.Typeflag, h.Linkname = tar.TypeSymlink, n.Target
		default:
			if n.Kind == tree.Executable {
				h.Mode = 0o755
			}
			return packFile(out, h, n)
		}
		return out.WriteHeader(&h)
	})
	if err != nil {
		return fmt.Errorf("pack %q: %w", dir.Name(), err)
	}
	return out.Close()
}

func packFile(out *tar.Writer, h tar.Header, n *tree.Node) error {
	fd, err := unix.Openat(n.Dir, n.Name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: n.Path, Err: err}
	}
	f := os.NewFile(uintptr(fd), n.Path)
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &tree.RefusedError{Path: n.Path, Kind: "changed", Detail: "it is no file any more"}
	}
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := out.WriteHeader(&h); err != nil {
		return err
	}
	_, err = io.CopyN(out, f, h.Size) // a file that grows or shrinks gives another digest, or an error
	return err
}
