// Package dpkg reads the database of dpkg (Debian, Ubuntu): what is installed, what it depends on, which files it owns.
// It runs no program and writes nothing.
package dpkg

import (
	"context"
	"errors"

	"hdjail/hostpkgs"
)

// Database is the dpkg database below a root directory. It implements hostpkgs.Database; safe for concurrent use.
type Database struct{ root string }

// Open returns the database of the host whose root directory is root, absolute and clean. A root without a dpkg database
// gives an error for which errors.Is(err, fs.ErrNotExist) holds.
func Open(root string) (*Database, error) { return &Database{root}, nil }

// Fingerprint implements hostpkgs.Database.
func (db *Database) Fingerprint(ctx context.Context) (string, error) {
	return "", errors.ErrUnsupported
}

// Packages implements hostpkgs.Database.
func (db *Database) Packages(ctx context.Context) ([]hostpkgs.Package, error) {
	return nil, errors.ErrUnsupported
}

// Contents implements hostpkgs.Database.
func (db *Database) Contents(ctx context.Context, p hostpkgs.Package) (hostpkgs.Contents, error) {
	return hostpkgs.Contents{}, errors.ErrUnsupported
}

// Owner implements hostpkgs.Database.
func (db *Database) Owner(ctx context.Context, path string) (string, bool, error) {
	return "", false, errors.ErrUnsupported
}
