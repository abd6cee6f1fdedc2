package plan

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hdjail/artifact"
	"hdjail/artifact/tree"
)

func TestDigestCache(t *testing.T) {
	dir := write(t, map[string]string{"opt/a": "x", "opt/sub/b": "y"})
	opt, computed, later := filepath.Join(dir, "opt"), 0, time.Now().Add(time.Hour)
	c := &DigestCache{Dir: t.TempDir(), Now: func() time.Time { return later }, Compute: func(ctx context.Context, path string) (artifact.TreeDigest, error) {
		computed++
		return tree.DigestPath(ctx, path)
	}}
	digest := func(wantComputed int) artifact.TreeDigest {
		t.Helper()
		d, err := c.Digest(t.Context(), opt)
		if err != nil || computed != wantComputed {
			t.Fatalf("computed %d times, want %d; %v", computed, wantComputed, err)
		}
		return d
	}
	first := digest(1)
	if again := digest(1); again != first {
		t.Error("the remembered digest differs")
	}
	if err := os.WriteFile(filepath.Join(opt, "sub/b"), []byte("z"), 0o644); err != nil { // as long as before
		t.Fatal(err)
	}
	if changed := digest(2); changed == first {
		t.Error("a change deep inside was not seen")
	}
	if err := os.Chmod(filepath.Join(opt, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	digest(3)
	digest(3)
	entries, err := os.ReadDir(c.Dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("entries %v, %v", entries, err)
	}
	if err := os.WriteFile(filepath.Join(c.Dir, entries[0].Name()), []byte("garbage"), 0o644); err != nil {
		t.Fatal(err)
	}
	digest(4)

	later = time.Now() // what has just changed is not remembered
	if err := os.WriteFile(filepath.Join(opt, "new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	digest(5)
	digest(6)
	c.Dir = filepath.Join(opt, "new", "none") // nor where there is no place: new is a file
	later = time.Now().Add(time.Hour)
	digest(7)
	if _, err := c.Digest(t.Context(), filepath.Join(dir, "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing path: %v", err)
	}
}
