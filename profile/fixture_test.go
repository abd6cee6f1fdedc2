package profile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hdjail/artifact/lease"
)

// fixture is a store with artifacts in it and its profiles.
type fixture struct {
	*Profiles
	t    testing.TB
	root string
}

func newFixture(t testing.TB) fixture {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return fixture{profilesIn(t, root), t, root}
}

func profilesIn(t testing.TB, root string) *Profiles {
	t.Helper()
	self, err := lease.Self()
	if err != nil {
		t.Fatal(err)
	}
	return &Profiles{
		Dir: filepath.Join(root, "profiles"), Lock: lease.Options{Holder: self, Timeout: time.Minute},
		Now: func() time.Time { return time.Unix(1e9, 5).In(time.FixedZone("x", 3600)) },
	}
}

// artifact makes an output tree with the given files, whose content is the name of the artifact.
func (f fixture) artifact(name, version string, files ...string) Artifact {
	f.t.Helper()
	a := Artifact{Name: name, Version: version}
	copy(a.Derivation[:], "d:"+name+version)
	copy(a.Realization[:], "r:"+name+version)
	a.Out = filepath.Join(f.root, "realizations", a.Realization.String(), "out")
	a.Public = filepath.Join(f.root, "store", a.Derivation.String()+"-"+name)
	for _, file := range files {
		file = filepath.Join(a.Out, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			f.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name+version), 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
	return a
}

func (f fixture) link(name string, edit Edit) Generation {
	f.t.Helper()
	g, err := f.Link(context.Background(), name, edit)
	if err != nil {
		f.t.Fatal(err)
	}
	return g
}

// tree lists what a directory of the profile holds, as "path" of a directory's file or "path -> text".
func (f fixture) tree(dir string) (names []string) {
	f.t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if text, err := os.Readlink(filepath.Join(dir, name)); err == nil {
			name += " -> " + strings.TrimPrefix(text, f.root)
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return names
}

func (f fixture) wantTree(dir string, want ...string) {
	f.t.Helper()
	if diff := cmp.Diff(want, f.tree(dir)); diff != "" {
		f.t.Errorf("%s (-want +got):\n%s", strings.TrimPrefix(dir, f.root), diff)
	}
}

// wantCurrent checks which generation is current, by its link and by what the files say.
func (f fixture) wantCurrent(name string, n int) {
	f.t.Helper()
	text, err := os.Readlink(f.Path(name))
	if n == 0 {
		if !errors.Is(err, fs.ErrNotExist) {
			f.t.Errorf("current leads to %q, %v; want none", text, err)
		}
		return
	}
	if want := fmt.Sprintf("generations/%d/tree", n); err != nil || text != want {
		f.t.Errorf("current leads to %q, %v; want %s", text, err, want)
	}
	if g, err := f.Generation(name, 0); err != nil || g.Number != n {
		f.t.Errorf("current is %d, %v; want %d", g.Number, err, n)
	}
}

// wantClean checks that nothing temporary is left.
func (f fixture) wantClean(name string) {
	f.t.Helper()
	for _, pattern := range []string{".*", "generations/.*", lock, "*.*.*.*.*.*"} {
		if left, err := filepath.Glob(filepath.Join(f.Dir, name, pattern)); err != nil || len(left) > 0 {
			f.t.Errorf("%s is left behind: %v", left, err)
		}
	}
}

// out is how a link to an artifact's file is listed.
func out(a Artifact, file string) string {
	return file + " -> /realizations/" + a.Realization.String() + "/out/" + file
}

// BenchmarkLink makes a generation of 6,000 links; BenchmarkCopySymlinks is what cp -rs takes for the same tree.
func BenchmarkLink(b *testing.B) {
	f, a := bigArtifact(b)
	for i := 0; b.Loop(); i++ {
		f.link(fmt.Sprint("p", i), Edit{Add: []Artifact{a}})
	}
}

func BenchmarkCopySymlinks(b *testing.B) {
	f, a := bigArtifact(b)
	for i := 0; b.Loop(); i++ {
		if output, err := exec.Command("cp", "-rs", a.Out, filepath.Join(f.root, fmt.Sprint("copy", i))).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, output)
		}
	}
}

func bigArtifact(b *testing.B) (fixture, Artifact) {
	f := newFixture(b)
	var files []string
	for i := range 6000 {
		files = append(files, fmt.Sprintf("lib/python3/d%02d/s%d/file%d.py", i%40, i%5, i))
	}
	return f, f.artifact("big", "1", files...)
}
