package store

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/tree"
)

// sourceDigits are the lengths of the digests that sources/ has a directory for.
var sourceDigits = map[string]int{"sha256": 64, "blake3": 64, "tree": 64, "git": 40}

// Sources lists the digests of the verified inputs that the store has, in no order.
func (s *Store) Sources() ([]string, error) {
	var digests []string
	for algorithm, digits := range sourceDigits {
		names, err := hexNames(s.path("sources", algorithm), digits)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			digests = append(digests, algorithm+":"+name)
		}
	}
	return digests, nil
}

// SourcePath is where an input is kept, a file or a directory. The digest is one that Sources has listed.
func (s *Store) SourcePath(digest string) string {
	return s.path("sources", strings.Replace(digest, ":", "/", 1))
}

// HostPackages lists the digests of the snapshots of host packages, in no order.
func (s *Store) HostPackages() ([]artifact.TreeDigest, error) {
	names, err := hexNames(s.path("host/packages"), 64)
	var digests []artifact.TreeDigest
	for _, name := range names {
		if d, err := artifact.ParseTreeDigest("blake3:" + name); err == nil {
			digests = append(digests, d)
		}
	}
	return digests, err
}

// HostPackagePath is where a snapshot is kept.
func (s *Store) HostPackagePath(d artifact.TreeDigest) string {
	return s.path("host/packages", strings.TrimPrefix(d.String(), "blake3:"))
}

// HostTrees lists the paths of the trees that were composed of snapshots. They can be composed again.
func (s *Store) HostTrees() ([]string, error) {
	names, err := hexNames(s.path("host/trees"), 40)
	for i, name := range names {
		names[i] = s.path("host/trees", name)
	}
	return names, err
}

// hexNames lists what is named by so many hexadecimal digits; nothing if there is no such directory.
func hexNames(dir string, digits int) ([]string, error) {
	all, err := tree.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, name := range all {
		if len(name) == digits && strings.Trim(name, "0123456789abcdef") == "" {
			names = append(names, name)
		}
	}
	return names, err
}

// Retire takes a file or directory out of the store by one rename, into tmp/, where nobody looks for it. Closing what it
// returns deletes it; nil if it was not there. The path is absolute, below the root.
func (s *Store) Retire(p string) (*Temp, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	t := &Temp{store: s, name: s.holder.TempName()}
	t.Dir = s.path("tmp", t.name)
	err := unix.Rename(p, t.Dir)
	if errors.Is(err, unix.EACCES) {
		// A directory goes to another parent only while it is writable. One that stays so after a crash is still complete.
		if info, statErr := os.Lstat(p); statErr == nil && info.IsDir() {
			err = errors.Join(os.Chmod(p, 0o755), unix.Rename(p, t.Dir))
		}
	}
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, s.denied(p, err)
	}
	return t, nil
}

// RetireDerivation takes a derivation out of the store, its build records first.
func (s *Store) RetireDerivation(id artifact.DerivationID) ([]*Temp, error) {
	records, err := s.Retire(s.path("builds", id.String()))
	if err != nil {
		return nil, err
	}
	file, err := s.Retire(s.derivationFile(id))
	return []*Temp{records, file}, err
}

// RetireRealization takes a realization out of the store. A public path of the name that leads to it leads to the heir
// from then on, or is removed if that is zero.
func (s *Store) RetireRealization(id artifact.RealizationID, public string, heir artifact.RealizationID) (*Temp, error) {
	if link := s.path("store", public); public != "" && path.Base(public) == public {
		target, err := os.Readlink(link)
		if err == nil && target == publicTarget(id) {
			if heir.IsZero() {
				err = os.Remove(link)
			} else {
				err = s.writeLink(link, publicTarget(heir))
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EINVAL) {
			return nil, s.denied(link, err)
		}
	}
	return s.Retire(s.path("realizations", id.String()))
}

// publicTarget is what the public path of a realization holds.
func publicTarget(id artifact.RealizationID) string { return "../realizations/" + id.String() + "/out" }
