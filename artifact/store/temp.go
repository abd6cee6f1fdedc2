package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"hdjail/artifact/tree"
)

// Temp is a temporary directory below tmp/ that this process holds. Its mode is 0711, so the ids of a jail pass through
// it to what they may enter, and nobody can list it.
type Temp struct {
	// Dir is its path.
	Dir string

	store *Store
	name  string
}

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
	return t, nil
}

// Close removes the directory and everything in it. One that was moved away is no error. It may be called twice.
func (t *Temp) Close() error { return t.store.discard(t.name) }

// discard removes an entry of tmp/.
func (s *Store) discard(name string) error {
	tmp, err := os.Open(s.TmpDir())
	if err != nil {
		return err
	}
	defer tmp.Close()
	return tree.Remove(tmp, name)
}

// Sweep removes the temporary directories that processes of this machine left when they died, records the runs that they had
// pending, and completes what they were registering: a realization without a record gets the one in its manifest. Leases of
// dead processes are removed, too. It returns the names of the temporary directories that it removed.
// What cannot be removed is in the error, and does not keep the rest.
func (s *Store) Sweep(ctx context.Context) ([]string, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.TmpDir())
	if err != nil {
		return nil, fmt.Errorf("sweep %q: %w", s.TmpDir(), err)
	}
	var removed []string
	var failed []error
	if _, err := s.Leases(); err != nil {
		failed = append(failed, err)
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		if !s.holder.Abandoned(e.Name()) {
			continue
		}
		// Under our name, so that of two sweeps one removes it, and a third one goes on if we die.
		mine := s.holder.TempName()
		err := unix.Rename(s.path("tmp", e.Name()), s.path("tmp", mine))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = errors.Join(s.recordPending(ctx, mine), s.discard(mine))
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("sweep %q: %w", path.Join(s.TmpDir(), e.Name()), err))
			continue
		}
		removed = append(removed, e.Name())
	}
	if len(removed) > 0 {
		failed = append(failed, s.recover(ctx))
	}
	return removed, errors.Join(failed...)
}
