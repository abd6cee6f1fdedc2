package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/lease"
	"hdjail/artifact/tree"
)

// layout is what Open makes below the root, with the modes.
var layout = []struct {
	name string
	mode fs.FileMode
}{
	{"store", 0o755}, {"realizations", 0o755}, {"derivations", 0o755}, {"builds", 0o755}, {"sources", 0o755}, {"host", 0o755},
	{"profiles", 0o755}, {"gcroots", 0o755}, {"gcroots/leases", 0o755}, {"locks", 0o755},
	{"tmp", 0o711}, // the jails' ids pass through it
}

// format is the content of the file that tells the version of the layout.
const (
	formatFile    = "format"
	formatPrefix  = "hdjail store "
	formatVersion = 1
)

// Options say how a store is opened.
type Options struct {
	// Prefix is what public paths begin with, the root when empty. Stores exchange realizations if theirs are equal.
	Prefix string
	// ReadOnly opens an existing store without writing to it; what has to write gives *AccessError.
	ReadOnly bool
	// TrustGroup accepts directories that their group can write to.
	TrustGroup bool
	// Now is the clock, time.Now when nil.
	Now func() time.Time
	// Holder is this process as it appears in locks, lease.Self() when zero.
	Holder lease.Holder
	// Release is called by Sweep before it removes a temporary directory, with its name: it gives back what the dead process
	// held outside the store. After an error the directory stays. Nil for nothing.
	Release func(name string) error
}

// Store is an open store. Any number of goroutines and processes may use one root at once.
type Store struct {
	root, prefix string
	readOnly     bool
	dir          *os.File // the root
	ordered      bool     // see keepsOrder
	now          func() time.Time
	holder       lease.Holder
	release      func(name string) error
	written      group     // syncs of content, before it is published
	published    group     // syncs of names, after it was
	names        sync.Map  // DerivationID -> its public name, of derivations that are on disk
	encoders     sync.Pool // of *zstd.Encoder, which are costly to make
}

// Open opens the store at root, an absolute path, and makes what is missing of its layout. A directory on the way that
// another user could replace gives *tree.AncestorError, a store of a newer version *FormatError, one that cannot be written
// *AccessError. The caller closes the Store.
func Open(root string, o Options) (*Store, error) {
	if !path.IsAbs(root) || path.Clean(root) != root {
		return nil, fmt.Errorf("open store %q: its path is not absolute and clean", root)
	}
	s := &Store{root: root, prefix: o.Prefix, readOnly: o.ReadOnly, now: o.Now, holder: o.Holder, release: o.Release}
	if s.prefix == "" {
		s.prefix = root
	}
	if !path.IsAbs(s.prefix) || path.Clean(s.prefix) != s.prefix {
		return nil, fmt.Errorf("open store %q: the prefix %q is not absolute and clean", root, s.prefix)
	}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	if s.holder == (lease.Holder{}) {
		if s.holder, err = lease.Self(); err != nil {
			return nil, fmt.Errorf("open store %q: %w", root, err)
		}
	}
	s.dir, err = tree.OpenTrusted(root, tree.Trust{Create: !o.ReadOnly, Group: o.TrustGroup, Owner: o.ReadOnly})
	if err != nil {
		return nil, s.denied(root, err)
	}
	s.root, s.ordered = s.dir.Name(), keepsOrder(s.dir)
	if err := s.prepare(); err != nil {
		s.dir.Close()
		return nil, err
	}
	return s, nil
}

// Close releases the store's descriptors. Locks and temporary directories have to be released before.
func (s *Store) Close() error { return s.dir.Close() }

// prepare checks the version and makes the layout. The version is written last: a store without one is unfinished.
func (s *Store) prepare() error {
	found, err := s.version()
	if err != nil {
		return err
	}
	if found > formatVersion {
		return &FormatError{Root: s.root, Found: found, Supported: formatVersion}
	}
	if s.readOnly {
		if found == 0 {
			return fmt.Errorf("open store %q: it is not a store: %w", s.root, fs.ErrNotExist)
		}
		return nil
	}
	if found == 0 {
		if err := s.checkVacant(); err != nil {
			return err
		}
	}
	for _, d := range layout {
		if err := s.mkdir(s.path(d.name), d.mode); err != nil {
			return err
		}
	}
	if err := unix.Faccessat(int(s.dir.Fd()), "tmp", unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return s.denied(s.path("tmp"), err)
	}
	if found == 0 {
		if err := s.writeFile(s.path(formatFile), fmt.Appendf(nil, "%s%d\n", formatPrefix, formatVersion)); err != nil {
			return err
		}
	}
	s.FillReserve()
	return nil
}

// version returns the version of the store's layout, 0 for none.
func (s *Store) version() (int, error) {
	data, err := os.ReadFile(s.path(formatFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open store %q: %w", s.root, err)
	}
	var version int
	if n, err := fmt.Sscanf(string(data), formatPrefix+"%d\n", &version); n != 1 || err != nil || version < 1 {
		return 0, &artifact.MalformedError{What: "store version", Name: s.path(formatFile), Reason: "it is not of a store of hdjail"}
	}
	return version, nil
}

// checkVacant refuses to make a store among files that are none of ours.
func (s *Store) checkVacant() error {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return s.denied(s.root, err)
	}
	ours := map[string]bool{"lost+found": true}
	for _, d := range layout {
		ours[d.name] = true
	}
	for _, e := range entries {
		if !ours[e.Name()] && !lease.IsTempName(e.Name()) {
			return fmt.Errorf("open store %q: it is not a store and not empty: it holds %q", s.root, e.Name())
		}
	}
	return nil
}

// Root is the directory that holds the store, without links on the way.
func (s *Store) Root() string { return s.root }

// Prefix is what public paths begin with.
func (s *Store) Prefix() string { return s.prefix }

// PublicPath is the path that a build of d is configured with, which depends on d alone. It begins with d's prefix.
func (s *Store) PublicPath(d *artifact.Derivation) string {
	return d.PublicPath()
}

// OutPath is the tree of a realization on the host.
func (s *Store) OutPath(id artifact.RealizationID) string {
	return s.path("realizations", id.String(), "out")
}

// SourcesDir holds verified downloads.
func (s *Store) SourcesDir() string { return s.path("sources") }

// HostDir holds snapshots of host packages.
func (s *Store) HostDir() string { return s.path("host") }

// ProfilesDir holds profiles.
func (s *Store) ProfilesDir() string { return s.path("profiles") }

// TmpDir holds temporary directories; see Temp.
func (s *Store) TmpDir() string { return s.path("tmp") }

func (s *Store) path(elem ...string) string {
	return s.root + "/" + path.Join(elem...)
}
