// Package rpm reads the database of rpm (Fedora, openSUSE, Enterprise Linux) by running rpm(8), because the format of the
// database differs by release.
package rpm

import (
	"context"
	"errors"

	"hdjail/hostpkgs"
)

// Config says where a database is. The zero value is the host's own.
type Config struct {
	// Root is the root directory that paths are relative to, "" for "/".
	Root string
	// DBPath is the folder of the database, absolute, "" for rpm's own default.
	DBPath string
	// Program is the path of rpm, "" for the one on PATH.
	Program string
}

// Database is an rpm database. It implements hostpkgs.Database; safe for concurrent use.
type Database struct{ cfg Config }

// Open returns the database that cfg names. Without the program rpm it gives an error for which
// errors.Is(err, exec.ErrNotFound) holds.
func Open(cfg Config) (*Database, error) { return &Database{cfg}, nil }

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
