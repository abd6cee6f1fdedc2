package hostpkgs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"hdjail/hostpkgs/rootpath"
)

// Config is what a Host works with. Database, Dir and Digest are required.
type Config struct {
	// Database lists what is installed.
	Database Database
	// Root is the host's root directory, absolute and clean; "" means "/". It is the root that Database describes.
	Root string
	// Dir holds snapshots, trees and caches; it must exist and be writable by nobody else. If it cannot be written, only
	// what takes no snapshot works.
	Dir string
	// Digest returns the digest of a tree in its text form, "blake3:" and 64 hexadecimal digits.
	Digest func(ctx context.Context, dir string) (string, error)
	// TempName makes a name for a folder that tells which process holds it, and Abandoned tells of one whether that process is
	// gone. Nil: names are random, and nobody removes what a process leaves that is killed.
	TempName  func() string
	Abandoned func(name string) bool
	// Progress, when not nil, is called after each package that a first Pin looked at: it was the done-th of total.
	// Calls do not overlap.
	Progress func(done, total int, name string)
}

// Host pins and composes packages of one host. It remembers what it has pinned: whoever wants to see an upgrade makes a
// new Host. Safe for concurrent use, by several processes on one Config.Dir too.
type Host struct {
	cfg   Config
	busy  token // taken by whoever reads or writes the next two fields, or writes to Dir
	memo  map[string]Report
	names *rootpath.Resolver // of the host, as of the last time that something was pinned

	indexing token // taken by whoever reads or writes the next field; whoever is busy may take it, too
	owners   indexed
}

// Pinned is one package of a closure, with the snapshot that a build sees of it.
type Pinned struct {
	Name         string `json:"name"`
	Architecture string `json:"architecture"`
	Version      string `json:"version"`
	// Digest is that of the snapshot, in text form.
	Digest string `json:"digest"`
	// Files counts regular files and symbolic links, Bytes the content of the regular files.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Omitted lists what the package installed but the snapshot leaves out, sorted by path.
	Omitted []Omission `json:"omitted,omitempty"`
}

// Omission is a path of a package that is not in its snapshot.
type Omission struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// Report is a pinned closure. Packages is sorted by name and architecture. If it is not empty, one entry more than
// there are packages is named HostLinks: the links of the host that no package owns.
type Report struct {
	Packages []Pinned `json:"packages"`
	// Unmet lists dependencies that the host itself does not satisfy.
	Unmet []Unmet `json:"unmet,omitempty"`
}

// HostLinks is the name of the entry of a pinned closure that is no package: the usr-merge links of the host's root and
// the alternatives (update-alternatives(1)) whose target is in the closure. It is pinned like a package, so that what a
// build sees depends on its pins alone.
const HostLinks = "@links"

// Mountpoint is a path, absolute and clean, that must exist in a composed tree: as a directory, or as a file.
type Mountpoint struct {
	Path string
	Dir  bool
}

// Tree is a composition on disk, immutable. Path is its root directory.
type Tree struct {
	Path string
	// Top lists the entries of the root directory, sorted by name.
	Top []TopEntry
}

// TopEntry is an entry of a tree's root directory. Link is the target of a symbolic link, otherwise empty.
type TopEntry struct {
	Name  string
	Link  string
	IsDir bool
}

// New returns a Host. It creates the folders below cfg.Dir, if it may, and removes what dead processes left there; it reads nothing of the host yet.
func New(cfg Config) (*Host, error) {
	if cfg.Root == "" {
		cfg.Root = "/"
	}
	for _, dir := range []string{"packages", "trees", "pins", "tmp"} {
		err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o755)
		if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, unix.EROFS) {
			return nil, fmt.Errorf("prepare host packages: %w", err)
		}
	}
	h := &Host{cfg: cfg, names: rootpath.OnHost(cfg.Root), busy: make(token, 1), memo: map[string]Report{}, indexing: make(token, 1)}
	h.sweep()
	return h, nil
}

// Pin returns the closure of the named packages, each with the digest of its snapshot, and takes the snapshots that are
// missing. The order is that of Report. A name is a package, "package:architecture", or what an installed package
// provides; the order and repetition of names have no influence. A name that is not installed gives *NotInstalledError.
func (h *Host) Pin(ctx context.Context, names []string) ([]Pinned, error) {
	report, err := h.Show(ctx, names)
	return report.Packages, err
}

const digestPrefix = "blake3:"

// isDigest reports whether text is a digest in text form.
func isDigest(text string) bool {
	digits, ok := strings.CutPrefix(text, digestPrefix)
	return ok && len(digits) == 64 && strings.Trim(digits, "0123456789abcdef") == ""
}

// snapshotDir returns where the snapshot of a digest is, or will be.
func (h *Host) snapshotDir(digest string) string {
	return filepath.Join(h.cfg.Dir, "packages", strings.TrimPrefix(digest, digestPrefix))
}
