package sources

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"

	"github.com/zeebo/blake3"
)

// Digest identifies a source. Algorithm is "sha256" or "blake3" (of a file), "tree" (a tree digest) or "git" (a commit);
// Hex is lower-case, 64 digits, 40 for git. Only ParseDigest makes one, so both are safe as path components.
type Digest struct{ Algorithm, Hex string }

var digestLength = map[string]int{"sha256": 64, "blake3": 64, "tree": 64, "git": 40}

// ParseDigest reads "algorithm:hex"; any other text gives *BadDigestError.
func ParseDigest(text string) (Digest, error) {
	algorithm, digits, _ := strings.Cut(text, ":")
	if n := digestLength[algorithm]; n == 0 || len(digits) != n || strings.Trim(digits, "0123456789abcdef") != "" {
		return Digest{}, &BadDigestError{text}
	}
	return Digest{algorithm, digits}, nil
}

// String returns "algorithm:hex".
func (d Digest) String() string { return d.Algorithm + ":" + d.Hex }

// IsFile reports whether d is the digest of one file.
func (d Digest) IsFile() bool { return d.Algorithm == "sha256" || d.Algorithm == "blake3" }

func (d Digest) path() string { return d.Algorithm + "/" + d.Hex }

// key is a name for d that is one path component.
func (d Digest) key() string { return d.Algorithm + "-" + d.Hex }

func newHash(algorithm string) hash.Hash {
	if algorithm == "sha256" {
		return sha256.New()
	}
	return blake3.New()
}

func sum(algorithm string, h hash.Hash) Digest {
	return Digest{algorithm, hex.EncodeToString(h.Sum(nil))}
}
