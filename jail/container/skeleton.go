package container

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hdjail/jail"
	"hdjail/mounts"
)

// makeSkeleton makes the root directory of a jail: every mount point, link and generated file. libcontainer then creates
// nothing. It returns the directory's path, which the build's uid can reach; overlay(path) is beside it.
func (r *Runner) makeSkeleton(c jail.Config) (root string, err error) {
	parent := c.Scratch.Dir
	if r.root { // the store may lie where only root can go
		if parent, err = r.runDirectory("roots"); err != nil {
			return "", err
		}
	}
	top := filepath.Join(parent, "jail-"+randomName())
	if err := os.Mkdir(top, 0o711); err != nil {
		return "", err
	}
	root = filepath.Join(top, "root")
	defer func() {
		if err != nil {
			os.RemoveAll(top)
		}
	}()
	s, err := newSkeleton(root)
	if err != nil {
		return "", err
	}
	defer s.close()
	for _, e := range c.Mounts.Entries {
		if err := s.add(c.Mounts, e); err != nil {
			return "", fmt.Errorf("make mount point %q: %w", e.Target, err)
		}
	}
	return root, nil
}

// overlay is where the content of mounts.Skeleton entries lies, for the jail whose root directory is root.
func overlay(root string) string { return filepath.Join(filepath.Dir(root), "over") }

// removeSkeleton removes what makeSkeleton made. Nothing in it was ever writable by a build.
func removeSkeleton(root string) error { return os.RemoveAll(filepath.Dir(root)) }

type skeleton struct{ root, over *os.Root }

func newSkeleton(root string) (s skeleton, err error) {
	for _, dir := range []string{filepath.Join(root, "dev"), overlay(root)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return s, err
		}
	}
	if s.root, err = os.OpenRoot(root); err != nil {
		return s, err
	}
	s.over, err = os.OpenRoot(overlay(root))
	return s, err
}

func (s skeleton) close() {
	s.root.Close()
	s.over.Close()
}

// add makes what the entry needs. What lies below a bound tree must exist there already.
func (s skeleton) add(table mounts.Table, e mounts.Entry) error {
	dir := s.root
	if over, ok := table.Under(e.Target); ok {
		if over.Kind != mounts.Skeleton {
			return nil
		}
		dir = s.over
	}
	name := e.Target[1:]
	if parent := path.Dir(name); parent != "." {
		if err := dir.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	switch {
	case e.Kind == mounts.Skeleton:
		return s.over.MkdirAll(name, 0o755)
	case e.Kind == mounts.Symlink:
		return dir.Symlink(e.Source, name)
	case e.Kind == mounts.File:
		return writeOnce(dir, name, e.Source)
	case e.IsDir():
		return dir.MkdirAll(name, 0o755)
	}
	return writeOnce(dir, name, "")
}

func writeOnce(dir *os.Root, name, content string) error {
	file, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_CLOEXEC, 0o444)
	if err != nil {
		return err
	}
	_, err = file.WriteString(content)
	return errors.Join(err, file.Close())
}

// runDirectory makes and checks a directory below the run-time directory, which must be root's alone.
func (r *Runner) runDirectory(name string) (string, error) {
	full := filepath.Join(r.options.RunDir, name)
	for _, dir := range []string{r.options.RunDir, full} {
		if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
		var st unix.Stat_t
		if err := unix.Lstat(dir, &st); err != nil {
			return "", &os.PathError{Op: "stat", Path: dir, Err: err}
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != 0 || st.Mode&0o022 != 0 {
			return "", fmt.Errorf("use %q: it is not a directory of root's that only root can write", dir)
		}
		if st.Mode&0o111 != 0o111 { // the caller's umask
			if err := os.Chmod(dir, 0o711); err != nil {
				return "", err
			}
		}
	}
	return full, nil
}
