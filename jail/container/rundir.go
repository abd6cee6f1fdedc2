package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// runDir is this process's own directory below the run-time directory: skeletons and libcontainer's state. It is locked
// while the process lives, so that the next start can sweep what a killed one left.
type runDir struct {
	path string
	lock *os.File

	mu        sync.Mutex
	skeletons map[string]*skeleton // by content, see skeletonKey
}

// openRunDir makes the directory below parent, which must be ours alone, and sweeps what nobody holds.
func openRunDir(parent string) (*runDir, error) {
	if err := ownDirectory(parent); err != nil {
		return nil, err
	}
	if err := sweepRunDirs(parent); err != nil {
		return nil, fmt.Errorf("sweep %q: %w", parent, err)
	}
	for range 10 { // another process's sweep may take the directory before it is locked
		d := &runDir{path: filepath.Join(parent, "jails-"+randomName()), skeletons: map[string]*skeleton{}}
		if err := os.Mkdir(d.path, 0o711); err != nil {
			return nil, err
		}
		if err := d.hold(); err == nil {
			return d, nil
		} else if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("make a directory in %q: it is swept again and again", parent)
}

func (d *runDir) hold() (err error) {
	if d.lock, err = os.Open(d.path); err != nil {
		return err
	}
	if err := unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.Join(err, d.lock.Close())
	}
	return os.Chmod(d.path, 0o711) // whatever the umask
}

func (d *runDir) close() error {
	return errors.Join(os.RemoveAll(d.path), d.lock.Close())
}

// ChooseRunDir returns the first candidate that lies in memory and can be a run-time directory of ours, else the last one.
// Others may have been there first: such a candidate is passed over.
func ChooseRunDir(candidates ...string) string {
	last := len(candidates) - 1
	for _, dir := range candidates[:last] {
		var fs unix.Statfs_t
		if unix.Statfs(filepath.Dir(dir), &fs) == nil && fs.Type == unix.TMPFS_MAGIC && ownDirectory(dir) == nil {
			return dir
		}
	}
	return candidates[last]
}

// sweepRunDirs removes directories whose processes are gone.
func sweepRunDirs(parent string) error {
	left, err := filepath.Glob(filepath.Join(parent, "jails-*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range left {
		file, err := os.Open(dir)
		if err != nil {
			continue // swept by another process
		}
		if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			errs = append(errs, os.RemoveAll(dir))
		}
		file.Close()
	}
	return errors.Join(errs...)
}

// ownDirectory makes dir, and refuses one that somebody else owns or can write.
func ownDirectory(dir string) error {
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("use %q: it is not a directory that only uid %d can write", dir, os.Geteuid())
	}
	if st.Mode&0o111 != 0o111 {
		return os.Chmod(dir, 0o711)
	}
	return nil
}
