package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/lease"
	"hdjail/artifact/tree"
)

func TestOpenRefusesFormats(t *testing.T) {
	for content, check := range map[string]func(error) bool{
		"hdjail store 2\n": func(err error) bool { return errors.As(err, new(*FormatError)) },
		"hdjail store 0\n": func(err error) bool { return errors.As(err, new(*artifact.MalformedError)) },
		"nix store 1\n":    func(err error) bool { return errors.As(err, new(*artifact.MalformedError)) },
		"":                 func(err error) bool { return errors.As(err, new(*artifact.MalformedError)) },
		"hdjail store 1\n": func(err error) bool { return err == nil },
	} {
		root := t.TempDir()
		must(t, os.Chmod(root, 0o755), os.WriteFile(root+"/format", []byte(content), 0o644))
		s, err := Open(root, Options{})
		if !check(err) {
			t.Errorf("%q: got %v", content, err)
		}
		if err == nil {
			must(t, s.Close())
		}
	}
}

func TestOpenRefusesOtherDirectories(t *testing.T) {
	root := t.TempDir()
	must(t, os.Chmod(root, 0o755), os.WriteFile(root+"/thesis.tex", nil, 0o644))
	if _, err := Open(root, Options{}); err == nil || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("got %v", err)
	}
	// What a crash left of the first start is no obstacle.
	must(t, os.Remove(root+"/thesis.tex"), os.Mkdir(root+"/store", 0o755), os.Mkdir(root+"/tmp", 0o700))
	reopen(t, root, Options{})
	for _, bad := range []string{"", "relative", "/a/../b", "/a/"} {
		if _, err := Open(bad, Options{}); err == nil {
			t.Errorf("%q was opened", bad)
		}
	}
	if _, err := Open(root, Options{Prefix: "opt"}); err == nil {
		t.Error("a relative prefix was accepted")
	}
}

