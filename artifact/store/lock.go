package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/lease"
)

// Lock takes the lock of a derivation; see lease.Take. Holder is set by the store.
func (s *Store) Lock(ctx context.Context, id artifact.DerivationID, o lease.Options) (*lease.Lock, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	o.Holder = s.holder
	l, err := lease.Take(ctx, s.path("locks", id.String()), o)
	if errors.As(err, new(syscall.Errno)) {
		return nil, s.denied(s.path("locks"), err)
	}
	return l, err
}

// Locked tells who holds the lock of a derivation. A lock that is free, or was a dead process's, gives *NotFoundError.
func (s *Store) Locked(id artifact.DerivationID) (lease.Info, error) {
	info, err := lease.Look(s.path("locks", id.String()))
	if errors.Is(err, fs.ErrNotExist) || err == nil && s.holder.Sees(info.Holder) == lease.Gone {
		return info, &NotFoundError{"lock", id.String()}
	}
	return info, err
}

// Running lists the locks that are held, with the logs of the builds that are under way. A lock that cannot be read is
// left out.
func (s *Store) Running() (map[artifact.DerivationID]lease.Info, error) {
	entries, err := os.ReadDir(s.path("locks"))
	if err != nil {
		return nil, err
	}
	running := map[artifact.DerivationID]lease.Info{}
	for _, e := range entries {
		id, err := artifact.ParseDerivationID(e.Name())
		if err != nil {
			continue
		}
		if info, err := s.Locked(id); err == nil {
			running[id] = info
		}
	}
	return running, nil
}

func (s *Store) writable() error {
	if s.readOnly {
		return &AccessError{s.root, s.root, unix.EROFS}
	}
	return nil
}
