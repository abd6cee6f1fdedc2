package pack

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"strings"

	"github.com/zeebo/blake3"

	"hdjail/artifact"
)

// source is an input of a build that can be compared with its digest: a file, or a local tree. A commit is none, as only
// git can tell what belongs to it.
type source struct{ algorithm, digits string }

// parseSource reads a digest, and tells whether it is one of a source that goes along.
func parseSource(digest string) (source, bool) {
	algorithm, digits, _ := strings.Cut(digest, ":")
	ok := algorithm == "sha256" || algorithm == "blake3" || algorithm == "tree"
	return source{algorithm, digits}, ok && len(digits) == 64 && strings.Trim(digits, "0123456789abcdef") == ""
}

func (s source) String() string { return s.algorithm + ":" + s.digits }

// path is where it is below the directory of sources.
func (s source) path() string { return s.algorithm + "/" + s.digits }

func (s source) isTree() bool { return s.algorithm == "tree" }

// tree is the digest of a tree.
func (s source) tree() (digest artifact.TreeDigest) {
	hex.Decode(digest[:], []byte(s.digits)) // it was parsed
	return digest
}

// copyFile copies the file and compares it with its digest.
func (s source) copyFile(to io.Writer, from io.Reader) error {
	var h hash.Hash = blake3.New()
	if s.algorithm == "sha256" {
		h = sha256.New()
	}
	if _, err := io.Copy(io.MultiWriter(h, to), from); err != nil {
		return err
	}
	if found := hex.EncodeToString(h.Sum(nil)); found != s.digits {
		return &DigestError{"source", s.String(), s.digits, found}
	}
	return nil
}
