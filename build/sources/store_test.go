package sources

import (
	"context"
	"io/fs"
	"os"
	"testing"

	"github.com/zeebo/blake3"

	"hdjail/artifact"
)

// treeDigestOf is a tree digest good enough for tests: names, types, execute bits, contents.
func treeDigestOf(_ context.Context, dir *os.File) (artifact.TreeDigest, error) {
	h := blake3.New()
	fsys := os.DirFS(dir.Name())
	err := fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		h.WriteString(path + "\x00" + info.Mode().Type().String() + "\x00")
		switch info.Mode().Type() {
		case fs.ModeSymlink:
			target, err := os.Readlink(dir.Name() + "/" + path)
			h.WriteString(target)
			return err
		case 0:
			if info.Mode()&0o111 != 0 {
				h.WriteString("x")
			}
			content, err := fs.ReadFile(fsys, path)
			h.Write(content)
			return err
		}
		return nil
	})
	return artifact.TreeDigest(h.Sum(nil)), err
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
	t.Cleanup(func() { s.Close() })
	return s
}
