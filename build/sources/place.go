package sources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"hdjail/artifact"
	"hdjail/build/sources/unpack"
)

// Dest is a directory that sources are placed into, one at a time. Every entry made there belongs to UID and GID; making
// them another's than the caller's takes privilege.
type Dest struct {
	Dir      *os.File
	UID, GID int
}

// Place puts a stored source into a build directory, after comparing it with its digest: an archive is unpacked below
// src.Target, a file that is not to be unpacked gets the name src.Target, a tree is copied below it. Errors are
// *DigestError, *MissingError, *unpack.Refusal, *BadDigestError or the cause of ctx. After an error the caller removes
// dest, which may hold a part; nothing outside dest was written.
func (s *Store) Place(ctx context.Context, src artifact.Source, dest Dest) error {
	d, err := ParseDigest(src.Digest)
	if err != nil {
		return err
	}
	f, err := s.open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	o := unpack.Options{Target: src.Target, UID: dest.UID, GID: dest.GID}
	if d.IsFile() && !src.Unpack {
		o.Target = ""
	}
	if err := s.verify(ctx, d, f); err != nil {
		return err
	}
	t, err := unpack.NewTree(dest.Dir, o)
	if err == nil {
		if err = fill(ctx, f, d, src, t); err != nil {
			t.Abort()
		} else {
			err = t.Close()
		}
	}
	if err != nil {
		return fmt.Errorf("place source %q: %w", d, err)
	}
	return nil
}

// fill writes the source f into t.
func fill(ctx context.Context, f *os.File, d Digest, src artifact.Source, t *unpack.Tree) error {
	if !d.IsFile() {
		return unpack.Copy(ctx, f, t, nil)
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if src.Unpack {
		return unpack.Archive(ctx, f, info.Size(), t)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return t.File(src.Target, unpack.Content{Reader: f, Size: info.Size()})
}

// verify compares what is stored with its digest, by the descriptor that is then used.
func (s *Store) verify(ctx context.Context, d Digest, f *os.File) error {
	got, want := "", d.String()
	if d.IsFile() {
		digests, err := s.digests(ctx, f, d.Algorithm)
		if err != nil {
			return err
		}
		got = digests[0].String()
	} else {
		content, err := s.o.Tree(ctx, f)
		if err != nil {
			return fmt.Errorf("digest source %q: %w", d, err)
		}
		got = treeDigest(content).String()
		if d.Algorithm == "git" {
			noted, err := s.root.ReadFile(d.path() + ".digest")
			if errors.Is(err, os.ErrNotExist) {
				return &MissingError{Digest: d.String()}
			}
			if err != nil {
				return fmt.Errorf("read digest of source %q: %w", d, err)
			}
			want = "tree:" + strings.TrimPrefix(strings.TrimSpace(string(noted)), "blake3:")
		}
	}
	if got != want {
		return &DigestError{Want: want, Got: got, URL: path.Join(s.dir, d.path())}
	}
	return nil
}
