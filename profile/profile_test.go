package profile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hdjail/artifact"
	"hdjail/profile/links"
)

func TestLifeOfAProfile(t *testing.T) {
	f, ctx := newFixture(t), context.Background()
	a, b := f.artifact("a", "1", "bin/a", "lib/p/a", "build.json"), f.artifact("b", "", "bin/b", "lib/p/b")
	a2 := f.artifact("a", "2", "bin/a", "share/a")

	first := f.link("dev", Edit{Add: []Artifact{a, b}})
	f.wantCurrent("dev", 1)
	f.wantTree(f.Path("dev"), out(a, "bin/a"), out(b, "bin/b"), out(a, "lib/p/a"), out(b, "lib/p/b"))
	if data, err := os.ReadFile(filepath.Join(f.Path("dev"), "lib/p/a")); string(data) != "a1" {
		t.Errorf("through the link is %q, %v", data, err)
	}

	if again := f.link("dev", Edit{Add: []Artifact{b}}); again.Number != 1 {
		t.Errorf("linking what is linked makes generation %d", again.Number)
	}
	second := f.link("dev", Edit{Add: []Artifact{a2}})
	f.wantCurrent("dev", 2)
	f.wantTree(f.Path("dev"), out(a2, "bin/a"), out(b, "bin/b"), out(b, "lib/p/b"), out(a2, "share/a"))
	if diff := cmp.Diff(Changes{From: 1, To: 2, Added: []Artifact{}, Removed: []Artifact{}, Changed: []Change{{"a", a, a2}}}, Diff(first, second)); diff != "" {
		t.Errorf("diff (-want +got):\n%s", diff)
	}
	third := f.link("dev", Edit{Set: true, Add: []Artifact{a}})
	if diff := cmp.Diff(Changes{From: 2, To: 3, Added: []Artifact{}, Removed: []Artifact{b}, Changed: []Change{{"a", a2, a}}}, Diff(second, third)); diff != "" {
		t.Errorf("diff (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Artifact{b}, Diff(third, second).Added); diff != "" {
		t.Errorf("diff (-want +got):\n%s", diff)
	}
	f.link("dev", Edit{Remove: []string{"a"}})
	f.wantTree(f.Path("dev"))

	for _, want := range []int{3, 2, 1} {
		if g, err := f.Rollback(ctx, "dev"); err != nil || g.Number != want {
			t.Fatalf("rolled back to %d, %v; want %d", g.Number, err, want)
		}
		f.wantCurrent("dev", want)
	}
	var none *NotFoundError
	if _, err := f.Rollback(ctx, "dev"); !errors.As(err, &none) {
		t.Errorf("rolling back the first gives %v", err)
	}
	if _, err := f.Switch(ctx, "dev", 9); !errors.As(err, &none) || none.What != "generation 9" {
		t.Errorf("switching to 9 gives %v", err)
	}
	f.wantCurrent("dev", 1)
	if g, err := f.Switch(ctx, "dev", 3); err != nil || g.Number != 3 {
		t.Errorf("switching to 3 gives %d, %v", g.Number, err)
	}
	if fifth := f.link("dev", Edit{Add: []Artifact{b}}); fifth.Number != 5 || fifth.Previous != 3 {
		t.Errorf("after 3 comes %d, made from %d", fifth.Number, fifth.Previous)
	}
	if g, err := f.Rollback(ctx, "dev"); err != nil || g.Number != 3 {
		t.Errorf("5 was made from %d, %v", g.Number, err)
	}
}

func TestGolden(t *testing.T) {
	f := newFixture(t)
	a := f.artifact("a", "1.0", "x")
	a.Links = []links.Rule{}
	b := f.artifact("b", "", "bin/b", "bin/c")
	b.Links = []links.Rule{{Select: links.Globs{"bin/*"}, Prefix: new("bin"), Target: new("tools"), Exclude: links.Globs{"bin/c"}}}
	made := f.link("g", Edit{Add: []Artifact{a, b}})
	f.wantTree(filepath.Join(f.Dir, "g", "generations"), "1/generation.json", "1/tree/tools/b -> /realizations/oi5geaaaaaaaaaaaaaaaaaaaaaaaaaaa/out/bin/b")
	got, err := os.ReadFile(filepath.Join(f.Dir, "g/generations/1/generation.json"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/generation.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), strings.ReplaceAll(string(got), f.root, "/hdjail")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	read, err := f.Generation("g", 1)
	if diff := cmp.Diff(made, read); diff != "" || err != nil {
		t.Errorf("%v (-made +read):\n%s", err, diff)
	}
	if again := f.link("g", Edit{Add: []Artifact{a}}); again.Number != 1 {
		t.Errorf("no rules are taken for another list after reading: %d", again.Number)
	}
}

func TestListAndGet(t *testing.T) {
	f := newFixture(t)
	if got, err := f.List(); err != nil || len(got) != 0 {
		t.Errorf("no profiles are listed as %v, %v", got, err)
	}
	a := f.artifact("a", "1", "x")
	f.link("two", Edit{})
	f.link("one", Edit{Add: []Artifact{a}})
	f.link("one", Edit{Set: true})
	// A deleted generation leaves its directory, and its number stays used.
	f.link("one", Edit{Add: []Artifact{a}})
	if _, err := f.Switch(context.Background(), "one", 2); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"1", "3"} {
		dir := filepath.Join(f.Dir, "one/generations", gone)
		if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if g := f.link("one", Edit{Add: []Artifact{a}}); g.Number != 4 {
		t.Errorf("after 3, which is gone, comes %d", g.Number)
	}
	list, err := f.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range list {
		for _, g := range p.Generations {
			got = append(got, fmt.Sprintf("%s %d %d %d", p.Name, p.Current, g.Number, len(g.Artifacts)))
		}
		if p.Path != f.Path(p.Name) {
			t.Errorf("the path of %s is %s", p.Name, p.Path)
		}
	}
	if diff := cmp.Diff([]string{"one 4 2 0", "one 4 4 1", "two 1 1 0"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	data, err := json.Marshal(Diff(list[0].Generations[0], list[0].Generations[0]))
	if want := `{"from":2,"to":2,"added":[],"removed":[],"changed":[]}`; err != nil || string(data) != want {
		t.Errorf("no change is %s, %v", data, err)
	}
	var none *NotFoundError
	for _, name := range []string{"three", "one/"} {
		_, err := f.Get(name)
		if bad := (*NameError)(nil); !errors.As(err, &none) && !errors.As(err, &bad) {
			t.Errorf("%q is got with %v", name, err)
		}
	}
	if _, err := f.Generation("one", 1); !errors.As(err, &none) {
		t.Errorf("a deleted generation is read with %v", err)
	}
}

func TestRefusedLinks(t *testing.T) {
	f, ctx := newFixture(t), context.Background()
	a, b := f.artifact("a", "1", "bin/x", "only/a"), f.artifact("b", "2", "bin/x")
	f.link("p", Edit{Add: []Artifact{a}})
	unnamed, relative, missing, badRule := b, b, b, b
	unnamed.Derivation = artifact.DerivationID{}
	relative.Out = "out"
	missing.Out = f.root + "/nowhere"
	badRule.Links = []links.Rule{{Select: links.Globs{"**"}}}
	evil := b
	evil.Name = "../b"
	for name, c := range map[string]struct {
		edit Edit
		want string
	}{
		"conflict":      {Edit{Add: []Artifact{b}}, `link "bin/x": wanted by a 1 ("bin/x") and by b 2 ("bin/x")`},
		"twice":         {Edit{Add: []Artifact{b, b}}, `link "b": two artifacts of this name are given`},
		"no identity":   {Edit{Add: []Artifact{unnamed}}, `link "b": it has no identity`},
		"relative":      {Edit{Add: []Artifact{relative}}, `link "b": "out" is not an absolute, clean path`},
		"missing":       {Edit{Add: []Artifact{missing}}, `link "b": open ` + f.root + `/nowhere: no such file or directory`},
		"bad rule":      {Edit{Add: []Artifact{badRule}}, `link "b": apply link rule 1: parse pattern "**": ** cannot be the last component; ** and then * means all below`},
		"bad name":      {Edit{Add: []Artifact{evil}}, `read artifact name "../b": only letters, digits and _ + - . are allowed, and no dot first`},
		"remove absent": {Edit{Remove: []string{"b"}}, `find artifact b in profile "p": there is none`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := f.Link(ctx, "p", c.edit); err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			f.wantCurrent("p", 1)
			f.wantClean("p")
			f.wantTree(f.Path("p"), out(a, "bin/x"), out(a, "only/a"))
		})
	}
	_, err := f.Link(ctx, "p", Edit{Add: []Artifact{b}})
	var conflict *links.ConflictError
	if !errors.As(err, &conflict) {
		t.Fatal(err)
	}
	b.Links = conflict.Conflicts[0].Resolution()
	if g := f.link("p", Edit{Add: []Artifact{b}}); g.Number != 2 {
		t.Errorf("failures used up numbers: %d", g.Number)
	}
	f.wantTree(f.Path("p"), out(a, "bin/x"), out(a, "only/a"))
}

// TestFirstLinkFails: a profile that never had a generation is not left, nor listed while another makes it.
func TestFirstLinkFails(t *testing.T) {
	f := newFixture(t)
	a, b := f.artifact("a", "1", "bin/x"), f.artifact("b", "2", "bin/x")
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			var conflict *links.ConflictError
			if _, err := f.Link(context.Background(), "p", Edit{Add: []Artifact{a, b}}); !errors.As(err, &conflict) {
				t.Errorf("a conflict gives %v", err)
			}
		})
	}
	wait.Wait()
	if _, err := os.Lstat(filepath.Join(f.Dir, "p")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the profile is left: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(f.Dir, "q", generations), 0o755); err != nil {
		t.Fatal(err)
	}
	if list, err := f.List(); err != nil || len(list) != 0 {
		t.Errorf("lists %v, %v", list, err)
	}
	f.link("p", Edit{Add: []Artifact{a}})
	f.wantCurrent("p", 1)
}

