package pack

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"strings"

	"github.com/zeebo/blake3"
)

// newHash is the hash that the digest of a downloaded file is made with; nil for other sources, which are no files.
func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "sha256":
		return sha256.New()
	case "blake3":
		return blake3.New()
	}
	return nil
}

// checkSource refuses what is no digest of a file, so that it can be part of a path.
func checkSource(digest string) error {
	algorithm, digits, _ := strings.Cut(digest, ":")
	if newHash(algorithm) == nil || len(digits) != 64 || strings.Trim(digits, "0123456789abcdef") != "" {
		return &RefusedError{headerName, "name", "it has a source that is no downloaded file"}
	}
	return nil
}

// sourcePath is where a source is below the directory of sources.
func sourcePath(digest string) string { return strings.Replace(digest, ":", "/", 1) }

// copySource copies a source and compares it with its digest.
func copySource(digest string, to io.Writer, from io.Reader) error {
	algorithm, want, _ := strings.Cut(digest, ":")
	h := newHash(algorithm)
	if _, err := io.Copy(io.MultiWriter(h, to), from); err != nil {
		return err
	}
	if found := hex.EncodeToString(h.Sum(nil)); found != want {
		return &DigestError{"source", digest, want, found}
	}
	return nil
}
