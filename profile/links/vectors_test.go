package links

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// entry is one line of a tree in the vectors.
type entry struct {
	Path, Type, Content, Target string
	Executable                  bool
}

// readVectors decodes a file of vectors after @ROOT@ was replaced by root.
func readVectors(t *testing.T, name, root string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../testdata/hashdist", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(data), "@ROOT@", root)), into); err != nil {
		t.Fatal(err)
	}
}

func makeTree(t *testing.T, root string, tree []entry) {
	t.Helper()
	for _, e := range tree {
		name := filepath.Join(root, e.Path)
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		switch {
		case err != nil:
		case e.Type == "dir":
			err = os.Mkdir(name, 0o755)
		case e.Type == "symlink":
			err = os.Symlink(e.Target, name)
		default:
			err = os.WriteFile(name, []byte(e.Content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// readTree lists everything below root by path.
func readTree(t *testing.T, root string) map[string]entry {
	t.Helper()
	found := map[string]entry{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		e := entry{Type: "file"}
		e.Path, _ = filepath.Rel(root, name)
		switch {
		case d.IsDir():
			e.Type = "dir"
		case d.Type()&fs.ModeSymlink != 0:
			e.Type = "symlink"
			e.Target, err = os.Readlink(name)
		default:
			var data []byte
			data, err = os.ReadFile(name)
			e.Content = string(data)
		}
		found[e.Path] = e
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// host is a Tree as create-links sees it: relative names are below dir, absolute ones are the host's.
type host struct{ dir string }

func (h host) at(name string) string { return absolute(h.dir, name) }

func (h host) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(h.at(name))
	return entries, missing(err)
}

func (h host) Lstat(name string) (fs.FileInfo, error) {
	info, err := os.Lstat(h.at(name))
	return info, missing(err)
}

func (h host) Readlink(name string) (string, error) { return os.Readlink(h.at(name)) }

func missing(err error) error {
	if errors.Is(err, syscall.ENOTDIR) {
		return fs.ErrNotExist
	}
	return err
}

func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestGlobVectors(t *testing.T) {
	root := tempDir(t)
	var vectors struct {
		Trees map[string][]entry
		Cases []struct {
			Case, Tree, Pattern, Cwd string
			Dirs                     bool
			Expect                   struct {
				Matches []string
				Error   string
			}
		}
	}
	readVectors(t, "ant_glob.json", root+"/TREE", &vectors)
	for name, tree := range vectors.Trees {
		makeTree(t, filepath.Join(root, name), tree)
	}
	for _, c := range vectors.Cases {
		t.Run(c.Case, func(t *testing.T) {
			in := func(s string) string { return strings.ReplaceAll(s, "/TREE", "/"+c.Tree) }
			g, err := ParseGlob(in(c.Pattern))
			if c.Expect.Error != "" {
				if bad := (*GlobError)(nil); !errors.As(err, &bad) || bad.Pattern != c.Pattern {
					t.Fatalf("got %v, want *GlobError", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := []string{}
			for _, m := range c.Expect.Matches {
				want = append(want, in(m))
			}
			trees := map[string]Tree{"host": host{filepath.Join(root, c.Tree)}}
			if c.Cwd == "" && !g.absolute {
				trees["dir"] = openDir(t, filepath.Join(root, c.Tree))
			}
			for kind, tree := range trees {
				got, err := g.Expand(tree, in(c.Cwd), c.Dirs)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, append([]string{}, got...)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", kind, diff)
				}
			}
		})
	}
}

func openDir(t *testing.T, name string) Dir {
	t.Helper()
	root, err := os.OpenRoot(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return Dir{root}
}

type undefined struct{ name string }

func (e *undefined) Error() string { return "undefined variable " + e.name }

var variable = regexp.MustCompile(`\$\w+`)

func expander(env map[string]string) func(string) (string, error) {
	return func(text string) (string, error) {
		var err error
		return variable.ReplaceAllStringFunc(text, func(v string) string {
			value, ok := env[v[1:]]
			if !ok {
				err = &undefined{v[1:]}
			}
			return value
		}), err
	}
}

// unsupported are the rows with actions that are refused for now, and those actions.
var unsupported = map[string]string{
	"published-dry-run":           "copy",
	"published-dry-run-overwrite": "copy",
	"published-dry-run-absolute":  "copy",
	"copy-over-link":              "copy",
	"published-launcher":          "launcher",
}

type linkCase struct {
	Case       string
	Tree       []entry
	Rules      []Rule
	Env        map[string]string
	OnConflict string `json:"on_conflict"`
	Expect     struct {
		Actions           [][]string
		Created, Replaced []entry
		Conflicts         []string
		Refuse, Error     string
	}
}

func TestLinkVectors(t *testing.T) {
	for i, name := range vectorNames(t) {
		t.Run(name, func(t *testing.T) {
			root := tempDir(t)
			var vectors struct{ Cases []linkCase }
			readVectors(t, "links.json", root, &vectors)
			vectors.Cases[i].run(t, root)
		})
	}
}

func vectorNames(t *testing.T) (names []string) {
	var vectors struct{ Cases []linkCase }
	readVectors(t, "links.json", "", &vectors)
	for _, c := range vectors.Cases {
		names = append(names, c.Case)
	}
	for name := range unsupported {
		if !slices.Contains(names, name) {
			t.Errorf("no row is called %s", name)
		}
	}
	return names
}

func (c linkCase) run(t *testing.T, root string) {
	makeTree(t, root, c.Tree)
	before := readTree(t, root)
	plan, err := Plan(Input{
		Sets: []Set{{Rules: c.Rules, Tree: host{root}, Dir: root}}, Dir: root, Existing: host{root},
		KeepFirst: c.OnConflict == "first", Expand: expander(c.Env),
	})
	if action := unsupported[c.Case]; action != "" {
		if refused := (*UnsupportedError)(nil); !errors.As(err, &refused) || refused.Action != action {
			t.Fatalf("got %v, want %s to be unsupported", err, action)
		}
		return
	}
	if c.mustFail(t, err) {
		if diff := cmp.Diff(before, readTree(t, root)); diff != "" {
			t.Errorf("the refused plan changed the tree:\n%s", diff)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	actions := [][]string{}
	for _, a := range plan.Steps {
		switch a.Verb {
		case Makedirs, Unlink:
			actions = append(actions, []string{string(a.Verb), a.Target})
		default:
			actions = append(actions, []string{string(a.Verb), a.Source, a.Target})
		}
	}
	if diff := cmp.Diff(c.Expect.Actions, actions); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	want := before
	for _, e := range slices.Concat(c.Expect.Created, c.Expect.Replaced) {
		want[e.Path] = e
	}
	if err := applyTo(root, root, plan); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, readTree(t, root)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}

// mustFail checks err against what the row expects, and reports whether that is a failure.
func (c linkCase) mustFail(t *testing.T, err error) bool {
	var rule *RuleError
	var conflict *ConflictError
	var name *undefined
	switch {
	case c.Expect.Conflicts != nil:
		if !errors.As(err, &conflict) {
			t.Fatalf("got %v, want *ConflictError", err)
		}
		var targets []string
		for _, found := range conflict.Conflicts {
			targets = append(targets, found.Target)
		}
		if diff := cmp.Diff(c.Expect.Conflicts, targets); diff != "" {
			t.Errorf("conflicts (-want +got):\n%s", diff)
		}
	case c.Expect.Error == "undefined":
		if !errors.As(err, &rule) || !errors.As(err, &name) {
			t.Errorf("got %v, want *RuleError with the cause of the expander", err)
		}
	case c.Expect.Error != "" || c.Expect.Refuse != "":
		if !errors.As(err, &rule) {
			t.Errorf("got %v, want *RuleError (%s%s)", err, c.Expect.Error, c.Expect.Refuse)
		}
		word := map[string]string{"prefix": "prefix", "action": "unknown action", "outside-target": "below"}[c.Expect.Error+c.Expect.Refuse]
		if !strings.Contains(fmt.Sprint(err), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	default:
		return false
	}
	return true
}

func applyTo(dir, base string, plan Actions) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return Apply(context.Background(), f, base, plan)
}
