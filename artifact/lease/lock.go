package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Info is what a lock file says.
type Info struct {
	Holder Holder `json:"holder"`
	// Expiry is how long a lock lasts that its holder does not renew. A renewal changes the time of the file.
	Expiry time.Duration `json:"expiry_ns"`
	// Log is the path of the log that the holder is writing, empty for none.
	Log string `json:"log,omitempty"`
}

// Options say how a lock is taken.
type Options struct {
	// Holder is this process.
	Holder Holder
	// Timeout ends the wait for a lock that is held: 0 waits as long as the context lets, less than 0 not at all.
	Timeout time.Duration
	// Expiry of the lock, 2 minutes when 0.
	Expiry time.Duration
	// Waiting is called once when the lock is held by another, before the wait. It may be nil.
	Waiting func(Info)
}

// LockedError reports a lock that another process holds.
type LockedError struct {
	Path string
	Info Info
	// Waited is how long the caller waited for it.
	Waited time.Duration
}

// Error implements error.
func (e *LockedError) Error() string {
	return fmt.Sprintf("lock %q: held by %s, waited %s", filepath.Base(e.Path), e.Info.Holder, e.Waited.Round(time.Millisecond))
}

// Lock is a lock that is held. Its file is renewed until Release. Methods may be called by several goroutines.
type Lock struct {
	path  string
	info  Info
	file  *os.File
	mu    sync.Mutex
	timer *time.Timer // nil after Release
}

const (
	defaultExpiry = 2 * time.Minute
	firstPoll     = time.Millisecond
	lastPoll      = 10 * time.Millisecond
	lookPause     = 100 * time.Millisecond // between two looks at the holder
	infoMax       = 16 << 10
)

// Take creates the lock file at path, and waits while a living process holds it. A lock is stale, and taken over, when its
// process is gone, or when it is on another machine and has not renewed the file during its expiry, measured by this
// process's clock. When the wait is over it gives *LockedError, or the context's cause.
func Take(ctx context.Context, path string, o Options) (*Lock, error) {
	if o.Expiry <= 0 {
		o.Expiry = defaultExpiry
	}
	started := time.Now() // a duration only, which the monotonic clock measures
	w := watch{path: path, self: o.Holder}
	pause := firstPoll
	for {
		l, err := create(path, Info{Holder: o.Holder, Expiry: o.Expiry})
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("lock %q: %w", filepath.Base(path), err)
		}
		waited := time.Since(started)
		over := o.Timeout < 0 || o.Timeout > 0 && waited >= o.Timeout
		if (over || w.due()) && w.stale() {
			if err := w.takeOver(); err != nil {
				return nil, err
			}
			continue
		}
		if over {
			return nil, &LockedError{path, w.info, waited}
		}
		if o.Waiting != nil && w.info.Holder.PID != 0 {
			o.Waiting(w.info)
			o.Waiting = nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		case <-timer.C:
		}
		pause = min(2*pause, lastPoll)
	}
}

// create makes the lock file, which must not exist. Where there are hard links it appears with its content, so that who is
// killed in between leaves no lock without a holder; elsewhere the content comes right after.
func create(path string, info Info) (*Lock, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist} // all that a waiter does most of the time
	}
	l := &Lock{path: path, info: info}
	err := l.make(filepath.Join(filepath.Dir(path), info.Holder.TempName()), true)
	if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		err = l.make(path, false)
	}
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.timer = time.AfterFunc(info.Expiry/3, l.renew)
	l.mu.Unlock()
	return l, nil
}

// make makes a file with the content, which is the lock, or becomes it by a link.
func (l *Lock) make(name string, link bool) (err error) {
	if l.file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o644); err != nil {
		return err
	}
	if err = l.write(); err == nil && link {
		err = l.link(name)
	}
	if err != nil {
		l.file.Close()
	}
	if err != nil || link {
		os.Remove(name)
	}
	return err
}

// link gives the file its name. A server whose answer was lost says that the name exists (link(2), NFS), but counts two.
func (l *Lock) link(name string) error {
	err := os.Link(name, l.path)
	var st unix.Stat_t
	if err != nil && unix.Fstat(int(l.file.Fd()), &st) == nil && st.Nlink == 2 {
		return nil
	}
	return err
}

// write puts the content into the file that was created, wherever its name leads by now. One write is one page, which
// readers see as a whole.
func (l *Lock) write() error {
	data, err := json.Marshal(l.info)
	if err != nil {
		return err
	}
	_, err = l.file.WriteAt(append(data, '\n'), 0)
	return err
}

func (l *Lock) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil {
		return
	}
	// An error here leaves a lock that looks older than it is, so at worst a build runs twice.
	_ = l.write()
	l.timer.Reset(l.info.Expiry / 3)
}

// SetLog puts the path of the log that is being written into the lock file.
func (l *Lock) SetLog(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.info.Log = path
	if l.timer == nil {
		return fmt.Errorf("name log in lock %q: %w", filepath.Base(l.path), fs.ErrClosed)
	}
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("name log in lock %q: %w", filepath.Base(l.path), err)
	}
	return l.write()
}

// Release gives the lock up. A lock that was taken over is left to its new holder. It may be called twice.
func (l *Lock) Release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil {
		return nil
	}
	l.timer.Stop()
	l.timer = nil
	defer l.file.Close()
	// A waiter that took it for a stale one puts it back, perhaps after we are gone: then it must be nobody's.
	_ = l.file.Truncate(0)
	var ours, there unix.Stat_t
	if err := unix.Fstat(int(l.file.Fd()), &ours); err != nil {
		return fmt.Errorf("release lock %q: %w", filepath.Base(l.path), err)
	}
	if err := unix.Lstat(l.path, &there); err != nil || there.Ino != ours.Ino || there.Dev != ours.Dev {
		return nil
	}
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("release lock %q: %w", filepath.Base(l.path), err)
	}
	return nil
}
