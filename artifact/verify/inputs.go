package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/tree"
)

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// treeDigest digests a directory, which must be one itself.
func (c *checker) treeDigest(path string) (artifact.TreeDigest, int64, error) {
	root, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return artifact.TreeDigest{}, 0, err
	}
	defer root.Close()
	digest, stats, err := tree.Digest(context.Background(), root, tree.Options{Workers: runtime.GOMAXPROCS(0)})
	return digest, stats.Bytes, err
}

func (c *checker) packages(run func(func())) error {
	digests, err := c.store.HostPackages()
	for _, want := range digests {
		run(func() {
			path := c.store.HostPackagePath(want)
			got, bytes, err := c.treeDigest(path)
			if err == nil && got != want {
				err = fmt.Errorf("it has the digest %s", got)
			}
			c.looked(Problem{Kind: Package, ID: want.String(), Path: c.relative(path)}, bytes, err)
		})
	}
	return err
}

func (c *checker) relative(path string) string { return strings.TrimPrefix(path, c.store.Root()+"/") }

func (c *checker) sources(run func(func())) error {
	digests, err := c.store.Sources()
	for _, want := range digests {
		run(func() {
			path := c.store.SourcePath(want)
			got, bytes, err := c.sourceDigest(want, path)
			if err == nil && got != want {
				err = fmt.Errorf("it has the digest %s", got)
			}
			c.looked(Problem{Kind: Source, ID: want, Path: c.relative(path)}, bytes, err)
		})
	}
	return err
}

// sourceDigest returns the digest that a source should have if it is as it was when it came. A commit says nothing of our
// copy of its tree, so the digest of that was noted beside it.
func (c *checker) sourceDigest(want, path string) (string, int64, error) {
	algorithm, _, _ := strings.Cut(want, ":")
	switch algorithm {
	case "sha256":
		return fileDigest("sha256:", sha256.New(), path)
	case "blake3":
		return fileDigest("blake3:", blake3.New(), path)
	}
	digest, size, err := c.treeDigest(path)
	if err != nil {
		return "", size, err
	}
	if algorithm == "tree" {
		return "tree:" + strings.TrimPrefix(digest.String(), "blake3:"), size, nil
	}
	noted, err := os.ReadFile(path + ".digest")
	if errors.Is(err, fs.ErrNotExist) {
		return "", size, errors.New("the digest of its tree was not noted")
	}
	if err == nil && string(bytes.TrimSpace(noted)) != digest.String() {
		return digest.String(), size, nil
	}
	return want, size, err
}

func fileDigest(prefix string, h hash.Hash, path string) (string, int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, 256<<10))
	return prefix + hex.EncodeToString(h.Sum(nil)), n, err
}
