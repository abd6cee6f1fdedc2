package sources

import (
	"context"
	"errors"
	"os"

	"hdjail/artifact"
)

// Dest is a directory that sources are placed into. Every entry made there belongs to UID and GID; making them another's
// than the caller's takes privilege.
type Dest struct {
	Dir      *os.File
	UID, GID int
}

// Has reports whether the store holds the source with this digest.
func (s *Store) Has(digest string) bool { return false }

// Fetch brings a source into the store, unless it is there.
func (s *Store) Fetch(ctx context.Context, r Request, progress Progress) error {
	return errors.ErrUnsupported
}

// OpenFile opens a stored file for reading.
func (s *Store) OpenFile(digest string) (*os.File, error) { return nil, errors.ErrUnsupported }

// Add stores a file under its SHA-256.
func (s *Store) Add(ctx context.Context, path string) ([]Digest, error) {
	return nil, errors.ErrUnsupported
}

// AddLocal stores a file or a tree.
func (s *Store) AddLocal(ctx context.Context, path string) (string, error) {
	return "", errors.ErrUnsupported
}

// Place puts a source into a build directory.
func (s *Store) Place(ctx context.Context, src artifact.Source, dest Dest) error {
	return errors.ErrUnsupported
}
