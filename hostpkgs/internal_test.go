package hostpkgs

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const awkAlternative = "auto\n/usr/bin/awk\nawk.1\n/usr/share/man/awk.1\nnawk\n/usr/bin//nawk\n\n" +
	"/usr/bin/mawk\n5\n/usr/share/man/mawk.1\n/usr/bin/mawk\n/usr/bin/gawk\n10\n\n/usr/bin/gawk\n\n"

func TestParseAlternative(t *testing.T) {
	for _, c := range []struct {
		text string
		want alternative
	}{
		{awkAlternative, alternative{Name: "n", Link: "/usr/bin/awk",
			Followers: []link{{"/usr/share/man/awk.1", "awk.1"}, {"/usr/bin/nawk", "nawk"}},
			Choices: []choice{
				{"/usr/bin/mawk", 5, []string{"/usr/share/man/mawk.1", "/usr/bin/mawk"}}, {"/usr/bin/gawk", 10, []string{"", "/usr/bin/gawk"}},
			}}},
		{"manual\n/usr/bin/cc\n\n@gnu@/usr/bin/gcc\n-20 service\n", alternative{Name: "n", Link: "/usr/bin/cc",
			Choices: []choice{{"/usr/bin/gcc", -20, []string{}}}}},
		{"auto\n/usr/bin/none\n", alternative{Name: "n", Link: "/usr/bin/none"}},
	} {
		got, err := parseAlternative("n", c.text)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", c.text, err, diff)
		}
	}
	for _, text := range []string{
		"", "auto\n", "auto\nrelative\n", "auto\n/l\nfollower\n", "auto\n/l\na/b\n/f\n", "auto\n/l\nf\nrelative\n\n",
		"auto\n/l\n\n/c\n", "auto\n/l\n\n/c\nmany\n", "auto\n/l\n\nrelative\n1\n", "auto\n/l\nf\n/f\n\n/c\n1\n",
	} {
		if got, err := parseAlternative("n", text); err == nil {
			t.Errorf("%q gave %+v", text, got)
		}
	}
}

func TestAlternativeLinks(t *testing.T) {
	a, err := parseAlternative("awk", awkAlternative)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, current, has string
		want               []link
	}{
		{"the choice", "/usr/bin/mawk", "/usr/bin/mawk /usr/bin/gawk", []link{
			{"/usr/bin/awk", "/etc/alternatives/awk"}, {"/etc/alternatives/awk", "/usr/bin/mawk"},
			{"/usr/bin/nawk", "/etc/alternatives/nawk"}, {"/etc/alternatives/nawk", "/usr/bin/mawk"}}},
		{"the highest priority", "/usr/bin/other", "/usr/bin/mawk /usr/bin/gawk", []link{
			{"/usr/bin/awk", "/etc/alternatives/awk"}, {"/etc/alternatives/awk", "/usr/bin/gawk"},
			{"/usr/bin/nawk", "/etc/alternatives/nawk"}, {"/etc/alternatives/nawk", "/usr/bin/gawk"}}},
		{"no candidate", "/usr/bin/own", "/usr/bin/own", []link{{"/usr/bin/awk", "/etc/alternatives/awk"}, {"/etc/alternatives/awk", "/usr/bin/own"}}},
		{"none", "/usr/bin/mawk", "/usr/bin/perl", nil},
	} {
		got := a.links(c.current, func(name string) bool { return slices.Contains(strings.Fields(c.has), name) })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

func FuzzParseAlternative(f *testing.F) {
	f.Add(awkAlternative)
	f.Add("manual\n/usr/bin/cc\n\n@gnu@/usr/bin/gcc\n-20 service\n")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAlternative("n", text)
		if err != nil {
			return
		}
		for _, l := range a.links("", func(string) bool { return true }) {
			if !path.IsAbs(l.Path) || path.Clean(l.Path) != l.Path {
				t.Errorf("link at %q", l.Path)
			}
		}
	})
}

