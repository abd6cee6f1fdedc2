package sources

import (
	"context"
	"os"
	"testing"

	"hdjail/artifact"
	"hdjail/artifact/tree"
)

func treeDigestOf(ctx context.Context, dir *os.File) (artifact.TreeDigest, error) {
	d, _, err := tree.Digest(ctx, dir, tree.Options{})
	return d, err
}

func newStore(t *testing.T, o Options) *Store {
	t.Helper()
	if o.Root == "" {
		o.Root = t.TempDir()
	}
	o.Tree = treeDigestOf
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Read-only trees, which t.TempDir cannot remove without privilege.
		for _, name := range []string{"tree", "git"} {
			if err := tree.Remove(open(t, s.dir), name); err != nil {
				t.Error(err)
			}
		}
		s.Close()
	})
	return s
}

func open(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
