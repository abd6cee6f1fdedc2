package lease

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func self(t testing.TB) Holder {
	t.Helper()
	h, err := Self()
	must(t, err)
	return h
}

func take(t testing.TB, path string, o Options) *Lock {
	t.Helper()
	if o.Holder == (Holder{}) {
		o.Holder = self(t)
	}
	l, err := Take(context.Background(), path, o)
	must(t, err)
	t.Cleanup(func() { must(t, l.Release()) })
	return l
}

func TestSees(t *testing.T) {
	h := self(t)
	change := func(f func(*Holder)) Holder { o := h; f(&o); return o }
	child := exec.Command("true")
	must(t, child.Run())
	for name, r := range map[string]struct {
		other Holder
		want  Life
	}{
		"itself":            {h, Alive},
		"another start":     {change(func(o *Holder) { o.Start++ }), Gone},
		"ended":             {change(func(o *Holder) { o.PID = child.Process.Pid }), Gone},
		"another boot":      {change(func(o *Holder) { o.Boot = "x" }), Gone},
		"another host":      {change(func(o *Holder) { o.Host, o.Boot = "x", "x" }), Unknown},
		"another namespace": {change(func(o *Holder) { o.Namespace++; o.Start++ }), Unknown},
	} {
		if got := h.Sees(r.other); got != r.want {
			t.Errorf("%s: got %d, want %d", name, got, r.want)
		}
	}
}

// TestZombie is a holder that died and whose parent has not noticed: it holds nothing any more.
func TestZombie(t *testing.T) {
	h := self(t)
	child := exec.Command("sleep", "1000")
	must(t, child.Start())
	start, err := startTime(child.Process.Pid)
	must(t, err, child.Process.Kill())
	other := h
	other.PID, other.Start = child.Process.Pid, start
	for deadline := time.Now().Add(10 * time.Second); h.Sees(other) != Gone; {
		if time.Now().After(deadline) {
			t.Fatal("a killed process is taken to live")
		}
	}
	_ = child.Wait() // it was killed
}

func TestTempNames(t *testing.T) {
	h := self(t)
	change := func(f func(*Holder)) Holder { o := h; f(&o); return o }
	for name, want := range map[string]bool{
		h.TempName(): false,
		change(func(o *Holder) { o.Start++ }).TempName():                 true,
		change(func(o *Holder) { o.Boot = "x" }).TempName():              true,
		change(func(o *Holder) { o.Host, o.Boot = "x", "x" }).TempName(): false,
		change(func(o *Holder) { o.Namespace++ }).TempName():             false,
		strings.Replace(h.TempName(), ".", ".x", 1):                      false,
		h.TempName() + ".x": false,
		"a." + short(h.Host) + "." + short(h.Boot) + ".1.x.1":       false,
		"a." + short(h.Host) + "." + short(h.Boot) + ".!.1.1":       false,
		"a." + short(h.Host) + "." + short(h.Boot) + "..1.18446744": false,
		"notes.txt": false,
	} {
		if got := h.Abandoned(name); got != want {
			t.Errorf("%q: abandoned %v, want %v", name, got, want)
		}
	}
	one, other := h.TempName(), h.TempName()
	if one == other || !IsTempName(one) || IsTempName("notes.txt") {
		t.Error("temporary names are not what they should be")
	}
}

func TestMutualExclusion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	h := self(t)
	var inside, total atomic.Int32
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			for range 5 {
				l, err := Take(context.Background(), path, Options{Holder: h})
				if err != nil {
					return err
				}
				if inside.Add(1) != 1 {
					return errors.New("two hold the lock")
				}
				total.Add(1)
				inside.Add(-1)
				if err := l.Release(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	must(t, g.Wait())
	if total.Load() != 40 {
		t.Errorf("taken %d times", total.Load())
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
}

// TestNoticesRelease measures how soon a waiter has the lock after it became free.
func TestNoticesRelease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l := take(t, path, Options{})
	waiting, done := make(chan Info, 1), make(chan error, 1)
	o := Options{Holder: self(t), Waiting: func(i Info) { waiting <- i }}
	go func() {
		l, err := Take(context.Background(), path, o)
		if err == nil {
			err = l.Release()
		}
		done <- err
	}()
	if info := <-waiting; info.Holder != self(t) {
		t.Errorf("waiting for %+v", info)
	}
	start := time.Now()
	must(t, l.Release(), <-done)
	if took := time.Since(start); took > time.Second { // 10 ms on a machine that is not busy
		t.Errorf("the release was noticed after %s", took)
	}
}

func TestTimeoutAndCancel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	take(t, path, Options{})
	for _, timeout := range []time.Duration{-1, time.Millisecond, 30 * time.Millisecond} {
		_, err := Take(context.Background(), path, Options{Holder: self(t), Timeout: timeout})
		var locked *LockedError
		if !errors.As(err, &locked) || locked.Info.Holder != self(t) || locked.Waited < timeout {
			t.Errorf("timeout %s: got %v", timeout, err)
		}
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	_, err := Take(ctx, path, Options{Holder: self(t), Waiting: func(Info) { cancel(stop) }})
	if !errors.Is(err, stop) {
		t.Errorf("cancelled: got %v", err)
	}
}

// TestStale takes over what no living process holds, and leaves what may be held.
func TestStale(t *testing.T) {
	h := self(t)
	change := func(f func(*Holder)) Holder { o := h; f(&o); return o }
	rows := map[string]struct {
		holder Holder
		expiry time.Duration
		stale  bool
	}{
		"alive, not renewed":  {h, time.Nanosecond, false},
		"gone":                {change(func(o *Holder) { o.Start++ }), time.Hour, true},
		"earlier boot":        {change(func(o *Holder) { o.Boot = "x" }), time.Hour, true},
		"other host, valid":   {change(func(o *Holder) { o.Host, o.Boot = "x", "x" }), time.Hour, false},
		"other host, expired": {change(func(o *Holder) { o.Host, o.Boot = "x", "x" }), time.Nanosecond, true},
	}
	for name, r := range rows {
		path := filepath.Join(t.TempDir(), "lock")
		old, err := create(path, Info{Holder: r.holder, Expiry: time.Hour})
		must(t, err)
		old.info.Expiry = r.expiry // and no renewal in the next 20 minutes
		must(t, old.SetLog(""))
		timeout := 50 * time.Millisecond
		if r.stale {
			timeout = 0 // forever
		}
		l, err := Take(context.Background(), path, Options{Holder: h, Timeout: timeout})
		switch {
		case r.stale && err != nil:
			t.Errorf("%s: %v", name, err)
		case !r.stale && !errors.As(err, new(*LockedError)):
			t.Errorf("%s: got %v", name, err)
		}
		must(t, old.Release()) // of the old holder, should it wake up: it must not free the new one's
		if l != nil {
			if info, err := Look(path); err != nil || info.Holder != h {
				t.Errorf("%s: the lock is %+v (%v)", name, info, err)
			}
			must(t, l.Release())
		}
		left, err := os.ReadDir(filepath.Dir(path))
		if err != nil || len(left) != 0 {
			t.Errorf("%s: left %v (%v)", name, left, err)
		}
	}
}

// TestManyTakeOver lets many waiters find the same stale lock: all get it, one after the other.
func TestManyTakeOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	h := self(t)
	gone := h
	gone.Start++
	old, err := create(path, Info{Holder: gone, Expiry: time.Hour})
	must(t, err)
	defer old.Release()
	var g errgroup.Group
	var taken atomic.Int32
	for range 8 {
		g.Go(func() error {
			l, err := Take(context.Background(), path, Options{Holder: h})
			if err != nil {
				return err
			}
			taken.Add(1)
			return l.Release()
		})
	}
	must(t, g.Wait())
	if taken.Load() != 8 {
		t.Errorf("taken %d times", taken.Load())
	}
}

