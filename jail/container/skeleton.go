package container

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"hdjail/mounts"
)

// root is the root directory of one jail, and what lies over the trees in it.
type root struct {
	*skeleton
	over string // this jail's own
	dir  *runDir
}

// skeleton is a root directory that jails of this process share if they look alike.
type skeleton struct {
	path, key string
	users     int
}

// keptSkeletons is how many unused ones stay for the next jail.
const keptSkeletons = 4

// makeRoot makes every mount point, link and generated file of a jail, so that libcontainer creates nothing. What lies
// below a mounts.Skeleton entry is the jail's own, the rest is made once a look.
// Everything shared belongs to the jail's owner, so that it looks the same whoever runs the jail.
func (d *runDir) makeRoot(table mounts.Table, owner identity) (root, error) {
	r := root{over: filepath.Join(d.path, "over-"+randomName()), dir: d}
	if err := os.Mkdir(r.over, 0o755); err != nil {
		return r, err
	}
	err := fill(r.over, table, true)
	if err == nil {
		r.skeleton, err = d.share(table, owner)
	}
	if err != nil {
		return r, errors.Join(err, os.RemoveAll(r.over))
	}
	return r, nil
}

// remove gives the root back. Nothing in it was ever writable by a build.
func (r root) remove() error {
	return errors.Join(removeMade(r.over), r.dir.unshare(r.skeleton))
}

// removeMade deletes a directory of ours that holds mostly empty ones, each by one call: os.RemoveAll makes six.
func removeMade(dir string) error {
	if err := unix.Rmdir(dir); err != unix.ENOTEMPTY {
		return err
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		remove := unix.Unlink
		if e.IsDir() {
			remove = removeMade
		}
		err = errors.Join(err, remove(filepath.Join(dir, e.Name())))
	}
	return errors.Join(err, unix.Rmdir(dir))
}

func (d *runDir) share(table mounts.Table, owner identity) (*skeleton, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := fmt.Sprint(owner.uid, "\n", skeletonKey(table))
	if s := d.skeletons[key]; s != nil {
		s.users++
		return s, nil
	}
	s := &skeleton{path: filepath.Join(d.path, "root-"+randomName()), key: key, users: 1}
	err := os.MkdirAll(filepath.Join(s.path, "dev"), 0o755)
	if err == nil {
		err = fill(s.path, table, false)
	}
	if err == nil && owner.uid != os.Geteuid() {
		err = filepath.WalkDir(s.path, func(name string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(name, owner.uid, owner.gid))
		})
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.path))
	}
	d.skeletons[key] = s
	return s, nil
}

func (d *runDir) unshare(s *skeleton) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.users--; s.users > 0 || len(d.skeletons) <= keptSkeletons {
		return nil
	}
	delete(d.skeletons, s.key)
	return os.RemoveAll(s.path)
}

// skeletonKey tells which jails can share a root directory.
func skeletonKey(table mounts.Table) string {
	var key strings.Builder
	for _, e := range table.Entries {
		if needed, own := belongs(table, e); needed && !own {
			fmt.Fprintf(&key, "%q %s %v", e.Target, e.Kind, e.IsDir())
			if e.Kind == mounts.Symlink || e.Kind == mounts.File {
				fmt.Fprintf(&key, " %q", e.Source)
			}
			key.WriteByte('\n')
		}
	}
	return key.String()
}

// belongs reports whether something must be made for the entry, and whether it is the jail's own. What lies below a bound
// tree must exist there already.
func belongs(table mounts.Table, e mounts.Entry) (needed, own bool) {
	over, below := table.Under(e.Target)
	return !below || over.Kind == mounts.Skeleton, below
}

// fill makes what belongs in dir. The jail's own directory holds each mounts.Skeleton entry as a directory with a short
// name, see overName.
func fill(dir string, table mounts.Table, own bool) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	made := maker{root: root}
	defer made.close()
	for _, e := range table.Entries {
		if needed, isOwn := belongs(table, e); needed && isOwn == own {
			name := e.Target[1:]
			if over, below := table.Under(e.Target); below {
				name = overName(over.Target) + e.Target[len(over.Target):]
			}
			err = made.add(name, e)
		}
		if err == nil && own && e.Kind == mounts.Skeleton {
			err = root.Mkdir(overName(e.Target), 0o755)
		}
		if err != nil {
			return fmt.Errorf("make mount point %q: %w", e.Target, err)
		}
	}
	return nil
}

// overName is the name of a mounts.Skeleton entry's content in the jail's own directory.
func overName(target string) string {
	sum := sha256.Sum256([]byte(target))
	return hex.EncodeToString(sum[:8])
}

// maker makes entries below a directory. It keeps the parent of the last one open, in which most often the next one lies.
type maker struct {
	root, dir *os.Root
	parent    string
}

func (m *maker) add(name string, e mounts.Entry) error {
	dir, err := m.open(path.Dir(name))
	if err != nil {
		return err
	}
	name = path.Base(name)
	switch {
	case e.Kind == mounts.Symlink:
		return dir.Symlink(e.Source, name)
	case e.Kind == mounts.File:
		return writeOnce(dir, name, e.Source)
	case e.IsDir():
		return dir.MkdirAll(name, 0o755)
	}
	return writeOnce(dir, name, "")
}

// open returns the directory, which it makes if need be.
func (m *maker) open(parent string) (*os.Root, error) {
	if parent == "." {
		return m.root, nil
	}
	if m.dir != nil && m.parent == parent {
		return m.dir, nil
	}
	m.close()
	if err := m.root.MkdirAll(parent, 0o755); err != nil {
		return nil, err
	}
	var err error
	m.dir, err = m.root.OpenRoot(parent)
	m.parent = parent
	return m.dir, err
}

func (m *maker) close() {
	if m.dir != nil {
		m.dir.Close()
	}
}

func writeOnce(dir *os.Root, name, content string) error {
	file, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_CLOEXEC, 0o444)
	if err != nil {
		return err
	}
	_, err = file.WriteString(content)
	return errors.Join(err, file.Close())
}
