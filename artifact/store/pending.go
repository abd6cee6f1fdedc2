package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// pendingName is the file in a temporary directory that says what is to be recorded if its holder dies.
const pendingName = "pending.json"

// Pending has Sweep store the failure if this process dies before the directory is closed: its Log is then a file in the
// directory, and the end of the run is when that was last written to. A run that fails in another way is the caller's.
func (t *Temp) Pending(f Failure) error {
	f.Log = path.Base(f.Log)
	text, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode what is pending: %w", err)
	}
	return t.store.create(path.Join(t.Dir, pendingName), text)
}

// recordPending stores what a process that is dead had pending, if it had anything.
func (s *Store) recordPending(ctx context.Context, name string) error {
	dir := s.path("tmp", name)
	text, err := readFile(path.Join(dir, pendingName))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) { // it may be a file that was being written
		return nil
	}
	if err != nil {
		return err
	}
	var f Failure
	if err := json.Unmarshal(text, &f); err != nil {
		return nil // it died while it wrote this
	}
	if known, err := s.recorded(&f.Record); err != nil || known {
		return err // it died when the run was over
	}
	f.Log = path.Join(dir, path.Base(f.Log))
	info, err := os.Lstat(f.Log)
	if err != nil {
		return err
	}
	f.Record.End = info.ModTime()
	_, err = s.RecordFailure(ctx, f)
	return err
}