// TestTakeOverPutsBack is the waiter that was slow: the lock that it found stale has a new holder by now.
func TestTakeOverPutsBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	h := self(t)
	gone := h
	gone.Start++
	old, err := create(path, Info{Holder: gone, Expiry: time.Hour})
	must(t, err)
	w := watch{path: path, self: h}
	if !w.stale() {
		t.Fatal("the lock is not stale")
	}
	must(t, old.Release())
	take(t, path, Options{})
	must(t, w.takeOver())
	if info, err := Look(path); err != nil || info.Holder != h {
		t.Errorf("the fresh lock is gone: %+v (%v)", info, err)
	}
}

func TestRenewAndLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l := take(t, path, Options{})
	_, before, err := look(path)
	must(t, err)
	must(t, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
	l.renew()
	_, after, err := look(path)
	must(t, err)
	if after.Mtim.Sec < before.Mtim.Sec {
		t.Errorf("renewed at %v, created at %v", after.Mtim, before.Mtim)
	}
	for _, log := range []string{"/a/long/path/to/a/log", "/log", ""} {
		must(t, l.SetLog(log))
		if info, err := Look(path); err != nil || info.Log != log {
			t.Errorf("the lock names %q (%v), want %q", info.Log, err, log)
		}
	}
	must(t, l.Release(), l.Release())
	if err := l.SetLog("/x"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after the release: %v", err)
	}
	l.renew()
	if _, err := Look(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a released lock came back: %v", err)
	}
}

// TestUnreadable is a lock whose holder died between creating and writing it.
func TestUnreadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for _, content := range []string{"", "{", `{"holder":{}}`} {
		must(t, os.WriteFile(path, []byte(content), 0o644))
		w := watch{path: path, self: self(t)}
		if w.stale() {
			t.Errorf("%q: stale at the first look", content)
		}
		w.since = w.since.Add(-unreadableExpiry)
		if !w.stale() {
			t.Errorf("%q: not stale after %s", content, unreadableExpiry)
		}
	}
}

// TestCannotTakeOver is a stale lock in a directory that is not ours to write: an error, and no endless loop.
func TestCannotTakeOver(t *testing.T) {
	if os.Geteuid() == 0 {
		return // may write anywhere
	}
	path := filepath.Join(t.TempDir(), "lock")
	gone := self(t)
	gone.Start++
	old, err := create(path, Info{Holder: gone, Expiry: time.Hour})
	must(t, err, os.Chmod(filepath.Dir(path), 0o555))
	_, err = Take(context.Background(), path, Options{Holder: self(t)})
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
	must(t, os.Chmod(filepath.Dir(path), 0o755), old.Release())
}

func TestNoDirectory(t *testing.T) {
	if _, err := Take(context.Background(), filepath.Join(t.TempDir(), "none", "lock"), Options{Holder: self(t)}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func FuzzInfo(f *testing.F) {
	f.Add([]byte(`{"holder":{"host":"a","boot":"b","namespace":1,"pid":2,"start":3},"expiry_ns":5,"log":"/l"}`))
	f.Add([]byte(`{"holder":{"pid":-1},"expiry_ns":5}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := parseInfo(data)
		if err == nil && (info.Holder.PID <= 0 || info.Expiry <= 0) {
			t.Errorf("accepted %q", data)
		}
	})
}

func BenchmarkLock(b *testing.B) {
	dir, h := b.TempDir(), self(b)
	for i := 0; b.Loop(); i++ {
		l, err := Take(context.Background(), fmt.Sprint(dir, "/", i), Options{Holder: h})
		if err == nil {
			err = l.Release()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
