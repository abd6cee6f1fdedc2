package profile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"hdjail/artifact/store"
)

// Every generation keeps what it links, whether it is current or not; a deleted one keeps nothing, and one that cannot be
// read is an error.
func TestRoots(t *testing.T) {
	f := newFixture(t)
	if roots, err := f.Roots(); err != nil || len(roots) > 0 {
		t.Errorf("without profiles: %v, %v", roots, err)
	}
	a, b := f.artifact("a", "1", "bin/a"), f.artifact("b", "1", "bin/b")
	f.link("dev", Edit{Add: []Artifact{a}})
	f.link("dev", Edit{Add: []Artifact{b}})
	f.link("dev", Edit{Remove: []string{"a"}})
	if err := os.Remove(f.Path("dev")); err != nil { // as a crash before the first switch
		t.Fatal(err)
	}
	want := map[string]int{"dev/1": 1, "dev/2": 2, "dev/3": 1}
	check := func() {
		t.Helper()
		roots, err := f.Roots()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]int{}
		for _, r := range roots {
			found[r.Name]++
			if r.Realization != a.Realization && r.Realization != b.Realization {
				t.Errorf("%+v keeps something else", r)
			}
		}
		for name, n := range want {
			if found[name] != n {
				t.Errorf("%s keeps %d, want %d", name, found[name], n)
			}
		}
	}
	check()
	second := filepath.Join(f.Dir, "dev/generations/2")
	if err := errors.Join(os.RemoveAll(second), os.Mkdir(second, 0o755)); err != nil {
		t.Fatal(err)
	}
	want["dev/2"] = 0
	check()
	for _, damage := range []func() error{
		func() error { return os.WriteFile(second+"/generation.json", []byte("{"), 0o644) },
		func() error {
			return errors.Join(os.Remove(second+"/generation.json"), os.Mkdir(second+"/tree", 0o755))
		},
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		var unreadable *store.RootError
		if roots, err := f.Roots(); !errors.As(err, &unreadable) || len(roots) != 2 {
			t.Errorf("%v, %v", roots, err)
		}
	}
}
