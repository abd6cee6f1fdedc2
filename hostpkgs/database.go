package hostpkgs

import "context"

// Database is a package database of a host. Its methods may be called by several goroutines.
type Database interface {
	// Fingerprint changes whenever a package is installed, removed or upgraded. It must be cheap: a few stat calls.
	Fingerprint(ctx context.Context) (string, error)
	// Packages lists what is completely installed.
	Packages(ctx context.Context) ([]Package, error)
	// Remains lists what owns files without being completely installed: not configured yet, or removed but for its
	// configuration.
	Remains(ctx context.Context) ([]Package, error)
	// Contents lists what a package of Packages or Remains installed. Without a list of its files it gives an error for
	// which errors.Is(err, fs.ErrNotExist) holds.
	Contents(ctx context.Context, p Package) (Contents, error)
}

// Package is an installed package.
type Package struct {
	Name, Architecture, Version string
	// Depends is what it needs to run: of each group one member, the first that is installed.
	Depends [][]Dependency
	// Provides lists the further names that satisfy a dependency.
	Provides []string
	// Native marks a package of the host's own architecture, or of all.
	Native bool
	// Coinstallable marks one that the same package of another architecture may be installed beside.
	Coinstallable bool
}

// Dependency is the name of a package or of something provided. Arch is "" for the architecture of the package that
// depends, and "any" for whichever there is. Versions are left out: the host's package manager has checked them.
type Dependency struct{ Name, Arch string }

// Contents is what a package installed. Paths are absolute and clean, as the database spells them, after diversions; some
// may not exist. Config lists those that an administrator may edit. Fingerprint changes when the package is installed anew.
type Contents struct {
	Paths       []string
	Config      []string
	Fingerprint string
}

// String returns "name" or "name:arch".
func (d Dependency) String() string {
	if d.Arch == "" {
		return d.Name
	}
	return d.Name + ":" + d.Arch
}
