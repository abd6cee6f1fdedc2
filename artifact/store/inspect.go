package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"hdjail/artifact"
)

// quarantineDir holds what was damaged, for people to look at. It is made when it is first needed.
const quarantineDir = "quarantine"

// RecordNumbers lists the numbers of the build records of a derivation, sorted.
func (s *Store) RecordNumbers(id artifact.DerivationID) ([]int, error) {
	return recordNumbers(s.path("builds", id.String()))
}

// Record reads one build record; one that is not what its place says gives *artifact.MalformedError.
func (s *Store) Record(id artifact.DerivationID, n int) (artifact.BuildRecord, error) {
	return s.record(id, n)
}

// MadeFrom tells which derivation gave a realization, by the build records, for when its manifest is lost. It reads all of them; if
// none tells it is *NotFoundError. Records that cannot be read are left out.
func (s *Store) MadeFrom(id artifact.RealizationID) (artifact.DerivationID, error) {
	derivations, err := s.RecordedIDs()
	if err != nil {
		return artifact.DerivationID{}, err
	}
	for _, d := range derivations {
		numbers, _ := s.RecordNumbers(d)
		for _, n := range numbers {
			if r, err := s.record(d, n); err == nil && r.Realization == id {
				return d, nil
			}
		}
	}
	return artifact.DerivationID{}, &NotFoundError{"build record", id.String()}
}

// Path joins a path below the root.
func (s *Store) Path(elem ...string) string { return s.path(elem...) }

// Inspect reads a compressed log or audit in a directory to its end, which compares its checksums. The names are those of
// files that the directory may have; it returns that of the first one which is damaged, with the reason.
func Inspect(dir string, decoder *zstd.Decoder) (name string, err error) {
	for _, name := range []string{logName, auditName} {
		err := inspect(path.Join(dir, name), decoder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return name, err
		}
	}
	return "", nil
}

// inspect reads one compressed file. A pipe that somebody put in its place must not keep anybody waiting.
func inspect(name string, decoder *zstd.Decoder) error {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	switch info, err := f.Stat(); {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("it is no regular file")
	case info.Size() == 0:
		return errors.New("it is empty")
	}
	if err := decoder.Reset(f); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, decoder)
	return err
}

// PublicLinks returns where each name in store/ leads: to a realization, or to nowhere that the store makes links to.
func (s *Store) PublicLinks() (map[string]artifact.RealizationID, error) {
	entries, err := os.ReadDir(s.path("store"))
	if err != nil {
		return nil, err
	}
	links := make(map[string]artifact.RealizationID, len(entries))
	for _, e := range entries {
		target, err := os.Readlink(s.path("store", e.Name()))
		id, parseErr := artifact.ParseRealizationID(path.Base(path.Dir(target)))
		if err != nil || parseErr != nil || target != publicTarget(id) {
			id = artifact.RealizationID{}
		}
		links[e.Name()] = id
	}
	return links, nil
}

// Relink makes a public path lead to the realization, or removes it if that is zero.
func (s *Store) Relink(name string, id artifact.RealizationID) error {
	if err := s.writable(); err != nil {
		return err
	}
	link := s.path("store", path.Base(name))
	if id.IsZero() {
		return s.denied(link, os.Remove(link))
	}
	return s.writeLink(link, publicTarget(id))
}

// Quarantine moves a file or directory of the store out of the way, into quarantine/, and returns its place there. The
// path is relative to the root. What is not there gives an error that is fs.ErrNotExist.
func (s *Store) Quarantine(p string) (string, error) {
	if err := s.writable(); err != nil {
		return "", err
	}
	if err := s.mkdir(s.path(quarantineDir), 0o700); err != nil {
		return "", err
	}
	if info, err := os.Lstat(s.path(p)); err != nil {
		return "", err
	} else if info.IsDir() && info.Mode()&0o200 == 0 {
		if err := os.Chmod(s.path(p), 0o755); err != nil { // else it cannot go to another parent
			return "", s.denied(s.path(p), err)
		}
	}
	flat := strings.ReplaceAll(p, "/", "_")
	for n := 1; ; n++ {
		place := path.Join(quarantineDir, fmt.Sprintf("%s.%s.%d", flat, s.now().UTC().Format("20060102T150405Z"), n))
		if _, err := os.Lstat(s.path(place)); err == nil {
			continue
		}
		return place, s.denied(s.path(place), os.Rename(s.path(p), s.path(place)))
	}
}

// Complete gives every realization the build record that its manifest holds, if it has none, and a public path.
func (s *Store) Complete(ctx context.Context) error {
	if err := s.writable(); err != nil {
		return err
	}
	return s.recover(ctx)
}

// DependencyLinks compares the links beside a tree with its context, and names the first that is wrong.
func (s *Store) DependencyLinks(id artifact.RealizationID, c artifact.Context) error {
	for dep, chosen := range c {
		if len(chosen) != 1 {
			continue
		}
		name, err := s.publicName(dep)
		if err != nil {
			return err
		}
		target, err := os.Readlink(s.path("realizations", id.String(), name))
		if want := "../" + chosen[0].String() + "/out"; err != nil || target != want {
			return fmt.Errorf("the link %s beside it does not lead to %s", name, want)
		}
	}
	return nil
}
