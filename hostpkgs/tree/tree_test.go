package tree

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestComparePaths(t *testing.T) {
	sorted := []string{"/", "/a", "/a/b", "/a/b/c", "/a/c", "/a-b", "/a.b", "/a.b/c", "/ab", "/b"}
	shuffled := []string{"/ab", "/a-b", "/b", "/a/c", "/a.b/c", "/", "/a/b/c", "/a", "/a.b", "/a/b"}
	slices.SortFunc(shuffled, ComparePaths)
	if !slices.Equal(shuffled, sorted) {
		t.Errorf("order %q, want %q", shuffled, sorted)
	}
}

// TestMerge puts snapshots together that do not fit: the first one wins, and nothing ends up below a link or file.
func TestMerge(t *testing.T) {
	p := Plan{}
	for _, files := range []map[string]string{
		{"a/file": "first", "both/x": "first", "link": "-> a", "thing": "file"},
		{"a/file": "second", "both/y": "second", "link/inside": "second", "thing/inside": "second", "a/more": "-> x"},
	} {
		dir := filepath.Join(t.TempDir(), "snapshot")
		out, err := NewWriter(dir)
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range files {
			if target, ok := strings.CutPrefix(content, "-> "); ok {
				err = out.Symlink("/"+name, target)
			} else {
				err = out.Data("/"+name, []byte(content))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Merge(dir); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	for name, n := range p {
		switch {
		case n.dir:
			got[name] = "dir"
		case n.target != "":
			got[name] = "-> " + n.target
		default:
			content, err := os.ReadFile(n.source)
			if err != nil {
				t.Fatal(err)
			}
			got[name] = string(content)
		}
	}
	want := map[string]string{"/a": "dir", "/a/file": "first", "/a/more": "-> x", "/both": "dir", "/both/x": "first", "/both/y": "second",
		"/link": "-> a", "/thing": "file"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
}

// TestShareCopies makes a tree from a file that cannot get another name, because it is on another file system.
func TestShareCopies(t *testing.T) {
	dir := t.TempDir()
	out, err := NewWriter(filepath.Join(dir, "tree"))
	if err != nil {
		t.Fatal(err)
	}
	const other = "/proc/self/status"
	if err := out.Share("/sub/file", other); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "tree/sub/file"))
	if err != nil || info.Mode().Perm() != 0o444 || info.Size() == 0 || !info.ModTime().Equal(Time) {
		t.Errorf("copy is %v, %v", info, err)
	}
}