func TestNames(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"", ".", "..", ".hid", "a/b", "../p", "a\n", "a\x00", "ä", "a b", strings.Repeat("n", 201)} {
		var bad *NameError
		if _, err := f.Link(context.Background(), name, Edit{}); !errors.As(err, &bad) || bad.Name != name {
			t.Errorf("%q: got %v", name, err)
		}
	}
	if _, err := os.Lstat(f.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("bad names made something: %v", err)
	}
	for _, name := range []string{"a", "-", "+x", "_a.b-c+d", "9", strings.Repeat("n", 200)} {
		f.link(name, Edit{})
	}
	var none *NotFoundError
	if _, err := f.Link(context.Background(), "new", Edit{Remove: []string{"a"}}); !errors.As(err, &none) {
		t.Errorf("removing from no profile gives %v", err)
	}
}

func TestPublish(t *testing.T) {
	f, ctx := newFixture(t), context.Background()
	a, b := f.artifact("a", "1", "bin/a"), f.artifact("b", "1", "bin/b")
	f.link("p", Edit{Add: []Artifact{a}})
	var asked [][]artifact.RealizationID
	refusal := errors.New("x is x1 through a and x2 through b")
	var answer error
	f.Publish = func(_ context.Context, _ string, linked []artifact.RealizationID) error {
		asked = append(asked, linked)
		f.wantCurrent("p", 1)
		return answer
	}
	answer = refusal
	if _, err := f.Link(ctx, "p", Edit{Add: []Artifact{b}}); !errors.Is(err, refusal) {
		t.Errorf("got %v", err)
	}
	f.wantCurrent("p", 1)
	f.wantClean("p")
	answer = nil
	f.link("p", Edit{Add: []Artifact{b}})
	f.wantCurrent("p", 2)
	if diff := cmp.Diff([][]artifact.RealizationID{{a.Realization, b.Realization}, {a.Realization, b.Realization}}, asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f.Publish = func(context.Context, string, []artifact.RealizationID) error { return refusal }
	if _, err := f.Rollback(ctx, "p"); !errors.Is(err, refusal) {
		t.Errorf("got %v", err)
	}
	f.wantCurrent("p", 2)
}

// What an interrupted change left is swept, and generations do not depend on the umask.
func TestLeftovers(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	f := newFixture(t)
	a := f.artifact("a", "1", "bin/a")
	dir := filepath.Join(f.Dir, "p")
	if err := os.MkdirAll(filepath.Join(dir, "generations/.new-X/tree/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"generations/.new-X/tree/bin/a", ".new-Y"} {
		if err := os.Symlink("/nowhere", filepath.Join(dir, left)); err != nil {
			t.Fatal(err)
		}
	}
	gone := f.Lock.Holder
	gone.Start++
	if err := os.WriteFile(filepath.Join(dir, gone.TempName()), nil, 0o644); err != nil { // a lock that was set aside
		t.Fatal(err)
	}
	if _, err := f.Get("p"); err != nil {
		t.Errorf("leftovers are read with %v", err)
	}
	f.link("p", Edit{Add: []Artifact{a}})
	f.wantCurrent("p", 1)
	f.wantClean("p")
	f.wantTree(f.Path("p"), out(a, "bin/a"))
	for name, want := range map[string]fs.FileMode{"1": 0o755, "1/tree": 0o755, "1/tree/bin": 0o755, "1/generation.json": 0o644} {
		info, err := os.Stat(filepath.Join(dir, generations, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestTamperedProfile(t *testing.T) {
	for _, text := range []string{"/etc", "generations/1", "generations/01/tree", "generations/0/tree", "generations/../1/tree", "x/1/tree"} {
		f := newFixture(t)
		f.link("p", Edit{})
		if err := errors.Join(os.Remove(f.Path("p")), os.Symlink(text, f.Path("p"))); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Generation("p", 0); err == nil || !strings.Contains(err.Error(), "its link leads to") {
			t.Errorf("%s: got %v", text, err)
		}
		if g, err := f.Switch(context.Background(), "p", 1); err != nil || g.Number != 1 {
			t.Errorf("%s: switching repairs with %v", text, err)
		}
	}
	f := newFixture(t)
	a := f.artifact("a", "1", "x")
	f.link("p", Edit{})
	f.link("q", Edit{Add: []Artifact{a}})
	f.link("q", Edit{Set: true})
	if err := os.Rename(filepath.Join(f.Dir, "q/generations/2"), filepath.Join(f.Dir, "p/generations/7")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Switch(context.Background(), "p", 7); err == nil || !strings.Contains(err.Error(), "it is that of generation 2") {
		t.Errorf("a renamed generation is switched to with %v", err)
	}
	// A profile that is a link out of the store is not followed.
	if err := os.Symlink(t.TempDir(), filepath.Join(f.Dir, "evil")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Link(context.Background(), "evil", Edit{}); err == nil {
		t.Error("a link in place of a profile is followed")
	}
}
