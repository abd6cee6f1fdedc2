package links

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Names are bytes, links never lead out of the tree, and nothing is opened that could block.
func TestHostileTree(t *testing.T) {
	dir := tempDir(t)
	tree := filepath.Join(dir, "tree")
	for _, name := range []string{"bad\xff/\xfe\n", "plain", `[a]?\`} {
		if err := os.MkdirAll(filepath.Join(tree, path.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tree, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"up": "..", "abs": "/etc", "loop": "loop", "self": "."} {
		if err := os.Symlink(text, filepath.Join(tree, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(tree, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string][]string{
		"**/*":      {`[a]?\`, "abs", "bad\xff/\xfe\n", "fifo", "loop", "plain", "self", "up"},
		"up/*":      nil,
		"abs/*":     nil,
		"abs/fstab": nil,
		"loop/*":    nil,
		"fifo/*":    nil,
		"plain/x":   nil,
		"plain/*":   nil,
		"no/**/*":   nil,
		"*/pl*n":    {"self/plain"},
		`[a]?*`:     {`[a]?\`},
		`*\`:        {`[a]?\`},
		"[a-z]*":    nil,
	} {
		g, err := ParseGlob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		got, err := g.Expand(openDir(t, tree), "", false)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", pattern, err, diff)
		}
	}
}

// Several "**" come to one directory in very many ways; each is looked at once.
func TestManyStars(t *testing.T) {
	deep := strings.Repeat("d/", 40) + "f"
	g, err := ParseGlob(strings.Repeat("**/*/", 20) + "f")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := g.Expand(tree(deep), "", false); err != nil || !slices.Equal(got, []string{deep}) {
		t.Errorf("got %v, %v", got, err)
	}
}

// A directory that cannot be listed must not lose its links in silence.
func TestUnreadable(t *testing.T) {
	for _, pattern := range []string{"*", "**/*", "a/*"} {
		g, err := ParseGlob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Expand(closedTree{}, "", false); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: got %v", pattern, err)
		}
	}
	literal, err := ParseGlob("a/b")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := literal.Expand(closedTree{}, "", false); err != nil || !slices.Equal(got, []string{"a/b"}) {
		t.Errorf("got %v, %v", got, err)
	}
	root, err := os.OpenRoot(tempDir(t))
	if err != nil {
		t.Fatal(err)
	}
	root.Close()
	if _, err := (Dir{root}).ReadDir("."); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a closed root gives %v", err)
	}
}

// closedTree has files below directories that nobody may list.
type closedTree struct{}

func (closedTree) ReadDir(string) ([]fs.DirEntry, error)  { return nil, fs.ErrPermission }
func (closedTree) Lstat(name string) (fs.FileInfo, error) { return tree(name).Lstat(name) }

func FuzzGlob(f *testing.F) {
	for _, pattern := range []string{"", "/", "**/*", "a/**/b", "*/*.t*t", "a//b", "**", "a**/x", "***/a", "lnk/*", "./..", "[a]", `\*`, "a\x00b"} {
		f.Add(pattern)
	}
	files := tree("a/b/c", "a/b.txt", ".hid/x", "lnk -> a", "[a]", "a+b")
	all, err := Glob{parts: []string{"**", "*"}}.Expand(files, "", true)
	if err != nil || len(all) != 9 {
		f.Fatal(all, err)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		g, err := ParseGlob(pattern)
		if err != nil || g.absolute {
			return
		}
		got, err := g.Expand(files, "", true)
		if err != nil || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Fatalf("%q: %q, %v", pattern, got, err)
		}
		for _, name := range got {
			if !slices.Contains(all, name) && !strings.HasPrefix(name, "lnk/") {
				t.Errorf("%q matches %q, which is not there", pattern, name)
			}
		}
		if !strings.Contains(pattern, "*") && len(got) > 1 {
			t.Errorf("%q matches %q", pattern, got)
		}
	})
}
