package lease

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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
	if st.Ino != w.seen.Ino || st.Mtim != w.seen.Mtim || w.since.IsZero() {
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
// one removes it, and that the file is the one that was stale.
func (w *watch) takeOver() error {
	w.looked = time.Time{}
	aside := w.path + ".stale-" + rand.Text()
	if err := os.Rename(w.path, aside); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another was faster
		}
		return fmt.Errorf("take over stale lock: %w", err)
	}
	defer os.Remove(aside)
	var st unix.Stat_t
	if err := unix.Lstat(aside, &st); err == nil && (st.Ino != w.seen.Ino || st.Mtim != w.seen.Mtim) {
		_ = os.Link(aside, w.path) // a fresh lock: put it back, unless there is another already
	}
	return nil
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
