package store

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/artifact/tree"
)

// Temp is a temporary directory below tmp/ that this process holds. Its mode is 0711, so the ids of a jail pass through
// it to what they may enter, and nobody can list it.
type Temp struct {
	// Dir is its path.
	Dir string

	store   *Store
	name    string
	renewal *time.Timer // nil for one that another process made
}

// What processes elsewhere hold cannot be seen to be abandoned, but that it is not renewed for long. Both times are given by
// the file system, and none is compared with a clock of ours.
const (
	renewTemp  = time.Hour
	expireTemp = 72 * time.Hour
)

// NewTemp makes a temporary directory with a name that nobody can guess. The name also tells its holder, so there is no
// moment in which it has none. The caller closes it.
func (s *Store) NewTemp() (*Temp, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	t := &Temp{store: s, name: s.holder.TempName()}
	t.Dir = s.path("tmp", t.name)
	if err := os.Mkdir(t.Dir, 0o711); err != nil {
		return nil, s.denied(t.Dir, err)
	}
	if err := os.Chmod(t.Dir, 0o711); err != nil { // whatever the umask
		os.Remove(t.Dir)
		return nil, s.denied(t.Dir, err)
	}
	t.renewal = time.AfterFunc(renewTemp, func() { t.renew() })
	return t, nil
}

// Close removes the directory and everything in it. One that was moved away is no error. It may be called twice.
func (t *Temp) Close() error {
	if t.renewal != nil {
		t.renewal.Stop()
	}
	// First, or who is killed halfway has left word of a run that did not fail.
	if err := os.Remove(path.Join(t.Dir, pendingName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return t.store.discard(t.name)
}

// renew tells other machines, which cannot see our process, that the directory is in use.
func (t *Temp) renew() {
	now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
	if unix.UtimesNanoAt(unix.AT_FDCWD, t.Dir, now, unix.AT_SYMLINK_NOFOLLOW) == nil { // else it is gone
		t.renewal.Reset(renewTemp)
	}
}

// discard removes an entry of tmp/.
func (s *Store) discard(name string) error {
	tmp, err := os.Open(s.TmpDir())
	if err != nil {
		return err
	}
	defer tmp.Close()
	return tree.Remove(tmp, name)
}
