// Package index finds the packages that own a path, in memory. An index is one file: a tree of the folders that packages
// have, as they are on the host, with the links among them. It is pure: a Builder makes the bytes, Open reads them.
package index

import (
	"path"
	"slices"
	"strings"
)

// Owner is a package that owns a path. Package is its name as the package manager prints it: with ":architecture" where
// the name alone could mean several, and as a whitelist takes it.
type Owner struct {
	Package      string `json:"package"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
}

// Package is what an index knows of a package.
type Package struct {
	Owner
	// Name is that without an architecture.
	Name string `json:"name"`
	// Installed is false for a package that owns files without being completely installed.
	Installed bool `json:"installed"`
	// Fingerprint and Config are those of its contents in the package database.
	Fingerprint string   `json:"fingerprint"`
	Config      []string `json:"config,omitempty"`
	// Made lists patterns, in the form of path.Match, of what it makes without listing it; a folder counts with all in it.
	Made []string `json:"made,omitempty"`
}

// Index answers which packages own a path. It does not look at the host and never changes: safe for concurrent use. What
// its methods return is shared, so callers do not write to it.
type Index struct {
	packages []Package
	byName   map[string][]Package
	owners   [][]Owner
	made     []made
	folders  []byte // of each folder, and of the end, the number of its first entry
	entries  []byte
	names    []byte
}

// maxLinks bounds a chain of links, like the kernel's 40 (path_resolution(7)).
const maxLinks = 40

// Owners returns the packages that own an absolute path, sorted by name; the path may lead through links of the host. A
// link that no package owns, like one of update-alternatives(1), belongs to whom its target belongs to. A folder has an
// owner only if exactly one package lists it. What no package lists belongs to the package that is known to make it:
// compiled Python to that of its source. The result is empty if nobody is known.
func (x *Index) Owners(name string) []Owner {
	if !path.IsAbs(name) {
		return nil
	}
	w := walk{x: x, way: make([]step, 0, 16), dir: make([]byte, 0, 256)} // most need no more
	for range maxLinks {
		e, ok := w.find(name)
		if !ok {
			return x.unlisted(w.real())
		}
		owners := x.ownersOf(e)
		if len(owners) > 1 && w.leadsToFolder(e) {
			return nil
		}
		if len(owners) > 0 || e.kind != isLink {
			return owners
		}
		name = x.target(e)
	}
	return nil
}

// Installed returns the completely installed packages of a name, with or without ":architecture", sorted by
// architecture and version. Several are of different architectures, or of a kind that rpm installs side by side.
func (x *Index) Installed(name string) []Package { return x.byName[name] }

// Version returns the installed version of a package, named as Installed takes it; of several the first.
func (x *Index) Version(name string) (string, bool) {
	if found := x.byName[name]; len(found) > 0 {
		return found[0].Version, true
	}
	return "", false
}

// made is a pattern of paths that packages make. Literal is what it begins with, depth the number of its components.
type made struct {
	pattern, literal string
	depth            int
	owners           []Owner
}

// collect fills in what is looked up by name or by pattern.
func (x *Index) collect() {
	x.byName = map[string][]Package{}
	for _, p := range x.packages {
		if p.Installed {
			for _, name := range slices.Compact([]string{p.Name, p.Owner.Package}) {
				x.byName[name] = append(x.byName[name], p)
			}
		}
		for _, pattern := range p.Made {
			x.make(pattern, p.Owner)
		}
	}
	slices.SortStableFunc(x.made, func(a, b made) int { return b.depth - a.depth })
}

func (x *Index) make(pattern string, by Owner) {
	i := slices.IndexFunc(x.made, func(m made) bool { return m.pattern == pattern })
	if i < 0 {
		literal := pattern
		if end := strings.IndexAny(pattern, `*?[\`); end >= 0 {
			literal = pattern[:end]
		}
		i, x.made = len(x.made), append(x.made, made{pattern: pattern, literal: literal, depth: strings.Count(pattern, "/")})
	}
	x.made[i].owners = append(x.made[i].owners, by)
}

// unlisted returns who makes a path that no package lists, of several patterns by the deepest. The path is real.
func (x *Index) unlisted(real string) []Owner {
	if source, ok := sourceOf(real); ok {
		w := walk{x: x}
		if e, ok := w.find(source); ok {
			return x.ownersOf(e)
		}
	}
	for _, m := range x.made {
		if !strings.HasPrefix(real, m.literal) {
			continue
		}
		if ok, _ := path.Match(m.pattern, ancestor(real, m.depth)); ok { // errs on a bad pattern only
			return m.owners
		}
	}
	return nil
}

// sourceOf returns the Python source that a file is compiled from, as PEP 3147 names them.
func sourceOf(name string) (string, bool) {
	dir, base := path.Split(name)
	parent, cached := strings.CutSuffix(dir, "__pycache__/")
	module, _, tagged := strings.Cut(base, ".cpython-")
	return parent + module + ".py", cached && tagged && strings.HasSuffix(base, ".pyc")
}

// ancestor returns the first components of an absolute, clean path, all if there are not more.
func ancestor(name string, components int) string {
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		if components == 0 {
			return name[:i]
		}
		components--
	}
	return name
}
