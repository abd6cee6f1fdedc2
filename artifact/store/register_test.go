package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/collect"
)

// listing describes everything below the root but tmp/ and what is in the trees: names, modes, link targets.
func listing(t *testing.T, s *Store) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(s.root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(s.root, p)
		if rel == "tmp" {
			return fs.SkipDir
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		target, _ := os.Readlink(p)
		fmt.Fprintf(&b, "%s %v %s\n", rel, info.Mode(), target)
		return nil
	}))
	return b.String()
}

func noTemporaries(t *testing.T, s *Store) {
	t.Helper()
	left, err := os.ReadDir(s.TmpDir())
	must(t, err)
	if len(left) > 0 {
		t.Errorf("%d entries are left in tmp/, the first one is %s", len(left), left[0].Name())
	}
}

func only(id artifact.DerivationID, r artifact.RealizationID) artifact.Context {
	return artifact.Context{id: {r}}
}

// TestLayout pins what a store looks like after a dependency and its dependant were registered.
func TestLayout(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	s := open(t, Options{Prefix: "/hdjail"})
	a, err := run(s, sample("a"), map[string]string{"lib/a": "a"})
	must(t, err)
	d := sample("b", a.Derivation)
	b, err := runIn(s, d, only(a.Derivation, a.ID), map[string]string{"b": "b"})
	must(t, err)
	want := `. drwxr-xr-x 
builds drwxr-xr-x 
builds/{A} drwxr-xr-x 
builds/{A}/1 drwxr-xr-x 
builds/{A}/1/record.json -r--r--r-- 
builds/{B} drwxr-xr-x 
builds/{B}/1 drwxr-xr-x 
builds/{B}/1/record.json -r--r--r-- 
builds/last Lrwxrwxrwx {B}/1
derivations drwxr-xr-x 
derivations/{A}.json -r--r--r-- 
derivations/{B}.json -r--r--r-- 
format -r--r--r-- 
gcroots drwxr-xr-x 
gcroots/leases drwxr-xr-x 
host drwxr-xr-x 
locks drwxr-xr-x 
profiles drwxr-xr-x 
realizations drwxr-xr-x 
realizations/{ra} drwxr-xr-x 
realizations/{ra}/log.zst -r--r--r-- 
realizations/{ra}/manifest.json -r--r--r-- 
realizations/{ra}/out dr-xr-xr-x 
realizations/{ra}/out/lib dr-xr-xr-x 
realizations/{ra}/out/lib/a -r-xr-xr-x 
realizations/{rb} drwxr-xr-x 
realizations/{rb}/log.zst -r--r--r-- 
realizations/{rb}/manifest.json -r--r--r-- 
realizations/{rb}/out dr-xr-xr-x 
realizations/{rb}/out/b -r-xr-xr-x 
realizations/{rb}/{A}-a-1 Lrwxrwxrwx ../{ra}/out
reserve -rw------- 
sources drwxr-xr-x 
store drwxr-xr-x 
store/{A}-a-1 Lrwxrwxrwx ../realizations/{ra}/out
store/{B}-b-1 Lrwxrwxrwx ../realizations/{rb}/out
`
	names := strings.NewReplacer(a.Derivation.String(), "{A}", b.Derivation.String(), "{B}", a.ID.String(), "{ra}", b.ID.String(), "{rb}")
	got := strings.Split(names.Replace(listing(t, s)), "\n")
	wanted := strings.Split(want, "\n")
	for _, line := range wanted {
		if !contains(got, line) {
			t.Errorf("missing: %s", line)
		}
	}
	for _, line := range got {
		if !contains(wanted, line) {
			t.Errorf("extra: %s", line)
		}
	}
	noTemporaries(t, s)
	// From the public path of b a relative link leads to exactly the a that b was built with.
	data, err := os.ReadFile(s.OutPath(b.ID) + "/../" + d.Dependencies[0].ID.StoreName("a", "1") + "/lib/a")
	if err != nil || string(data) != "a" {
		t.Errorf("the dependency beside b reads %q (%v)", data, err)
	}
	if got, want := s.PublicPath(d), "/hdjail/store/"+d.StoreName(); got != want {
		t.Errorf("public path %s, want %s", got, want)
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// TestRegisterAgain is H2: the same tree in the same context is one realization with two records and two logs.
func TestRegisterAgain(t *testing.T) {
	s := open(t, Options{})
	d := sample("a")
	first, err := run(s, d, map[string]string{"f": "x"})
	must(t, err)
	again, err := run(s, d, map[string]string{"f": "x"})
	must(t, err)
	if again.ID != first.ID || len(again.Records) != 2 {
		t.Errorf("%s with %d records, want %s with 2", again.ID, len(again.Records), first.ID)
	}
	other, err := run(s, d, map[string]string{"f": "y"})
	must(t, err)
	found, err := s.Realizations(first.Derivation)
	must(t, err)
	if len(found) != 2 || other.ID == first.ID {
		t.Errorf("found %d realizations, want 2", len(found))
	}
	// The public path stays with the first.
	if link, err := os.Readlink(s.path("store", d.StoreName())); err != nil || link != "../realizations/"+first.ID.String()+"/out" {
		t.Errorf("the public path leads to %s (%v)", link, err)
	}
	for _, r := range again.Records {
		if got := readLog(t, s, r); got != "building a\n" || r.LogBytes != int64(len(got)) {
			t.Errorf("record %d has the log %q of %d bytes", r.Number, got, r.LogBytes)
		}
	}
	one, err := s.Realization(first.ID)
	if err != nil || len(one.Records) != 2 || !one.Context.Equal(artifact.Context{}) || one.Tree != first.Tree {
		t.Errorf("read back %+v (%v)", one, err)
	}
	noTemporaries(t, s)
}

func readLog(t *testing.T, s *Store, r artifact.BuildRecord) string {
	t.Helper()
	log, err := s.OpenLog(r)
	must(t, err)
	defer log.Close()
	data, err := io.ReadAll(log)
	must(t, err)
	return string(data)
}

// TestReadOnlyArtifact is H3; root may write anywhere.
func TestReadOnlyArtifact(t *testing.T) {
	if os.Geteuid() == 0 {
		return
	}
	s := open(t, Options{})
	r, err := run(s, sample("a"), map[string]string{"d/f": "x"})
	must(t, err)
	out := s.OutPath(r.ID)
	for name, err := range map[string]error{
		"create":      os.WriteFile(out+"/new", nil, 0o644),
		"create deep": os.WriteFile(out+"/d/new", nil, 0o644),
		"write":       os.WriteFile(out+"/d/f", nil, 0o644),
		"remove":      os.Remove(out + "/d/f"),
		"rename":      os.Rename(out+"/d/f", out+"/d/g"),
	} {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestRegisterRefuses is H5 and what a caller may get wrong; nothing is left behind.
func TestRegisterRefuses(t *testing.T) {
	s := open(t, Options{})
	a, err := run(s, sample("a"), map[string]string{"f": "a"})
	must(t, err)
	a2, err := run(s, sample("a"), map[string]string{"f": "a2"})
	must(t, err)
	b, err := run(s, sample("b"), map[string]string{"f": "b"})
	must(t, err)
	before := listing(t, s)
	many, err := artifact.NewContext(artifact.Context{a.Derivation: {a.ID, a2.ID}})
	must(t, err)
	rows := map[string]struct {
		d *artifact.Derivation
		c artifact.Context
	}{
		"dependency without realization": {sample("x", a.Derivation), nil},
		"realization without dependency": {sample("x"), only(a.Derivation, a.ID)},
		"realization of another":         {sample("x", a.Derivation), only(a.Derivation, b.ID)},
		"realization not in the store":   {sample("x", a.Derivation), only(a.Derivation, artifact.RealizationID{1})},
		"realization where a derivation": {sample("x", artifact.DerivationID(a.ID)), only(artifact.DerivationID(a.ID), a.ID)},
		"several without many":           {sample("x", a.Derivation), many},
		"empty choice":                   {sample("x", a.Derivation), artifact.Context{a.Derivation: nil}},
		"bad name":                       {sample("../x"), nil},
	}
	for name, r := range rows {
		if got, err := runIn(s, r.d, r.c, map[string]string{"f": "x"}); err == nil {
			t.Errorf("%s: registered as %s", name, got.ID)
		}
	}
	must(t, os.RemoveAll(s.path("derivations", sample("x").ID().String()+".json")))
	after := listing(t, s)
	for _, line := range strings.Split(after, "\n") {
		if !strings.HasPrefix(line, "derivations/") && !strings.Contains(before, line) {
			t.Errorf("left behind: %s", line)
		}
	}
	noTemporaries(t, s)
	d := sample("x", a.Derivation)
	d.Dependencies[0].Many = true
	r, err := runIn(s, d, many, map[string]string{"f": "x"})
	must(t, err)
	if beside, err := filepath.Glob(s.path("realizations", r.ID.String(), "*-a-1")); err != nil || len(beside) != 0 {
		t.Errorf("beside the tree is %v: two realizations have no one link", beside)
	}
}

// TestOtherFileSystem registers an output that cannot be renamed into the store.
func TestOtherFileSystem(t *testing.T) {
	var here, there unix.Statfs_t
	s := open(t, Options{})
	must(t, unix.Statfs(s.root, &here))
	if err := unix.Statfs("/dev/shm", &there); err != nil || here.Fsid == there.Fsid {
		t.Skip("there is no second file system to write to")
	}
	out, err := os.MkdirTemp("/dev/shm", "hdjail-test-")
	must(t, err)
	defer os.RemoveAll(out)
	must(t, os.WriteFile(out+"/f", []byte("x"), 0o755), os.Symlink("f", out+"/l"))
	c, err := collect.Collect(context.Background(), out, collect.Options{UID: os.Geteuid()})
	must(t, err)
	g := Registration{Derivation: sample("a"), Out: out, Tree: c.Tree, Record: artifact.BuildRecord{Purpose: "build"}}
	r, err := s.Register(context.Background(), g)
	must(t, err)
	if data, err := os.ReadFile(s.OutPath(r.ID) + "/l"); err != nil || string(data) != "x" {
		t.Errorf("the copy reads %q (%v)", data, err)
	}
	g.Derivation, g.Tree = sample("b"), artifact.TreeDigest{}
	if _, err := s.Register(context.Background(), g); !errors.As(err, new(*artifact.MalformedError)) {
		t.Errorf("a copy with another digest: %v", err)
	}
	noTemporaries(t, s)
}

// TestConcurrentRegister lets goroutines and processes register the same and different trees of one derivation.
func TestConcurrentRegister(t *testing.T) {
	if root := os.Getenv("HDJAIL_TEST_STORE"); root != "" {
		must(t, registerMany(reopen(t, root, Options{})))
		return
	}
	s := open(t, Options{})
	var g errgroup.Group
	for range 3 {
		g.Go(func() error {
			c := exec.Command(os.Args[0], "-test.run=^TestConcurrentRegister$")
			c.Env = append(os.Environ(), "HDJAIL_TEST_STORE="+s.root)
			if out, err := c.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	g.Go(func() error { return registerMany(s) })
	must(t, g.Wait())
	found, err := s.Realizations(sample("same").ID())
	must(t, err)
	if len(found) != 2 || len(found[0].Records)+len(found[1].Records) != 4*8 {
		t.Fatalf("%d realizations", len(found))
	}
	records, err := s.Records(sample("same").ID())
	must(t, err)
	for i, r := range records {
		if r.Number != i+1 {
			t.Errorf("record %d has the number %d", i+1, r.Number)
		}
		if readLog(t, s, r) != "building same\n" && r.Number == records[i].Number {
			t.Errorf("record %d has lost its log", r.Number)
		}
	}
	noTemporaries(t, s)
}

func registerMany(s *Store) error {
	var g errgroup.Group
	for i := range 8 {
		g.Go(func() error {
			_, err := run(s, sample("same"), map[string]string{"f": fmt.Sprint(i % 2)})
			return err
		})
	}
	return g.Wait()
}

// TestDiskFull needs the right to mount: a small file system fills up at every step, and the store stays valid.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=400k,mode=0755"); err != nil {
		t.Skip("this process cannot mount: ", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	s := reopen(t, dir+"/store", Options{})
	kept, err := run(s, sample("kept"), map[string]string{"f": "x"})
	must(t, err)
	full := 0
	for free := 0; full < 1 || free < 40; free++ {
		must(t, fill(dir, free*4096))
		_, err := run(s, sample(fmt.Sprint("x", free)), map[string]string{"f": strings.Repeat("x", 5000)})
		must(t, os.Remove(dir+"/filler"))
		var space *SpaceError
		if errors.As(err, &space) {
			full++
			if !strings.Contains(space.Error(), s.root) {
				t.Errorf("the error does not say what to free: %v", space)
			}
		}
		if _, err := s.Realization(kept.ID); err != nil {
			t.Fatal(err)
		}
		noTemporaries(t, s)
		if free > 200 {
			t.Fatal("the file system never was full")
		}
	}
	entries, err := os.ReadDir(s.path("realizations"))
	must(t, err)
	for _, e := range entries {
		id, err := artifact.ParseRealizationID(e.Name())
		must(t, err)
		_, err = s.Realization(id)
		must(t, err)
	}
}

// fill leaves about that many bytes free on the file system of dir.
func fill(dir string, free int) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return err
	}
	return os.WriteFile(dir+"/filler", make([]byte, max(0, int(st.Bavail)*int(st.Bsize)-free)), 0o644)
}
