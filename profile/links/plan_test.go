package links

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// memory is a Tree without a disk.
type memory struct{ fstest.MapFS }

func (m memory) ReadDir(name string) ([]fs.DirEntry, error) {
	if info, err := m.Stat(name); err != nil || !info.IsDir() {
		return nil, fs.ErrNotExist
	}
	return m.MapFS.ReadDir(name)
}

// tree makes a Tree of files, and of links where a name has " -> " and a text.
func tree(names ...string) memory {
	m := fstest.MapFS{}
	for _, name := range names {
		if link, text, ok := strings.Cut(name, " -> "); ok {
			m[link] = &fstest.MapFile{Mode: fs.ModeSymlink | 0o777, Data: []byte(text)}
		} else {
			m[name] = &fstest.MapFile{Mode: 0o644}
		}
	}
	return memory{m}
}

// rules reads a list of rules as a spec has it.
func rules(t *testing.T, text string) (list []Rule) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// made lists the links of a plan as "target -> text".
func made(plan Actions) (links []string) {
	for _, a := range plan.Steps {
		if !a.Idle && a.Text != "" {
			links = append(links, a.Target+" -> "+a.Text)
		}
	}
	return links
}

func TestNativeRules(t *testing.T) {
	a := tree("bin/x", "bin/y", "lib/p/z", "build.json", "id", "artifact.json", "sub/id", "d -> lib", "out -> /etc", "dangling -> no")
	for name, c := range map[string]struct {
		rules string
		want  []string
	}{
		"everything but the records": {"", []string{
			"bin/x -> /s/a/bin/x", "bin/y -> /s/a/bin/y", "d -> /s/a/d", "dangling -> /s/a/dangling",
			"lib/p/z -> /s/a/lib/p/z", "out -> /s/a/out", "sub/id -> /s/a/sub/id"}},
		"defaults":                   {`[{"select": "bin/*"}]`, []string{"bin/x -> /s/a/bin/x", "bin/y -> /s/a/bin/y"}},
		"symlink is absolute":        {`[{"action": "symlink", "select": "bin/x"}]`, []string{"bin/x -> /s/a/bin/x"}},
		"prefix and target":          {`[{"select": ["bin/*"], "prefix": "bin", "target": "tools/"}]`, []string{"tools/x -> /s/a/bin/x", "tools/y -> /s/a/bin/y"}},
		"prefix with its slash":      {`[{"select": ["bin/x"], "prefix": "bin/"}]`, []string{"x -> /s/a/bin/x"}},
		"relative":                   {`[{"action": "relative_symlink", "select": ["bin/x"]}]`, []string{"bin/x -> ../../s/a/bin/x"}},
		"source":                     {`[{"source": "bin/x", "target": "go"}]`, []string{"go -> /s/a/bin/x"}},
		"source need not exist":      {`[{"source": "later", "target": "./a/./l"}]`, []string{"a/l -> /s/a/later"}},
		"exclude in the rule":        {`[{"select": "bin/*", "exclude": "bin/y"}]`, []string{"bin/x -> /s/a/bin/x"}},
		"it holds for rules after":   {`[{"select": "sub/*", "exclude": ["bin/y"]}, {"select": "bin/*"}]`, []string{"sub/id -> /s/a/sub/id", "bin/x -> /s/a/bin/x"}},
		"exclude rule":               {`[{"action": "exclude", "select": "**/y"}, {"select": "bin/*"}]`, []string{"bin/x -> /s/a/bin/x"}},
		"too late to exclude":        {`[{"select": "bin/x"}, {"action": "exclude", "source": "bin/x"}]`, []string{"bin/x -> /s/a/bin/x"}},
		"excluded source":            {`[{"action": "exclude", "source": "bin/x"}, {"source": "bin/x", "target": "t"}]`, nil},
		"directory as one":           {`[{"select": "li*", "dirs": true}]`, []string{"lib -> /s/a/lib"}},
		"excluded directory":         {`[{"select": "*", "dirs": true, "exclude": ["[bs]*", "lib", "bin", "d*"]}]`, []string{"artifact.json -> /s/a/artifact.json", "build.json -> /s/a/build.json", "id -> /s/a/id", "out -> /s/a/out", "sub -> /s/a/sub"}},
		"through a link of the tree": {`[{"select": "d/p/*"}]`, []string{"d/p/z -> /s/a/d/p/z"}},
		"last of two overwrites":     {`[{"source": "bin/x", "target": "t"}, {"source": "bin/y", "target": "t", "overwrite": true}]`, []string{"t -> /s/a/bin/y"}},
		"same source is no conflict": {`[{"select": "bin/x"}, {"select": "bin/*"}]`, []string{"bin/x -> /s/a/bin/x", "bin/y -> /s/a/bin/y"}},
		"below a link to the same":   {`[{"select": "lib", "dirs": true}, {"select": "lib/**/*"}]`, []string{"lib -> /s/a/lib"}},
	} {
		t.Run(name, func(t *testing.T) {
			list := Everything()
			if c.rules != "" {
				list = rules(t, c.rules)
			}
			if err := Check(list); err != nil {
				t.Error(err)
			}
			plan, err := Plan(Input{Sets: []Set{{Owner: "a", Rules: list, Tree: a, Dir: "/s/a"}}, Dir: "/p", Native: true})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, made(plan)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRefusedNativeRules(t *testing.T) {
	for text, want := range map[string]string{
		`[{"select": "*"}, {"action": "move", "select": "*"}]`:    `apply link rule 2: unknown action "move"`,
		`[{"action": "makedirs", "select": "*"}]`:                 `apply link rule 1: unknown action "makedirs"`,
		`[{"action": "copy", "select": "*"}]`:                     `apply link rule 1: action copy is not supported`,
		`[{}]`:                                                    `apply link rule 1: exactly one of select and source is needed`,
		`[{"select": "*", "source": "x", "target": "y"}]`:         `apply link rule 1: exactly one of select and source is needed`,
		`[{"source": "x"}]`:                                       `apply link rule 1: no target`,
		`[{"select": "/etc/*"}]`:                                  `apply link rule 1: parse pattern "/etc/*": it is not relative to the artifact`,
		`[{"select": "x", "exclude": "**"}]`:                      `apply link rule 1: parse pattern "**": ** cannot be the last component; ** and then * means all below`,
		`[{"select": "a**/x"}]`:                                   `apply link rule 1: parse pattern "a**/x": ** must be a whole component`,
		`[{"source": "../x", "target": "y"}]`:                     `apply link rule 1: "../x" leads out of its directory`,
		`[{"source": "/x", "target": "y"}]`:                       `apply link rule 1: "/x" leads out of its directory`,
		`[{"source": "x", "target": "a/../../y"}]`:                `apply link rule 1: "a/../../y" leads out of its directory`,
		`[{"select": "x", "target": "/y"}]`:                       `apply link rule 1: "/y" leads out of its directory`,
		`[{"action": "exclude", "select": "x", "source": "xyz"}]`: `apply link rule 1: exactly one of select and source is needed`,
	} {
		err := Check(rules(t, text))
		if rule := (*RuleError)(nil); !errors.As(err, &rule) || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		`[{"select": "a", "prefix": "b"}]`:  `"a" does not begin with the prefix "b/"`,
		`[{"source": "a", "target": "./"}]`: `target "./" names no file`,
	} {
		_, err := Plan(Input{Sets: []Set{{Rules: rules(t, text), Tree: tree("a"), Dir: "/s"}}, Dir: "/p", Native: true})
		if err == nil || err.Error() != "link files: apply link rule 1: "+want {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
}

func TestConflicts(t *testing.T) {
	a := tree("bin/x", "lib/p", "lib64 -> lib", "share/info/dir")
	for name, c := range map[string]struct {
		tree  memory
		rules string
		want  []string
	}{
		"same path":                  {tree("bin/x", "bin/y", "share/info/dir"), "", []string{"bin/x", "share/info/dir"}},
		"link in the way":            {tree("lib64/q"), "", []string{"lib64/q"}},
		"directory in the way":       {tree("bin -> elsewhere"), "", []string{"bin"}},
		"file in the way":            {tree("lib/p/q"), "", []string{"lib/p/q"}},
		"overwrite keeps directory":  {tree("bin"), `[{"select": "bin", "overwrite": true}]`, []string{"bin"}},
		"overwrite keeps its parent": {tree("lib/p/q"), `[{"select": "**/*", "overwrite": true}]`, []string{"lib/p/q"}},
	} {
		t.Run(name, func(t *testing.T) {
			second := Everything()
			if c.rules != "" {
				second = rules(t, c.rules)
			}
			in := Input{Dir: "/p", Native: true, Sets: []Set{
				{Owner: "a 1", Rules: Everything(), Tree: a, Dir: "/s/a"}, {Owner: "b 2", Rules: second, Tree: c.tree, Dir: "/s/b"}}}
			_, err := Plan(in)
			var conflict *ConflictError
			if !errors.As(err, &conflict) {
				t.Fatalf("got %v, want *ConflictError", err)
			}
			var targets []string
			for _, found := range conflict.Conflicts {
				targets = append(targets, found.Target)
				if found.First.Owner != "a 1" || found.Second.Owner != "b 2" {
					t.Errorf("%s is wanted by %v and %v", found.Target, found.First, found.Second)
				}
			}
			if diff := cmp.Diff(c.want, targets); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			first := in
			first.KeepFirst = true
			plan, err := Plan(first)
			if err != nil || len(plan.Kept) != len(c.want) {
				t.Errorf("keeping the first lists %d conflicts, %v", len(plan.Kept), err)
			}
			// What Resolution says resolves it, one conflict after the other.
			for range c.want {
				in.Sets[1].Rules = conflict.Conflicts[0].Resolution()
				if plan, err = Plan(in); errors.As(err, &conflict) {
					continue
				}
			}
			if err != nil {
				t.Errorf("after its resolution: %v", err)
			}
		})
	}
}

func TestConflictMessages(t *testing.T) {
	set := func(owner string) Set {
		return Set{Owner: owner, Rules: Everything(), Tree: tree("d", "e", "f"), Dir: "/" + owner}
	}
	_, err := Plan(Input{Dir: "/p", Native: true, Sets: []Set{set("hello 2.12"), set("lua 5.4")}})
	var conflict *ConflictError
	if !errors.As(err, &conflict) {
		t.Fatal(err)
	}
	if want := `link "d": wanted by hello 2.12 ("d") and by lua 5.4 ("d"), and 2 other targets likewise`; err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
	want := `let the links of lua 5.4 be: [{"select":["**/*"],"exclude":["build.json","id","artifact.json","d"]}]`
	if got := conflict.Conflicts[0].Help(); !strings.Contains(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	existing := Origin{Rule: -1, Source: "/p/d"}
	if got, want := existing.String(), "what is there already"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestApplyGuards(t *testing.T) {
	dir := tempDir(t)
	for _, name := range []string{"outside", "p/real"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../outside", filepath.Join(dir, "p/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "p/real/file"), []byte("keep"), 0o644); err != nil {
		t.Fatal(err)
	}
	// The plan saw an empty directory; what is there now must survive.
	for target, want := range map[string]error{"link/x": syscall.ENOTDIR, "real/file": syscall.EEXIST, "real": syscall.EEXIST, "real/file/x": syscall.ENOTDIR} {
		plan, err := Plan(Input{Dir: "/base", Sets: []Set{{Rules: []Rule{{Source: "s", Target: &target}}, Dir: "/s"}}, Native: true})
		if err != nil {
			t.Fatal(err)
		}
		before := readTree(t, dir)
		if err := applyTo(filepath.Join(dir, "p"), "/base", plan); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", target, err, want)
		}
		if diff := cmp.Diff(before, readTree(t, dir)); diff != "" {
			t.Errorf("%s changed the tree:\n%s", target, diff)
		}
		if err := applyTo(dir, "/other", plan); err == nil || !strings.Contains(err.Error(), "does not lie below /other") {
			t.Errorf("%s: a plan for another base gives %v", target, err)
		}
	}
}

func TestApplyStopsWhenCancelled(t *testing.T) {
	plan, err := Plan(Input{Dir: "/base", Sets: []Set{{Rules: Everything(), Tree: tree("a"), Dir: "/s"}}, Native: true})
	if err != nil {
		t.Fatal(err)
	}
	dir := tempDir(t)
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Apply(ctx, f, "/base", plan); !errors.Is(err, context.Canceled) || len(readTree(t, dir)) > 0 {
		t.Errorf("got %v and %v", err, readTree(t, dir))
	}
}

func TestGlobsForms(t *testing.T) {
	for text, want := range map[string]Globs{`"a"`: {"a"}, `["a", "b"]`: {"a", "b"}, `[]`: {}, `null`: nil} {
		var got Globs
		if err := json.Unmarshal([]byte(text), &got); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	var got Globs
	if err := json.Unmarshal([]byte(`{"a": 1}`), &got); err == nil {
		t.Errorf("an object is read as %v", got)
	}
}

// Any plan makes each target once, and applying it makes exactly its links: below directories, never through a link.
func TestPlanProperties(t *testing.T) {
	dir := tempDir(t)
	name := rapid.SampledFrom([]string{"a", "b", "c", "a/a", "a/b", "b/a", "b/c/d", "a/b/c", "c/a"})
	rule := rapid.Custom(func(t *rapid.T) Rule {
		r := Rule{Dirs: rapid.Bool().Draw(t, "dirs"), Overwrite: rapid.Bool().Draw(t, "overwrite")}
		if rapid.Bool().Draw(t, "exact") {
			r.Source, r.Target = name.Draw(t, "source"), new(name.Draw(t, "target"))
			return r
		}
		r.Select = Globs{rapid.SampledFrom([]string{"*", "**/*", "a/*", "**/a", "*/b"}).Draw(t, "glob")}
		r.Target = new(rapid.SampledFrom([]string{"", "a", "b/c"}).Draw(t, "below"))
		return r
	})
	rapid.Check(t, func(t *rapid.T) {
		in := Input{Dir: "/p", Native: true, KeepFirst: rapid.Bool().Draw(t, "first")}
		for _, owner := range []string{"x", "y"} {
			in.Sets = append(in.Sets, Set{Owner: owner, Dir: "/s/" + owner, Rules: rapid.SliceOfN(rule, 1, 3).Draw(t, owner),
				Tree: tree(leaves(rapid.SliceOfDistinct(name, rapid.ID).Draw(t, "names"))...)})
		}
		plan, err := Plan(in)
		if conflict := (*ConflictError)(nil); errors.As(err, &conflict) && !in.KeepFirst {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		for _, a := range plan.Steps {
			if a.Idle || a.Text == "" {
				continue
			}
			if _, twice := want[a.Target]; twice {
				t.Fatalf("%s is made twice", a.Target)
			}
			want[a.Target] = a.Text
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := applyTo(dir, "/p", plan); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		if err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				name = strings.TrimPrefix(name, dir+"/")
				got[name], err = os.Readlink(filepath.Join(dir, name))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-planned +made):\n%s", diff)
		}
	})
}

// leaves drops names that others lie below.
func leaves(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(names, func(other string) bool { return strings.HasPrefix(other, name+"/") })
	})
}
