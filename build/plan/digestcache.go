package plan

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/zeebo/blake3"

	"hdjail/artifact"
)

// DigestCache remembers digests of whitelisted files and trees for as long as stat(2) tells the same of every entry, so
// that a large one is read once. Losing the cache costs time only. Safe for concurrent use, by several processes too.
type DigestCache struct {
	// Dir holds the cache, and is made when it is absent; nobody else can write to it.
	Dir string
	// Compute gives the digest of a path that is not known.
	Compute func(ctx context.Context, path string) (artifact.TreeDigest, error)
	// Now is the clock. What changed a moment ago is not remembered: its times may not change with the next change.
	Now func() time.Time
}

// settled is how old the newest change must be, more than the granularity of any file system's times.
const settled = 3 * time.Second

// Digest returns what Compute returns for path; it has the form of Resolver.HostDigest.
func (c *DigestCache) Digest(ctx context.Context, path string) (artifact.TreeDigest, error) {
	sum := blake3.Sum256([]byte(path))
	entry := filepath.Join(c.Dir, hex.EncodeToString(sum[:16]))
	before, _, err := signature(ctx, path)
	if err != nil {
		return artifact.TreeDigest{}, err
	}
	if text, err := os.ReadFile(entry); err == nil {
		if known, digest, _ := strings.Cut(string(text), " "); known == before {
			if d, err := artifact.ParseTreeDigest(digest); err == nil {
				return d, nil
			}
		}
	}
	digest, err := c.Compute(ctx, path)
	if err != nil {
		return digest, err
	}
	if after, newest, err := signature(ctx, path); err == nil && after == before && c.Now().Sub(newest) > settled {
		c.remember(entry, after+" "+digest.String())
	}
	return digest, nil
}

// remember writes an entry. Not being able to is no error of whoever asked for the digest.
func (c *DigestCache) remember(entry, text string) {
	err := os.MkdirAll(c.Dir, 0o755)
	temporary, createErr := os.CreateTemp(c.Dir, ".new-")
	if err = errors.Join(err, createErr); err != nil {
		return
	}
	_, err = temporary.WriteString(text)
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), entry)
	}
	if err != nil {
		os.Remove(temporary.Name())
	}
}

// signature sums up what stat(2) tells of everything at and below path, and returns the time of the newest change.
func signature(ctx context.Context, path string) (text string, newest time.Time, err error) {
	h := blake3.New()
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t) // os.FileInfo of Lstat on Linux
		h.WriteString(name + "\x00")
		var b []byte
		for _, n := range []int64{int64(st.Dev), int64(st.Ino), int64(st.Mode), st.Size, st.Mtim.Nano(), st.Ctim.Nano()} {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
		h.Write(b)
		if changed := time.Unix(st.Ctim.Unix()); changed.After(newest) {
			newest = changed
		}
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), newest, err
}
