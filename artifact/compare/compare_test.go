package compare

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hdjail/artifact"
)

// memory is a store of derivations and realizations.
type memory struct {
	derivations  map[artifact.DerivationID]*artifact.Derivation
	realizations map[artifact.RealizationID]artifact.Realization
}

func newMemory() *memory {
	return &memory{map[artifact.DerivationID]*artifact.Derivation{}, map[artifact.RealizationID]artifact.Realization{}}
}

func (m *memory) add(d artifact.Derivation) artifact.DerivationID {
	m.derivations[d.ID()] = &d
	return d.ID()
}

func (m *memory) realize(drv artifact.DerivationID, ctx artifact.Context, tree byte) artifact.Realization {
	r := artifact.Realization{Derivation: drv, Context: ctx, Tree: artifact.TreeDigest{tree}}
	r.ID = artifact.NewRealizationID(drv, ctx, r.Tree)
	m.realizations[r.ID] = r
	return r
}

func (m *memory) Derivation(id artifact.DerivationID) (*artifact.Derivation, error) {
	if d, ok := m.derivations[id]; ok {
		return d, nil
	}
	return nil, fmt.Errorf("no derivation %s", id)
}

func (m *memory) Realization(id artifact.RealizationID) (artifact.Realization, error) {
	if r, ok := m.realizations[id]; ok {
		return r, nil
	}
	return artifact.Realization{}, fmt.Errorf("no realization %s", id)
}

func derivation(name, script string, deps ...artifact.DerivationID) artifact.Derivation {
	d := artifact.Derivation{Layout: 1, Name: name, System: "x86_64-linux", Prefix: "/p", Interpreter: []string{"/bin/sh"}, Script: script}
	for i, id := range deps {
		d.Dependencies = append(d.Dependencies, artifact.Dependency{ID: id, As: fmt.Sprint("D", i)})
	}
	return d
}

// TestEveryField: a change of any field of a derivation is told, also of one that is added one day.
func TestEveryField(t *testing.T) {
	m := newMemory()
	dep, other := m.add(derivation("dep", "d")), m.add(derivation("other", "d"))
	base := derivation("x", "make")
	for i := range reflect.TypeFor[artifact.Derivation]().NumField() {
		changed := base
		field, name := reflect.ValueOf(&changed).Elem().Field(i), reflect.TypeFor[artifact.Derivation]().Field(i).Name
		switch field.Kind() {
		case reflect.Int:
			field.SetInt(field.Int() + 1)
		case reflect.String:
			field.SetString(field.String() + "x")
		case reflect.Map:
			field.Set(reflect.ValueOf(map[string]string{"X": "1"}))
		case reflect.Slice:
			field.Set(reflect.Append(field, reflect.New(field.Type().Elem()).Elem()))
		}
		if name == "Dependencies" {
			changed.Dependencies = []artifact.Dependency{{ID: dep, As: "D"}}
		}
		checkTold(t, m, base, changed, name)
	}
	two := base
	two.Dependencies = []artifact.Dependency{{ID: dep, As: "A"}, {ID: other, As: "B"}}
	for name, list := range map[string][]artifact.Dependency{
		"order":    {two.Dependencies[1], two.Dependencies[0]},
		"many":     {{ID: dep, As: "A", Many: true}, two.Dependencies[1]},
		"other":    {{ID: other, As: "A"}, two.Dependencies[1]},
		"renamed":  {{ID: dep, As: "C"}, two.Dependencies[1]},
		"missing":  two.Dependencies[:1],
		"replaced": {two.Dependencies[0], {ID: m.add(derivation("other", "e")), As: "B"}},
	} {
		changed := base
		changed.Dependencies = list
		checkTold(t, m, two, changed, name)
	}
}

func checkTold(t *testing.T, m *memory, a, b artifact.Derivation, name string) {
	t.Helper()
	d, err := Compare(m, m.add(a), m.add(b))
	if err != nil || len(d.Causes) != 1 || len(d.Lines()) == 0 {
		t.Errorf("%s: %+v, %v", name, d, err)
	}
}

