package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/lease"
)

// Sweep removes the temporary directories and locks that processes of this machine left when they died, and what other
// machines have not renewed for three days. It publishes a record that was only missing its name, and records the runs that
// were pending. After a restart of the machine, a realization without a record gets the one in its manifest. It returns the
// names of the temporary directories that it removed. What cannot be removed is in the error, and does not keep the rest.
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
	if _, err := s.Leases(); err != nil { // it removes those of dead processes
		failed = append(failed, err)
	}
	elsewhere := false
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		if !s.abandoned(e.Name()) {
			continue
		}
		taken, err := s.reap(ctx, e.Name())
		if err != nil {
			failed = append(failed, fmt.Errorf("sweep %q: %w", path.Join(s.TmpDir(), e.Name()), err))
		} else if taken {
			removed = append(removed, e.Name())
			elsewhere = elsewhere || !s.holder.ThisBoot(e.Name())
		}
	}
	if elsewhere {
		failed = append(failed, s.recover(ctx))
	}
	failed = append(failed, lease.Sweep(s.path("locks"), s.holder), lease.Sweep(s.path("profiles"), s.holder)) // which has a lock, too
	return removed, errors.Join(failed...)
}

// abandoned tells whether nobody holds an entry of tmp/ any more.
func (s *Store) abandoned(name string) bool {
	switch s.holder.SeesTemp(name) {
	case lease.Gone:
		return true
	case lease.Alive:
		return false
	}
	made, err := os.Lstat(s.path("tmp", name))
	if err != nil {
		return false
	}
	now, err := s.fileTime()
	return err == nil && now.Sub(made.ModTime()) > expireTemp
}

// fileTime is the present in the eyes of the store's file system, which may be a server's.
func (s *Store) fileTime() (time.Time, error) {
	name := s.path("tmp", s.holder.TempName())
	if err := s.create(name, nil); err != nil {
		return time.Time{}, err
	}
	defer os.Remove(name)
	info, err := os.Lstat(name)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// reap finishes what the holder of an entry was about and removes it, unless another sweep was faster. After an error that
// may pass it stays, for the next sweep after this process.
func (s *Store) reap(ctx context.Context, name string) (taken bool, err error) {
	if s.release != nil {
		if err := s.release(name); err != nil {
			return false, err
		}
	}
	// Under our name, so that of two sweeps one removes it, and a third one goes on if we die.
	mine := s.holder.TempName()
	err = unix.Rename(s.path("tmp", name), s.path("tmp", mine))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, s.denied(s.path("tmp", name), err)
	}
	if err = s.finishRecord(mine); err == nil {
		err = s.recordPending(ctx, mine)
	}
	if errors.As(err, new(*SpaceError)) || ctx.Err() != nil {
		return false, err
	}
	return true, errors.Join(err, s.discard(mine))
}

// finishRecord publishes the staged record of a realization that is published, if the entry is one.
func (s *Store) finishRecord(name string) error {
	stage := &Temp{store: s, name: name, Dir: s.path("tmp", name)}
	text, err := readFile(stage.Dir + "/record.json")
	if err != nil {
		return nil // it is something else
	}
	var r artifact.BuildRecord
	if json.Unmarshal(text, &r) != nil || r.Realization.IsZero() {
		return nil // not complete, or of a failure, which is pending elsewhere
	}
	m, err := s.manifest(r.Realization)
	if errors.As(err, new(*NotFoundError)) {
		return nil // it came to nothing
	}
	if err != nil || m.Derivation != r.Derivation {
		return err
	}
	if err := s.linkPublic(m); err != nil {
		return err
	}
	return s.publishRecord(stage, &r)
}

// recorded tells whether there is a record of the very run that r is about.
func (s *Store) recorded(r *artifact.BuildRecord) (bool, error) {
	records, err := s.Records(r.Derivation)
	return slices.ContainsFunc(records, func(other artifact.BuildRecord) bool {
		return other.Start.Equal(r.Start) && other.Builder == r.Builder
	}), err
}

// recover completes registrations that were cut off with the machine, after the realization was published: it gets the
// record that its manifest holds, and a public path.
func (s *Store) recover(ctx context.Context) error {
	entries, err := os.ReadDir(s.path("realizations"))
	if err != nil {
		return err
	}
	var failed []error
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if id, err := artifact.ParseRealizationID(e.Name()); err == nil {
			if err := s.complete(ctx, id); !errors.As(err, new(*NotFoundError)) { // else collected meanwhile, or its derivation is
				failed = append(failed, err)
			}
		}
	}
	return errors.Join(failed...)
}

// complete gives a realization what it lacks. One whose derivation is locked is being registered, or will be again.
func (s *Store) complete(ctx context.Context, id artifact.RealizationID) error {
	m, err := s.manifest(id)
	if err != nil {
		return err
	}
	known, err := s.hasRecord(m)
	if err != nil || known {
		return errors.Join(err, s.linkPublic(m))
	}
	lock, err := s.Lock(ctx, m.Derivation, lease.Options{Timeout: -1})
	if errors.As(err, new(*lease.LockedError)) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Release()
	if known, err = s.hasRecord(m); err != nil || known {
		return err
	}
	record, err := s.stageRecord(&m.First, "", nil)
	if err != nil {
		return err
	}
	defer record.Close()
	if err := s.sync(); err != nil {
		return err
	}
	if err := s.linkPublic(m); err != nil {
		return err
	}
	return s.publishRecord(record, &m.First)
}

func (s *Store) hasRecord(m manifest) (bool, error) {
	known, err := s.Realizations(m.Derivation)
	return slices.ContainsFunc(known, func(r artifact.Realization) bool { return r.ID == m.ID }), err
}
