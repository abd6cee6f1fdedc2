package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// unreadableExpiry is how long a lock file may lack its content, which its holder writes right after creating it.
const unreadableExpiry = 2 * time.Second

// watch is what a waiter has seen of a lock that another holds.
type watch struct {
	path string
	self Holder
	info Info
	// looked is the time of the last look, since that of the first one at which the file was as it is now. A number of an
	// inode is used again soon, so the time of the file counts too.
	looked, since time.Time
	seen          unix.Stat_t
}

// due tells whether it is time to look at the holder again.
func (w *watch) due() bool { return w.looked.IsZero() || time.Since(w.looked) >= lookPause }

// stale looks at the lock file and tells whether its holder has lost it.
func (w *watch) stale() bool {
	w.looked = time.Now()
	info, st, err := look(w.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	// Where times are coarse, a new lock may look like the one before; but it has another holder.
	if st.Ino != w.seen.Ino || st.Mtim != w.seen.Mtim || info.Holder != w.info.Holder || w.since.IsZero() {
		w.seen, w.since = st, w.looked
	}
	w.info = info
	unchanged := w.looked.Sub(w.since)
	if err != nil {
		return unchanged >= unreadableExpiry
	}
	switch w.self.Sees(info.Holder) {
	case Gone:
		return true
	case Alive:
		return false
	}
	return unchanged >= info.Expiry
}

// takeOver removes the stale lock, so that whoever creates it next has it. The rename makes sure that of several waiters
// one removes it, and that the file is the one that was stale. Its name meanwhile is one that Sweep knows.
func (w *watch) takeOver() error {
	w.looked = time.Time{}
	aside := filepath.Join(filepath.Dir(w.path), w.self.TempName())
	if err := os.Rename(w.path, aside); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another was faster
		}
		return fmt.Errorf("take over stale lock: %w", err)
	}
	defer os.Remove(aside)
	info, st, err := look(aside)
	if st.Ino != 0 && (st.Ino != w.seen.Ino || st.Mtim != w.seen.Mtim) || err == nil && info.Holder != w.info.Holder {
		putBack(aside, w.path)
	}
	return nil
}

// putBack gives a fresh lock its name again, unless there is another already. Where there are no hard links two may collide
// in the moment between look and rename; then the other believes that it holds the lock, too, and at worst a build runs twice.
func putBack(aside, path string) {
	if err := os.Link(aside, path); err == nil || errors.Is(err, fs.ErrExist) {
		return
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		_ = os.Rename(aside, path)
	}
}

// Sweep removes the locks in a directory whose processes are known to be gone, and what they had set aside. A lock of
// another machine is left to whoever waits for it.
func Sweep(dir string, self Holder) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("sweep locks: %w", err)
	}
	var failed []error
	for _, e := range entries {
		w := watch{path: filepath.Join(dir, e.Name()), self: self}
		switch {
		case IsTempName(e.Name()):
			if self.Abandoned(e.Name()) {
				_ = os.Remove(w.path) // or another did
			}
		case e.Type().IsRegular() && (w.stale() || w.empty() && w.olderThan(emptyExpiry)):
			failed = append(failed, w.takeOver())
		}
	}
	return errors.Join(failed...)
}

// emptyExpiry is how long a lock without content stays that nobody waits for.
const emptyExpiry = time.Hour

func (w *watch) empty() bool { return w.seen.Ino != 0 && w.seen.Size == 0 }

// olderThan compares the time of the file with that of one made now, so that the file system's clock alone counts.
func (w *watch) olderThan(age time.Duration) bool {
	f, err := os.OpenFile(filepath.Join(filepath.Dir(w.path), w.self.TempName()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false
	}
	defer os.Remove(f.Name())
	defer f.Close()
	info, err := f.Stat()
	return err == nil && info.ModTime().Sub(time.Unix(w.seen.Mtim.Unix())) > age
}

// Look reads the lock file at path. No file gives an error that is fs.ErrNotExist.
func Look(path string) (Info, error) {
	info, _, err := look(path)
	return info, err
}

func look(path string) (info Info, st unix.Stat_t, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return info, st, err
	}
	defer f.Close()
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return info, st, err
	}
	data, err := io.ReadAll(io.LimitReader(f, infoMax))
	if err != nil {
		return info, st, err
	}
	info, err = parseInfo(data)
	return info, st, err
}

func parseInfo(data []byte) (Info, error) {
	var info Info
	if err := json.Unmarshal(data, &info); err != nil {
		return Info{}, fmt.Errorf("read lock file: %w", err)
	}
	if info.Holder.PID <= 0 || info.Expiry <= 0 {
		return Info{}, errors.New("read lock file: it names no holder")
	}
	return info, nil
}
