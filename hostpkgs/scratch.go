package hostpkgs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hdjail/hostpkgs/tree"
)

// scratch is a folder below tmp/ that one process fills. Its lock tells others that it is in use; the kernel drops the
// lock with the process.
type scratch struct {
	path string
	lock *os.File
}

// newScratch removes what dead processes left behind and makes a folder of our own.
func (h *Host) newScratch() (*scratch, error) {
	dir := filepath.Join(h.cfg.Dir, "tmp")
	sweep(dir)
	for {
		s := &scratch{path: filepath.Join(dir, rand.Text())}
		if err := os.Mkdir(s.path, 0o700); err != nil {
			return nil, err
		}
		ours, err := s.take()
		if err != nil {
			return nil, err
		}
		if ours {
			return s, nil
		}
	}
}

// take locks the folder; false means that a sweeper was faster and has removed it. Where the file system has no locks,
// nobody sweeps.
func (s *scratch) take() (bool, error) {
	lock, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_ = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	if _, err := os.Lstat(s.path); err != nil {
		lock.Close()
		return false, nil
	}
	s.lock = lock
	return true, nil
}

func (s *scratch) remove() {
	removeTree(s.path)
	s.lock.Close()
}

// sweep removes the folders in dir that nobody has locked. What cannot be removed stays for the next time.
func sweep(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		lock, err := os.Open(name)
		if err != nil {
			continue
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			removeTree(name)
		}
		lock.Close()
	}
}

// removeTree removes a tree whose folders may be read-only.
func removeTree(dir string) {
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(name, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(dir)
}

// publish gives a finished folder of a scratch its name. If there is one of that name already, from another process,
// that one stays. Renaming a folder into another one takes write permission on it, so its own mode comes last.
func publish(from, to string) error {
	err := os.Rename(from, to)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return err
	}
	return tree.SealDir(to)
}

// sync writes what was copied to disk, before it gets its final name: one call is cheaper than one a file.
func (h *Host) sync() error {
	dir, err := os.Open(h.cfg.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("sync %q: %w", h.cfg.Dir, err)
	}
	return nil
}

// writeFile replaces a small file as a whole.
func writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
