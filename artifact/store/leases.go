package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/lease"
)

// leaseExpiry is how long the lease of a process on another machine lasts that does not renew it.
const leaseExpiry = 30 * time.Minute

// Endings of the two files of a lease: one tells that its holder lives, the other what it uses.
const (
	leaseLock = ".lock"
	leaseUse  = ".json"
)

// rootsLock is the file in locks/ that a collection holds while it looks and removes.
const rootsLock = "gc"

// Use is what a process needs of the store while its lease lasts.
type Use struct {
	// Purpose is "build", "shell", "pack" or another verb, for people.
	Purpose string `json:"purpose"`
	// Derivations are kept with all their realizations. They may be stored later, so what they depend on is listed, too.
	Derivations []artifact.DerivationID `json:"derivations,omitempty"`
	// Realizations are kept with their contexts.
	Realizations []artifact.RealizationID `json:"realizations,omitempty"`
	// Sources are digests of inputs that no stored derivation may name yet.
	Sources []string `json:"sources,omitempty"`
}

// Lease keeps a collection from removing what its holder uses, until Release. While any lease lasts, nothing below host/ is
// removed either.
type Lease struct {
	path string
	lock *lease.Lock
}

// Lease tells collections what this process is about to use. It waits for one that is under way, so whoever holds a lease
// has to look again whether the store still has what it saw before. Options are those of that wait; the store sets Holder.
func (s *Store) Lease(ctx context.Context, u Use, o lease.Options) (_ *Lease, err error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(u)
	if err != nil {
		return nil, fmt.Errorf("encode lease: %w", err)
	}
	l := &Lease{path: s.path("gcroots/leases", s.holder.TempName())}
	if l.lock, err = lease.Take(ctx, l.path+leaseLock, lease.Options{Holder: s.holder, Expiry: leaseExpiry}); err != nil {
		return nil, s.denied(l.path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Release())
		}
	}()
	if err := s.writeFile(l.path+leaseUse, append(data, '\n')); err != nil {
		return nil, err
	}
	// A collection either began before this and is over when we get the lock, or it will find the lease.
	gate, err := s.LockRoots(ctx, o)
	if err != nil {
		return nil, err
	}
	return l, gate.Release()
}

// Release gives the lease up. It may be called twice, and for nil.
func (l *Lease) Release() error {
	if l == nil {
		return nil
	}
	err := os.Remove(l.path + leaseUse)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.lock.Release())
}

// LockRoots takes the lock of whoever changes what the store keeps: collections and those who add or remove roots.
func (s *Store) LockRoots(ctx context.Context, o lease.Options) (*lease.Lock, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	o.Holder = s.holder
	l, err := lease.Take(ctx, s.path("locks", rootsLock), o)
	if locked := (*lease.LockedError)(nil); err != nil && !errors.As(err, &locked) && ctx.Err() == nil {
		err = s.denied(s.path("locks"), err)
	}
	return l, err
}

// Leases returns what living processes use, by the names of their leases. Those of dead ones are removed, unless the store
// is read-only. One that cannot be read gives *RootError, joined, beside the others.
func (s *Store) Leases() (map[string]Use, error) {
	entries, err := os.ReadDir(s.path("gcroots/leases"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &RootError{"leases", err}
	}
	uses := map[string]Use{}
	var failed []error
	for _, e := range entries {
		name, isLock := strings.CutSuffix(e.Name(), leaseLock)
		if !isLock {
			continue
		}
		base := s.path("gcroots/leases", name)
		gone, err := s.leaseOver(base + leaseLock)
		if err != nil {
			failed = append(failed, &RootError{"leases/" + name, err})
			continue
		}
		if gone {
			s.reapLease(base)
			continue
		}
		data, err := readFile(base + leaseUse)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it is being taken, and will wait for us, or was given up
		}
		var u Use
		if err == nil {
			err = json.Unmarshal(data, &u)
		}
		if err != nil {
			failed = append(failed, &RootError{"leases/" + name, err})
			continue
		}
		uses[name] = u
	}
	return uses, errors.Join(failed...)
}

func (s *Store) reapLease(base string) {
	if s.readOnly {
		return
	}
	// What stays is found again by the next who looks.
	if err := os.Remove(base + leaseUse); err == nil || errors.Is(err, fs.ErrNotExist) {
		_ = os.Remove(base + leaseLock)
	}
}

// leaseOver reports whether the holder of a lease is gone: a process of this machine is looked at; what another one holds
// ends when it was not renewed for long, by the clock of the file system.
func (s *Store) leaseOver(lock string) (bool, error) {
	var st unix.Stat_t
	if err := unix.Lstat(lock, &st); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return true, nil
		}
		return false, &fs.PathError{Op: "stat", Path: lock, Err: err}
	}
	info, err := lease.Look(lock)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err == nil {
		switch s.holder.Sees(info.Holder) {
		case lease.Gone:
			return true, nil
		case lease.Alive:
			return false, nil
		}
	}
	if s.readOnly {
		return false, nil
	}
	now, err := s.fileTime()
	return now.Sub(time.Unix(st.Mtim.Unix())) > leaseExpiry, err
}
