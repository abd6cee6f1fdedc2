package sources

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/artifact/tree"
)

// inMemory makes a directory on a tmpfs, which lists entries by when they were made, or fails the test.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "hdjail-reorder-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func fillSources(t *testing.T, dir string) time.Time {
	t.Helper()
	for _, name := range []string{"c", "a", "sub/x", "sub/z", "sub/y", "sub/deep/one", "b"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	then := time.Unix(1000000000, 5)
	for _, name := range []string{"", "sub", "sub/deep"} {
		if err := os.Chtimes(filepath.Join(dir, name), then, then); err != nil {
			t.Fatal(err)
		}
	}
	return then
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := f.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestReorder(t *testing.T) {
	for where, dir := range map[string]string{"memory": inMemory(t), "disk": t.TempDir()} {
		t.Run(where, func(t *testing.T) {
			then := fillSources(t, dir)
			before, sub := names(t, dir), names(t, dir+"/sub")
			f, err := os.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			digest, err := tree.DigestPath(context.Background(), dir)
			if err != nil {
				t.Fatal(err)
			}
			changed, err := Reorder(context.Background(), f, 1)
			if err != nil {
				t.Fatal(err)
			}
			if same := slices.Equal(before, names(t, dir)) && slices.Equal(sub, names(t, dir+"/sub")); same == changed {
				t.Errorf("reported changed %v, order the same %v", changed, same)
			}
			if fs := (unix.Statfs_t{}); unix.Statfs(dir, &fs) == nil && fs.Type == unix.TMPFS_MAGIC && !changed {
				t.Error("a tmpfs keeps its order")
			}
			if again, err := tree.DigestPath(context.Background(), dir); err != nil || again != digest {
				t.Errorf("the tree is another one: %v", err)
			}
			for _, d := range []string{"", "sub", "sub/deep"} {
				if info, err := os.Stat(filepath.Join(dir, d)); err != nil || !info.ModTime().Equal(then) {
					t.Errorf("time of %q: %v, %v", d, info.ModTime(), err)
				}
			}
		})
	}
}
