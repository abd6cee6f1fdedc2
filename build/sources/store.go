package sources

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"hdjail/artifact"
	"hdjail/artifact/lease"
)

// Options say how a Store works. The zero value of each field but Root and Tree is usable.
type Options struct {
	// Root is the absolute path of the store, which exists; sources are kept in its directory "sources".
	Root string
	// Tree computes the digest of the tree below an open directory. It must not keep the descriptor.
	Tree func(ctx context.Context, dir *os.File) (artifact.TreeDigest, error)
	// Mirrors are asked before the URLs of a source and LastMirrors after them, in order. Each is an absolute directory or
	// an http(s) base. Below it a file is looked for as <algorithm>/<hex>, then by the base name of each URL.
	Mirrors, LastMirrors []string
	// Offline forbids the network; local directories and file:// URLs are still used.
	Offline bool
	// Proxy chooses the proxy of an HTTP request; nil is none, whatever the environment says.
	Proxy func(*http.Request) (*url.URL, error)
	// Roots are the certificate authorities for https; nil is the system's.
	Roots *x509.CertPool
	// MaxBytes limits one download; 0 is 16 GiB.
	MaxBytes int64
	// Silence is how long a server may send nothing; 0 is one minute.
	Silence time.Duration
	// LockWait is how long to wait for another process that fetches the same source; 0 is one hour.
	LockWait time.Duration
	// Path is where git and apt-get are looked for, as in $PATH; empty is /usr/local/bin:/usr/bin:/bin.
	Path string
	// Etc is the directory of APT's configuration; empty is /etc/apt.
	Etc string
}

func (o *Options) defaults() {
	o.MaxBytes = cmp.Or(o.MaxBytes, 16<<30)
	o.Silence = cmp.Or(o.Silence, time.Minute)
	o.LockWait = cmp.Or(o.LockWait, time.Hour)
	o.Path = cmp.Or(o.Path, "/usr/local/bin:/usr/bin:/bin")
	o.Etc = cmp.Or(o.Etc, "/etc/apt")
}

// Progress is told how many bytes of a source have arrived, of how many; total is -1 while that is unknown. It is called
// from the goroutine that called Fetch, often.
type Progress func(done, total int64)

// Request asks for one source. URLs are tried in order: http, https, file:///absolute, debsrc:PACKAGE/FILE; for a git
// digest they are repositories.
type Request struct {
	Digest string
	URLs   []string
}

// Store is a directory of verified sources. Methods may be called from several goroutines and processes at a time.
type Store struct {
	o      Options
	dir    string
	root   *os.Root
	holder lease.Holder
}

// Open opens the sources of the store at o.Root, making their directory when there is none, and removes what dead processes left. The caller calls Close.
func Open(o Options) (*Store, error) {
	o.defaults()
	s := &Store{o: o, dir: filepath.Join(o.Root, "sources")}
	if o.Tree == nil || !filepath.IsAbs(o.Root) {
		return nil, fmt.Errorf("open sources %q: no absolute path or no tree digest", o.Root)
	}
	if err := os.Mkdir(s.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("open sources: %w", err)
	}
	var err error
	if s.holder, err = lease.Self(); err != nil {
		return nil, fmt.Errorf("open sources: %w", err)
	}
	if s.root, err = os.OpenRoot(s.dir); err != nil {
		return nil, fmt.Errorf("open sources: %w", err)
	}
	for _, name := range []string{partial, "sha256", "blake3", "tree", "git"} {
		if err := s.root.Mkdir(name, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			s.root.Close()
			return nil, fmt.Errorf("open sources: %w", err)
		}
	}
	s.sweep()
	return s, nil
}

// partial holds what is not verified yet, locks, and work directories; each may go when nobody holds its lock.
const partial = "partial"

// Close releases the directory of the store.
func (s *Store) Close() error { return s.root.Close() }

// Has reports whether the store holds the source with this digest. It looks at names only.
func (s *Store) Has(digest string) bool {
	d, err := ParseDigest(digest)
	return err == nil && s.has(d)
}

func (s *Store) has(d Digest) bool {
	_, err := s.root.Lstat(d.path())
	return err == nil
}

// OpenFile opens a stored file for reading, unverified; *MissingError when there is none. The caller closes it.
func (s *Store) OpenFile(digest string) (*os.File, error) {
	d, err := ParseDigest(digest)
	if err != nil {
		return nil, err
	}
	return s.open(d)
}

func (s *Store) open(d Digest) (*os.File, error) {
	f, err := s.root.Open(d.path())
	if errors.Is(err, os.ErrNotExist) {
		return nil, &MissingError{Digest: d.String()}
	}
	if err != nil {
		return nil, fmt.Errorf("open source %q: %w", d, err)
	}
	return f, nil
}

// lock keeps other users of the store from name until the function is called.
func (s *Store) lock(ctx context.Context, name string) (func(), error) {
	path := filepath.Join(s.dir, partial, name+".lock")
	l, err := lease.Take(ctx, path, lease.Options{Holder: s.holder, Timeout: s.o.LockWait})
	if err != nil {
		return nil, fmt.Errorf("fetch source: %w", err)
	}
	// An error leaves a lock that goes stale when this process ends.
	return func() { _ = l.Release() }, nil
}
