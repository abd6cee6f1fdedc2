package hostpkgs_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/zeebo/blake3"

	"hdjail/hostpkgs"
	"hdjail/hostpkgs/dpkg"
)

// digestTree stands in for the tree digest of the artifact package: names, types, executable bits, contents, targets.
func digestTree(_ context.Context, dir string) (string, error) {
	sum := blake3.New()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%q %v %v ", name[len(dir):], info.Mode().Type(), info.Mode()&0o111 != 0 && !d.IsDir())
		switch {
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(name)
			fmt.Fprintf(sum, "%q", target)
			return err
		case d.Type().IsRegular():
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			fmt.Fprintf(sum, "%d ", info.Size())
			_, err = io.Copy(sum, f)
			return err
		}
		return nil
	})
	return fmt.Sprintf("blake3:%x", sum.Sum(nil)), err
}

// tempDir is a folder whose read-only trees can be removed after the test.
func tempDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				return os.Chmod(name, 0o700)
			}
			return nil
		})
	})
	return dir
}

func openHost(t testing.TB, root, dir string) *hostpkgs.Host {
	t.Helper()
	db, err := dpkg.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	h, err := hostpkgs.New(hostpkgs.Config{Database: db, Root: root, Dir: dir, Digest: digestTree})
	if err != nil {
		t.Fatal(err)
	}
	return h
}