// TestAncestors is T-cfg1: what another user could replace is named.
func TestAncestors(t *testing.T) {
	base := t.TempDir()
	must(t, os.Chmod(base, 0o755), os.MkdirAll(base+"/a/b", 0o755), os.Symlink(base+"/a", base+"/link"))
	rows := map[string]struct {
		dir  string // that is changed
		mode os.FileMode
		uid  int
		open string
		ok   bool
	}{
		"ours":                {"/a", 0o755, 0, "/a/b/store", true},
		"world-writable":      {"/a", 0o777, 0, "/a/b/store", false},
		"sticky":              {"/a", 0o777 | os.ModeSticky, 0, "/a/b/store", true},
		"group-writable":      {"/a", 0o775, 0, "/a/b/store", false},
		"the root itself":     {"/a/b", 0o777, 0, "/a/b", false},
		"sticky root":         {"/a/b", 0o777 | os.ModeSticky, 0, "/a/b", false},
		"link to ours":        {"/a", 0o755, 0, "/link/b/store", true},
		"link to the unsafe":  {"/a", 0o777, 0, "/link/b/store", false},
		"foreign":             {"/a", 0o755, 4711, "/a/b/store", false},
		"foreign link target": {"/a", 0o755, 4711, "/link/b/store", false},
		"foreign link":        {"/link", 0o755, 4711, "/link/b/store", false},
	}
	for name, r := range rows {
		if r.uid != 0 && os.Geteuid() != 0 {
			continue
		}
		if r.dir != "/link" {
			must(t, os.Chmod(base+r.dir, r.mode))
		}
		if r.uid != 0 {
			must(t, os.Lchown(base+r.dir, r.uid, r.uid))
		}
		s, err := Open(base+r.open, Options{})
		var ancestor *tree.AncestorError
		switch {
		case r.ok && err != nil:
			t.Errorf("%s: %v", name, err)
		case r.ok:
			if want := strings.Replace(base+r.open, "/link/", "/a/", 1); s.Root() != want {
				t.Errorf("%s: the root is %s, want %s", name, s.Root(), want)
			}
			must(t, s.Close())
		case !errors.As(err, &ancestor) || ancestor.Directory != base+r.dir:
			t.Errorf("%s: got %v", name, err)
		}
		if r.uid != 0 {
			must(t, os.Lchown(base+r.dir, 0, 0))
		}
		must(t, os.Chmod(base+"/a", 0o755), os.Chmod(base+"/a/b", 0o755), os.RemoveAll(base+"/a/b/store"))
	}
	must(t, os.Chmod(base+"/a", 0o775))
	reopen(t, base+"/a/b/store", Options{TrustGroup: true})
	must(t, os.Symlink("loop", base+"/loop"))
	if _, err := Open(base+"/loop/store", Options{}); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link to itself: %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	w := open(t, Options{})
	r, err := run(w, sample("a"), map[string]string{"f": "x"})
	must(t, err)
	before := listing(t, w)
	s := reopen(t, w.root, Options{ReadOnly: true})
	if got, err := s.Realization(r.ID); err != nil || got.ID != r.ID {
		t.Errorf("read %v (%v)", got, err)
	}
	ctx := context.Background()
	_, e1 := s.PutDerivation(sample("b"))
	_, e2 := s.Register(ctx, Registration{Derivation: sample("b")})
	_, e3 := s.RecordFailure(ctx, Failure{})
	_, e4 := s.Lock(ctx, r.Derivation, lease.Options{})
	_, e5 := s.NewTemp()
	_, e6 := s.Sweep(ctx)
	for i, err := range []error{e1, e2, e3, e4, e5, e6} {
		if !errors.As(err, new(*AccessError)) {
			t.Errorf("write %d: got %v", i+1, err)
		}
	}
	if after := listing(t, w); after != before {
		t.Errorf("the store changed:\n%s", after)
	}
	if _, err := Open(t.TempDir()+"/none", Options{ReadOnly: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no store: %v", err)
	}
	if os.Geteuid() != 0 {
		must(t, os.Chmod(w.TmpDir(), 0o555))
		_, err := Open(w.root, Options{})
		must(t, os.Chmod(w.TmpDir(), 0o711))
		var access *AccessError
		if !errors.As(err, &access) || access.Path != w.TmpDir() {
			t.Errorf("a store that is not ours to write: %v", err)
		}
	}
}

func TestWriteErrors(t *testing.T) {
	s := &Store{root: "/hdjail"}
	cause := func(err error) error { return &os.PathError{Op: "write", Path: "/hdjail/tmp/x", Err: err} }
	for _, errno := range []error{unix.ENOSPC, unix.EDQUOT} {
		var space *SpaceError
		if err := s.denied("/hdjail/tmp/x", cause(errno)); !errors.As(err, &space) || !errors.Is(err, errno) || space.Path != "/hdjail/tmp/x" {
			t.Errorf("%v gives %v", errno, err)
		}
	}
	for _, errno := range []error{unix.EACCES, unix.EROFS, unix.EPERM} {
		if err := s.denied("/hdjail/tmp/x", cause(errno)); !errors.As(err, new(*AccessError)) {
			t.Errorf("%v gives %v", errno, err)
		}
	}
	if err := s.denied("/x", cause(unix.EIO)); !errors.Is(err, unix.EIO) || errors.As(err, new(*SpaceError)) {
		t.Errorf("EIO gives %v", err)
	}
	if err := s.denied("/x", nil); err != nil {
		t.Error(err)
	}
}

// dead is a holder that no longer lives.
func dead(t *testing.T) lease.Holder {
	t.Helper()
	h, err := lease.Self()
	must(t, err)
	h.Start++ // another process had this number
	return h
}

// TestSweep removes what dead processes left and nothing else, and finishes what they were publishing.
func TestSweep(t *testing.T) {
	s := open(t, Options{})
	crashed := reopen(t, s.root, Options{Holder: dead(t)})
	elsewhere := dead(t)
	elsewhere.Host, elsewhere.Boot = "other", "other"
	remote := reopen(t, s.root, Options{Holder: elsewhere})
	rebooted := dead(t)
	rebooted.Boot = "before"
	earlier := reopen(t, s.root, Options{Holder: rebooted})

	var temps []*Temp
	for _, holder := range []*Store{s, crashed, remote, earlier} {
		temp, err := holder.NewTemp()
		must(t, err, os.MkdirAll(temp.Dir+"/build/deep", 0o755), os.WriteFile(temp.Dir+"/build/deep/f", nil, 0))
		must(t, os.Chmod(temp.Dir+"/build", 0))
		temps = append(temps, temp)
	}
	must(t, os.WriteFile(s.TmpDir()+"/strange", nil, 0o644))
	r, err := run(crashed, sample("a"), map[string]string{"f": "x"})
	must(t, err)
	must(t, os.RemoveAll(s.path("builds", r.Derivation.String())), os.Remove(s.path("store", sample("a").StoreName())))

	removed, err := s.Sweep(context.Background())
	must(t, err)
	if len(removed) != 2 {
		t.Errorf("swept %v", removed)
	}
	for i, want := range []bool{true, false, true, false} {
		if _, err := os.Lstat(temps[i].Dir); (err == nil) != want {
			t.Errorf("temporary directory %d: %v", i, err)
		}
	}
	found, err := s.Realizations(r.Derivation)
	must(t, err)
	if len(found) != 1 || found[0].ID != r.ID || found[0].Records[0].Builder.Host != "test" {
		t.Errorf("after the sweep there is %+v", found)
	}
	if _, err := os.Stat(s.path("store", sample("a").StoreName(), "f")); err != nil {
		t.Error(err)
	}
	if again, err := s.Sweep(context.Background()); err != nil || len(again) != 0 {
		t.Errorf("swept again %v (%v)", again, err)
	}
}

func TestLockNamesLog(t *testing.T) {
	s := open(t, Options{})
	id := sample("a").ID()
	if _, err := s.Locked(id); !errors.As(err, new(*NotFoundError)) {
		t.Errorf("no lock: %v", err)
	}
	l, err := s.Lock(context.Background(), id, lease.Options{})
	must(t, err, l.SetLog("/somewhere/log"))
	info, err := s.Locked(id)
	if err != nil || info.Log != "/somewhere/log" || info.Holder.PID != os.Getpid() {
		t.Errorf("%+v (%v)", info, err)
	}
	running, err := s.Running()
	if err != nil || len(running) != 1 || running[id].Log != info.Log {
		t.Errorf("%+v (%v)", running, err)
	}
	_, err = s.Lock(context.Background(), id, lease.Options{Timeout: time.Millisecond})
	var locked *lease.LockedError
	if !errors.As(err, &locked) || locked.Info.Holder.PID != os.Getpid() || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("got %v", err)
	}
	must(t, l.Release())
}
