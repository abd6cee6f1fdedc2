package lease

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestPutBackWithoutLinks is a file system that has no hard links, for which a directory stands here: it has none either.
func TestPutBackWithoutLinks(t *testing.T) {
	dir := t.TempDir()
	aside, path := filepath.Join(dir, "aside"), filepath.Join(dir, "lock")
	must(t, os.Mkdir(aside, 0o755))
	putBack(aside, path)
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("it was not put back: %v", err)
	}
	must(t, os.MkdirAll(filepath.Join(aside, "x"), 0o755))
	putBack(aside, path)
	if _, err := os.Lstat(filepath.Join(path, "x")); err == nil {
		t.Error("another lock was replaced")
	}
}

// TestCreate makes a lock with and without links: nothing else is left, and it is not made twice.
func TestCreate(t *testing.T) {
	for _, link := range []bool{true, false} {
		dir := t.TempDir()
		path := filepath.Join(dir, "lock")
		l := &Lock{path: path, info: Info{Holder: self(t), Expiry: time.Minute}}
		name := path
		if link {
			name = filepath.Join(dir, l.info.Holder.TempName())
		}
		must(t, l.make(name, link))
		if info, err := Look(path); err != nil || info.Holder != l.info.Holder {
			t.Errorf("the lock is %+v (%v)", info, err)
		}
		must(t, l.file.Close())
		if err := l.make(name, link); !errors.Is(err, fs.ErrExist) {
			t.Errorf("made twice: %v", err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("there is %v, %v", left, err)
		}
	}
}

// TestCoarseTimes is a lock that follows another one on a file system with coarse times that gave it the same inode.
func TestCoarseTimes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	h := self(t)
	there := func(pid int) {
		o := h
		o.Host, o.PID = "other", pid
		text, err := json.Marshal(Info{Holder: o, Expiry: time.Minute})
		must(t, err, os.WriteFile(path, text, 0o644), os.Chtimes(path, time.Unix(2, 0), time.Unix(2, 0)))
	}
	there(1)
	w := watch{path: path, self: h}
	w.stale()
	w.since = w.since.Add(-time.Hour)
	if !w.stale() {
		t.Fatal("a lock of another machine that is not renewed is not stale")
	}
	there(2)
	must(t, w.takeOver())
	if info, err := Look(path); err != nil || info.Holder.PID != 2 {
		t.Errorf("the fresh lock is gone: %+v (%v)", info, err)
	}
	if w.stale() {
		t.Error("a new lock is as old as the one before")
	}
}

// TestSweepLocks removes what is known to be dead and nothing else.
func TestSweepLocks(t *testing.T) {
	dir, h := t.TempDir(), self(t)
	gone, away := h, h
	gone.Start++
	away.Host = "other"
	for name, holder := range map[string]Holder{"live": h, "dead": gone, "away": away} {
		text, err := json.Marshal(Info{Holder: holder, Expiry: time.Minute})
		must(t, err, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	}
	must(t, os.WriteFile(filepath.Join(dir, "new"), nil, 0o644), os.Mkdir(filepath.Join(dir, "directory"), 0o755))
	long := time.Now().Add(-2 * emptyExpiry)
	must(t, os.WriteFile(filepath.Join(dir, "old"), nil, 0o644), os.Chtimes(filepath.Join(dir, "old"), long, long))
	kept := []string{"away", "directory", "live", "new", h.TempName(), away.TempName()}
	for _, name := range append(kept[4:], gone.TempName()) {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	must(t, Sweep(dir, h))
	var left []string
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	slices.Sort(kept)
	if !slices.Equal(left, kept) {
		t.Errorf("left %q, want %q", left, kept)
	}
}