func TestComparePaths(t *testing.T) {
	sorted := []string{"/", "/a", "/a/b", "/a/b/c", "/a/c", "/a-b", "/a.b", "/a.b/c", "/ab", "/b"}
	shuffled := []string{"/ab", "/a-b", "/b", "/a/c", "/a.b/c", "/", "/a/b/c", "/a", "/a.b", "/a/b"}
	slices.SortFunc(shuffled, comparePaths)
	if !slices.Equal(shuffled, sorted) {
		t.Errorf("order %q, want %q", shuffled, sorted)
	}
}

// TestMerge puts snapshots together that do not fit: the first one wins, and nothing ends up below a link or file.
func TestMerge(t *testing.T) {
	p := plan{}
	for _, files := range []map[string]string{
		{"a/file": "first", "both/x": "first", "link": "-> a", "thing": "file"},
		{"a/file": "second", "both/y": "second", "link/inside": "second", "thing/inside": "second", "a/more": "-> x"},
	} {
		dir := filepath.Join(t.TempDir(), "snapshot")
		out, err := newWriter(dir)
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range files {
			if target, ok := strings.CutPrefix(content, "-> "); ok {
				err = out.symlink("/"+name, target)
			} else {
				err = out.data("/"+name, []byte(content))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := p.merge(dir); err != nil {
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
	out, err := newWriter(filepath.Join(dir, "tree"))
	if err != nil {
		t.Fatal(err)
	}
	const other = "/proc/self/status"
	if err := out.share("/sub/file", other); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "tree/sub/file"))
	if err != nil || info.Mode().Perm() != 0o444 || info.Size() == 0 || !info.ModTime().Equal(canonicalTime) {
		t.Errorf("copy is %v, %v", info, err)
	}
}

func TestLinkedFilesStayLinked(t *testing.T) {
	root, dst := t.TempDir(), filepath.Join(t.TempDir(), "snapshot")
	if err := os.WriteFile(filepath.Join(root, "a"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(root, "a"), filepath.Join(root, "b")); err != nil {
		t.Fatal(err)
	}
	h, err := New(Config{Root: root, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	pin, err := h.snapshot(t.Context(), Contents{Paths: []string{"/a", "/b"}}, dst)
	if err != nil || pin.Files != 2 || pin.Bytes != 2 {
		t.Fatalf("snapshot %+v, %v", pin, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dst, "b"), &st); err != nil || st.Nlink != 2 {
		t.Errorf("b has %d names (%v), want 2", st.Nlink, err)
	}
}

// TestSwappedForALink has the copier meet a link where a resolved path had a folder: it must not follow.
func TestSwappedForALink(t *testing.T) {
	root, dst := t.TempDir(), filepath.Join(t.TempDir(), "snapshot")
	for _, dir := range []string{"open", "elsewhere"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, dir, "file"), []byte(dir), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h, err := New(Config{Root: root, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	h.names.Name("/open/file") // remembered as a folder
	if err := os.Rename(filepath.Join(root, "open"), filepath.Join(root, "was-open")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("elsewhere", filepath.Join(root, "open")); err != nil {
		t.Fatal(err)
	}
	pin, err := h.snapshot(t.Context(), Contents{Paths: []string{"/open/file"}}, dst)
	if err != nil || pin.Files != 0 {
		t.Errorf("snapshot of a swapped folder has %d files (%v)", pin.Files, err)
	}
}

// TestSweep leaves folders alone that somebody holds, and removes those of the dead, read-only ones too.
func TestSweep(t *testing.T) {
	h, err := New(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	live, err := h.newScratch()
	if err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(h.cfg.Dir, "tmp", "dead")
	if err := os.MkdirAll(filepath.Join(dead, "tree/sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dead, "tree"), 0o555); err != nil {
		t.Fatal(err)
	}
	second, err := h.newScratch()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dead); err == nil {
		t.Error("what a dead process left is still there")
	}
	if _, err := os.Lstat(live.path); err != nil {
		t.Errorf("the folder of a live process is gone: %v", err)
	}
	live.remove()
	second.remove()
}

func TestWriteFileReplaces(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	for _, content := range []string{"one", "two"} {
		if err := writeFile(name, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, []byte(content)) {
			t.Errorf("read %q, %v", got, err)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(name)); err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
	if err := writeFile(filepath.Join(name, "below"), nil); err == nil {
		t.Error("writing below a file gave no error")
	}
}
