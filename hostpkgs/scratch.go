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

// scratch is a folder below tmp/ that one process fills. Its name tells who that is.
type scratch struct{ path string }

// newScratch makes a folder of our own.
func (h *Host) newScratch() (*scratch, error) {
	name := rand.Text()
	if h.cfg.TempName != nil {
		name = h.cfg.TempName()
	}
	s := &scratch{path: filepath.Join(h.cfg.Dir, "tmp", name)}
	return s, os.Mkdir(s.path, 0o700)
}

func (s *scratch) remove() { removeTree(s.path) }

// sweep removes the folders below tmp/ whose processes are gone. What cannot be removed stays for the next time.
func (h *Host) sweep() {
	if h.cfg.Abandoned == nil {
		return
	}
	dir := filepath.Join(h.cfg.Dir, "tmp")
	entries, _ := os.ReadDir(dir) // a store that we only read has none
	for _, e := range entries {
		if h.cfg.Abandoned(e.Name()) {
			removeTree(filepath.Join(dir, e.Name()))
		}
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