func TestFields(t *testing.T) {
	a := derivation("x", "cd src\nmake\nmake install\n")
	a.Environment = map[string]string{"CFLAGS": "-O2", "OLD": "1"}
	a.Sources = []artifact.Source{{Digest: "sha256:1", Target: "src", Unpack: true}, {Digest: "sha256:2", Target: "p"}}
	a.HostPaths = []artifact.HostPath{{Path: "/opt/a", Identity: "id:1"}, {Path: "/opt/b", Identity: "id:1"}}
	a.HostPackages = []artifact.HostPackage{{Name: "make", Version: "4", Digest: artifact.TreeDigest{1}}, {Name: "gcc", Architecture: "amd64", Version: "12"}}
	b := derivation("x", "cd src\nmake -j\nmake install\n")
	b.Environment = map[string]string{"CFLAGS": "-O3"}
	b.Sources = []artifact.Source{{Digest: "sha256:3", Target: "src", Unpack: true}, {Digest: "sha256:2", Target: "p"}}
	b.HostPaths = []artifact.HostPath{{Path: "/opt/b", Identity: "id:2"}, {Path: "/opt/a", Identity: "id:1"}}
	b.HostPackages = []artifact.HostPackage{{Name: "gcc", Architecture: "amd64", Version: "13"}, {Name: "make", Version: "4", Digest: artifact.TreeDigest{2}}}
	one, two := artifact.TreeDigest{1}.String(), artifact.TreeDigest{2}.String()
	var got []string
	for _, c := range Fields(&a, &b) {
		got = append(got, c.lines()...)
	}
	want := []string{"  ~ script:", "      @@ -1,3 +1,3 @@", "       cd src", "      -make", "      +make -j", "       make install",
		"  ~ environment CFLAGS: -O2 → -O3", "  ~ environment OLD: 1 → (none)", "  ~ source src: sha256:1 unpacked → sha256:3 unpacked",
		"  ~ host package gcc:amd64: 12 → 13", "  ~ host package make: 4 " + one + " → 4 " + two, "  ~ host path /opt/b: id:1 → id:2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestCause: what changed far below is the cause, and all in between follows; each pair is told once.
func TestCause(t *testing.T) {
	m := newMemory()
	plan := func(flags, top string) artifact.DerivationID {
		base := m.add(derivation("zlib", flags))
		left, right := m.add(derivation("png", "p", base)), m.add(derivation("tiff", "t", base))
		return m.add(derivation("view", top, left, right))
	}
	d, err := Compare(m, plan("-O2", "v"), plan("-O3", "v"))
	if err != nil || len(d.Causes) != 1 || len(d.Follows) != 3 {
		t.Fatalf("%+v, %v", d, err)
	}
	if c := d.Causes[0]; c.Name != "zlib" || cmp.Diff([]string{"view", "png", "zlib"}, c.Via) != "" || c.Changes[0].Text() != "script: -O2 → -O3" {
		t.Errorf("%+v", c)
	}
	if f := d.Follows[2]; f.Name != "view" || cmp.Diff([]string{"D0", "D1"}, f.Dependencies) != "" {
		t.Errorf("%+v", f)
	}
	d, err = Compare(m, plan("-O2", "v"), plan("-O3", "w"))
	if err != nil || len(d.Causes) != 2 || len(d.Follows) != 2 || d.Causes[1].Name != "view" {
		t.Errorf("%+v, %v", d, err)
	}
	id := plan("-O2", "v")
	if d, err = Compare(m, id, id); err != nil || !d.Equal() {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err = Compare(m, id, artifact.DerivationID{1}); err == nil {
		t.Error("a missing derivation was compared")
	}
}

// TestShared: what has changed in many derivations alike, as after an upgrade of the host, is shown once.
func TestShared(t *testing.T) {
	m := newMemory()
	plan := func(libc, script string) artifact.DerivationID {
		host := []artifact.HostPackage{{Name: "libc6", Version: libc}, {Name: "make", Version: "1"}}
		base := derivation("base", script)
		base.HostPackages = host
		app := derivation("app", "a", m.add(base))
		app.HostPackages = host
		return m.add(app)
	}
	d, err := Compare(m, plan("1", "x"), plan("2", "y"))
	if err != nil {
		t.Fatal(err)
	}
	lines := d.Lines()
	for i, want := range []string{"in base, app", "  ~ host package libc6: 1 → 2", "base ", "  ~ script: x → y", "app ", "  and what follows from D0"} {
		if len(lines) != 6 || !strings.HasPrefix(lines[i], want) {
			t.Fatalf("%q; want line %d to be %q", lines, i, want)
		}
	}
}

// TestCauseRandom: in a random graph a change of one leaf is the one cause, and the follows are the dependants of it.
func TestCauseRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "nodes")
		edges := make([][]int, n)
		for i := range n {
			for j := range i {
				if rapid.Bool().Draw(t, "edge") {
					edges[i] = append(edges[i], j)
				}
			}
		}
		changed := rapid.IntRange(0, n-1).Draw(t, "changed")
		m := newMemory()
		build := func(script string) (ids []artifact.DerivationID) {
			for i := range n {
				var deps []artifact.DerivationID
				for _, j := range edges[i] {
					deps = append(deps, ids[j])
				}
				text := "make"
				if i == changed {
					text = script
				}
				ids = append(ids, m.add(derivation(fmt.Sprint("n", i), text, deps...)))
			}
			return ids
		}
		a, b := build("one"), build("two")
		dependants := map[string]bool{}
		reached := map[int]bool{n - 1: true}
		for i := n - 1; i >= 0; i-- {
			for _, j := range edges[i] {
				reached[j] = reached[j] || reached[i]
			}
		}
		for i := range n {
			if i != changed && reached[i] && a[i] != b[i] {
				dependants[fmt.Sprint("n", i)] = true
			}
		}
		d, err := Compare(m, a[n-1], b[n-1])
		if err != nil || len(d.Follows) != len(dependants) || (len(d.Causes) == 1) != reached[changed] {
			t.Fatalf("%+v, %v; want %v", d, err, dependants)
		}
		for _, p := range d.Follows {
			if !dependants[p.Name] {
				t.Fatalf("%s follows", p.Name)
			}
		}
	})
}

