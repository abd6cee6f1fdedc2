package sources

import (
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
	o    Options
	dir  string
	root *os.Root
}

// Open opens the sources of the store at o.Root, making their directory when there is none. The caller calls Close.
func Open(o Options) (*Store, error) {
	s := &Store{o: o, dir: filepath.Join(o.Root, "sources")}
	if o.Tree == nil || !filepath.IsAbs(o.Root) {
		return nil, fmt.Errorf("open sources %q: no absolute path or no tree digest", o.Root)
	}
	if err := os.Mkdir(s.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("open sources: %w", err)
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, fmt.Errorf("open sources: %w", err)
	}
	s.root = root
	return s, nil
}

// Close releases the directory of the store.
func (s *Store) Close() error { return s.root.Close() }
