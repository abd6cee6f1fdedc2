package store

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"hdjail/artifact/lease"
)

// reserveFile holds space that who frees some may use when there is no other: a collection writes its lock, and makes a
// directory for what it takes out.
const (
	reserveFile = "reserve"
	reserveSize = 64 << 10
)

// LockToFree is LockRoots for who removes something. It works on a full file system, too; FillReserve is for the end.
func (s *Store) LockToFree(ctx context.Context, o lease.Options) (l *lease.Lock, err error) {
	err = s.relieved(func() error { l, err = s.LockRoots(ctx, o); return err })
	return l, err
}

// relieved calls do, and once more with the space of the reserve if there was none.
func (s *Store) relieved(do func() error) error {
	err := do()
	if errors.As(err, new(*SpaceError)) && unix.Truncate(s.path(reserveFile), 0) == nil {
		return do()
	}
	return err
}

// FillReserve takes space for the reserve, as much as there is. It is written: a hole would hold nothing.
func (s *Store) FillReserve() {
	var st unix.Stat_t
	if err := unix.Lstat(s.path(reserveFile), &st); err == nil && st.Size >= reserveSize {
		return
	}
	f, err := os.OpenFile(s.path(reserveFile), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return // the next one who opens the store tries again
	}
	defer f.Close()
	_, _ = f.Write(make([]byte, reserveSize))
}