func TestContexts(t *testing.T) {
	m := newMemory()
	base := m.add(derivation("base", "b"))
	lib := m.add(derivation("lib", "l", base))
	top := m.add(derivation("top", "t", base, lib))
	make := func(baseTree, libTree byte) artifact.Realization {
		b := m.realize(base, nil, baseTree)
		l := m.realize(lib, artifact.Context{base: {b.ID}}, libTree)
		return m.realize(top, artifact.Context{base: {b.ID}, lib: {l.ID}}, 9)
	}
	found, err := Contexts(m, make(1, 1), make(2, 1))
	if err != nil || len(found) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	for _, c := range found {
		if c.Cause != (c.Name == "base") || c.SameTree != (c.Name == "lib") {
			t.Errorf("%+v", c)
		}
	}
	if found, err = Contexts(m, make(1, 1), make(1, 1)); err != nil || found != nil {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestTrees(t *testing.T) {
	dirs := [2]string{t.TempDir(), t.TempDir()}
	put := func(side int, name, content string, mode os.FileMode) {
		file := filepath.Join(dirs[side], name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("x", 100_000)
	for side := range 2 {
		put(side, "same/deep/file", "equal\n", 0o644)
		put(side, "same/large", long, 0o644)
	}
	put(0, "text", "one\ntwo\n", 0o644)
	put(1, "text", "one\nthree\n", 0o644)
	put(0, "binary", long+"\x00a", 0o644)
	put(1, "binary", long+"\x00b", 0o644)
	put(0, "grown", long+"\x00", 0o644)
	put(1, "grown", long+"\x00"+long, 0o644)
	put(0, "mode", "#!/bin/sh\n", 0o644)
	put(1, "mode", "#!/bin/sh\n", 0o755)
	put(0, "kind", "", 0o644)
	for side, target := range []string{"text", "/etc/passwd"} {
		if err := os.Symlink(target, filepath.Join(dirs[side], "link")); err != nil {
			t.Fatal(err)
		}
	}
	put(1, "kind/of", "", 0o644)
	put(0, "empty", "", 0o644)
	put(1, "empty", "a", 0o644)

	var got []string
	for _, c := range openTrees(t, dirs) {
		got = append(got, c.Lines()...)
	}
	want := []string{
		"~ binary: file, 100002 bytes, first difference at byte 100001",
		"~ empty: file, 0 bytes → file, 1 bytes, first difference at byte 0", "      @@ -0,0 +1 @@", "      +a",
		"~ grown: file, 100001 bytes → file, 200001 bytes, first difference at byte 100001",
		"~ kind: file, 0 bytes → directory",
		"+ kind/of (file, 0 bytes)",
		"~ link: link -> text → link -> /etc/passwd",
		"~ mode: file, 10 bytes → executable, 10 bytes",
		"~ text: file, 8 bytes → file, 10 bytes, first difference at byte 5", "      @@ -1,2 +1,2 @@", "       one", "      -two", "      +three",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func openTrees(t *testing.T, dirs [2]string) []FileChange {
	t.Helper()
	var roots [2]*os.File
	for i, dir := range dirs {
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		roots[i] = f
	}
	changes, err := Trees(t.Context(), roots[0], roots[1])
	if err != nil {
		t.Fatal(err)
	}
	return changes
}
