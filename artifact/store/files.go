package store

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
)

// maxFile bounds a JSON file of the store, in bytes.
const maxFile = 64 << 20

// create makes a new file with the content, 0444 whatever the umask.
func (s *Store) create(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return s.denied(path, err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return s.denied(path, err)
	}
	if err := f.Chmod(0o444); err != nil {
		return s.denied(path, err)
	}
	return s.denied(path, f.Close())
}

// mkdir makes a directory that may exist, with the mode whatever the umask.
func (s *Store) mkdir(path string, mode fs.FileMode) error {
	err := os.Mkdir(path, mode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = os.Chmod(path, mode)
	}
	return s.denied(path, err)
}

// writeFile gives path the content by one rename. It is on disk after the next sync.
func (s *Store) writeFile(path string, data []byte) error {
	temporary := s.path("tmp", s.holder.TempName())
	if err := s.create(temporary, data); err != nil {
		os.Remove(temporary)
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		os.Remove(temporary)
		return s.denied(path, err)
	}
	return nil
}

// writeLink makes path a link to target by one rename, whatever it was.
func (s *Store) writeLink(path, target string) error {
	temporary := s.path("tmp", s.holder.TempName())
	if err := os.Symlink(target, temporary); err != nil {
		return s.denied(path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		os.Remove(temporary)
		return s.denied(path, err)
	}
	return nil
}

// readFile reads a file of the store, at most maxFile bytes.
func readFile(path string) ([]byte, error) { return readInto(make([]byte, 0, 4096), path, nil) }

// readInto is readFile into a buffer that may be used again, and into st what the file is: published files do not grow, so
// it is read once.
func readInto(buf []byte, path string, st *unix.Stat_t) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if st != nil {
		if err := unix.Fstat(fd, st); err != nil {
			return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
		}
	}
	for buf = buf[:0]; ; {
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return buf, nil
		}
		buf = buf[:len(buf)+n]
		if st != nil && int64(len(buf)) == st.Size {
			return buf, nil
		}
		if len(buf) > maxFile {
			return nil, &fs.PathError{Op: "read", Path: path, Err: unix.EFBIG}
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
	}
}

// namesIn lists a directory, which may be large, in no order.
func namesIn(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// sync brings everything that was written to the store's file system onto the disk. It is one action for a tree of any
// size, and one for all that are registered at the same time.
func (s *Store) sync() error {
	err := s.written.do(func() error { return unix.Syncfs(int(s.dir.Fd())) })
	return s.denied(s.root, err)
}

// syncNames brings the renames of a registration onto the disk. Where a journal keeps their order, the last one, into builds/,
// takes the others along, which is half the cost; elsewhere each directory is written.
func (s *Store) syncNames(ids ...artifact.DerivationID) error {
	dirs := []string{"builds"}
	if !s.ordered {
		for _, id := range ids {
			if err := syncDir(s.path("builds", id.String())); err != nil {
				return s.denied(s.path("builds"), err)
			}
		}
		dirs = append(dirs, "realizations", "store", "derivations")
	}
	return s.published.do(func() error {
		for _, name := range dirs {
			if err := syncDir(s.path(name)); err != nil {
				return s.denied(s.path(name), err)
			}
		}
		return nil
	})
}

// keepsOrder reports whether a file system writes the changes of names in the order in which they were made.
func keepsOrder(dir *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(dir.Fd()), &st) == nil && slices.Contains([]int64{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.TMPFS_MAGIC}, int64(st.Type))
}

func syncDir(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fsync(fd)
}

// group lets calls that wait for one slow action share it: each returns after an action that began after the call.
type group struct {
	mu      sync.Mutex
	waiting *batch // joins the next action
	running sync.Mutex
}

type batch struct {
	done chan struct{}
	err  error
}

func (g *group) do(action func() error) error {
	g.mu.Lock()
	b := g.waiting
	if b != nil {
		g.mu.Unlock()
		<-b.done
		return b.err
	}
	b = &batch{done: make(chan struct{})}
	g.waiting = b
	g.mu.Unlock()

	g.running.Lock()
	defer g.running.Unlock()
	g.mu.Lock()
	g.waiting = nil // who comes now is too late for this action
	g.mu.Unlock()
	b.err = action()
	close(b.done)
	return b.err
}

// moveTo renames the directory path to target, which must not exist or be empty, and tells whether something was there.
func (s *Store) moveTo(path, target string) (exists bool, err error) {
	err = unix.Rename(path, target)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		return true, nil
	}
	return false, s.denied(target, err)
}
