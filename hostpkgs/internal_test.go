package hostpkgs

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

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
	cfg := Config{Dir: t.TempDir(), TempName: func() string { return "live" }, Abandoned: func(name string) bool { return name == "dead" }}
	h, err := New(cfg)
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
	if _, err := New(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dead); err == nil {
		t.Error("what a dead process left is still there")
	}
	if _, err := os.Lstat(live.path); err != nil {
		t.Errorf("the folder of a live process is gone: %v", err)
	}
	live.remove()
	if _, err := os.Lstat(live.path); err == nil {
		t.Error("a folder that was removed is still there")
	}
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
