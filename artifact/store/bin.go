package store

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strconv"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/tree"
)

// Bin holds what was taken out of the store, each by one rename, until Close deletes it. If the process dies, the next
// sweep does. It is for one goroutine.
type Bin struct {
	store *Store
	temp  *Temp
	n     int
}

// NewBin returns an empty bin, also on a full file system. The caller closes it.
func (s *Store) NewBin() (*Bin, error) {
	var t *Temp
	err := s.relieved(func() (err error) { t, err = s.NewTemp(); return err })
	if err != nil {
		return nil, err
	}
	return &Bin{store: s, temp: t}, nil
}

// Take moves a file or directory of the store, by its absolute path, into the bin and returns its place there, "" if it was
// not there.
func (b *Bin) Take(p string) (string, error) {
	// The bin is a directory of its own, as nothing in what it holds may be taken for what a dead process had pending.
	place := path.Join(b.temp.Dir, strconv.Itoa(b.n))
	err := unix.Rename(p, place)
	if errors.Is(err, unix.EACCES) {
		// A directory goes to another parent only while it is writable. One that stays so after a crash is still complete.
		if info, statErr := os.Lstat(p); statErr == nil && info.IsDir() {
			err = errors.Join(os.Chmod(p, 0o755), unix.Rename(p, place))
		}
	}
	if errors.Is(err, unix.ENOENT) {
		return "", nil
	}
	if err != nil {
		return "", b.store.denied(p, err)
	}
	b.n++
	return place, nil
}

// TakeDerivation takes a derivation, its build records first.
func (b *Bin) TakeDerivation(id artifact.DerivationID) (records, file string, err error) {
	if records, err = b.Take(b.store.path("builds", id.String())); err == nil {
		file, err = b.Take(b.store.derivationFile(id))
	}
	return records, file, err
}

// TakeRealization takes a realization. A public path of the name that leads to it leads to the heir from then on, or is
// removed if that is zero.
func (b *Bin) TakeRealization(id artifact.RealizationID, public string, heir artifact.RealizationID) (string, error) {
	s := b.store
	if link := s.path("store", public); public != "" && path.Base(public) == public {
		target, err := os.Readlink(link)
		if err == nil && target == publicTarget(id) {
			err = s.Relink(public, heir)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EINVAL) {
			return "", s.denied(link, err)
		}
	}
	return b.Take(s.path("realizations", id.String()))
}

// Close deletes what is in the bin, several things at once: most of it is waiting for the disk.
func (b *Bin) Close() error {
	dir, err := os.Open(b.temp.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	var group errgroup.Group
	group.SetLimit(4)
	for n := range b.n {
		group.Go(func() error { return tree.Remove(dir, strconv.Itoa(n)) })
	}
	err = errors.Join(group.Wait(), b.temp.Close())
	b.store.FillReserve()
	return err
}
