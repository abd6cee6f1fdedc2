package store

import (
	"errors"
	"io/fs"
	"strings"

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

// publicTarget is what the public path of a realization holds.
func publicTarget(id artifact.RealizationID) string { return "../realizations/" + id.String() + "/out" }
