// Package tree handles directory trees by their descriptors: the canonical encoding and its digest, walking, hashing,
// copying and removing. Names come from builds and strangers, so no function follows a symbolic link, resolves a path of
// several components, crosses a device or opens anything but regular files and directories for reading.
//
// It judges nothing: what an output may hold is decided in artifact/collect.
package tree

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/zeebo/blake3"

	"hdjail/artifact"
)

// Kind is the type of an Entry, and the byte that its encoding begins with.
type Kind byte

// The kinds of entries that a tree can hold.
const (
	Directory  Kind = 'd'
	File       Kind = 'f'
	Executable Kind = 'x' // a file with its owner's executable bit
	Link       Kind = 'l'
)

const (
	treeDomain = "hdjail 2026-01 tree v1"
	treeMagic  = "hdjail-tree-1\n"
)

// Limits of a path in a tree, in bytes: those of Linux (path_resolution(7)).
const (
	maxPath = 4095
	maxName = 255
)

// Entry is one name in a tree.
type Entry struct {
	// Path is relative to the root of the tree, with "/" between its components. The root itself has no Entry.
	Path string
	Kind Kind
	// Size is the length of a file in bytes, and Content the BLAKE3-256 of its bytes, as b3sum prints it.
	Size    int64
	Content [32]byte
	// Target is what a Link holds, byte for byte.
	Target string
}

// OrderError reports an Entry that cannot follow the ones before it in an encoding.
type OrderError struct{ Path, Reason string }

// Error implements error.
func (e *OrderError) Error() string { return fmt.Sprintf("encode tree entry %q: %s", e.Path, e.Reason) }

// Encoder makes the canonical encoding of a tree and digests it. The encoding is the line "hdjail-tree-1\n" and the
// entries, a directory before what it holds and names in one directory sorted by their bytes. An entry is its kind (one
// byte); the length of its path (8 bytes, little endian) and the path; then for a file its size (8 bytes) and the 32
// bytes of its content's BLAKE3-256, for a link the length of its target (8 bytes) and the target, for a directory
// nothing. Owners and times are not in it, nor any permission but the owner's executable bit of files. Every directory
// has an entry, so empty ones count. Each entry tells where it ends, so different trees have different encodings.
//
// The TreeDigest is the BLAKE3-256 of the encoding in derive-key mode. Create an Encoder with NewEncoder; it is for one
// goroutine.
type Encoder struct {
	hash *blake3.Hasher
	out  io.Writer
	buf  []byte
	last string
	dirs []string // the directories that the last entry lies in, and itself if it is one
}

// NewEncoder begins an encoding. Its bytes are written to out as well, unless out is nil.
func NewEncoder(out io.Writer) *Encoder {
	return &Encoder{hash: blake3.NewDeriveKey(treeDomain), out: out, buf: []byte(treeMagic)}
}

// Add appends one entry. An entry that is out of order, a duplicate, whose directory has no entry before it, or whose
// path is not clean gives *OrderError.
func (e *Encoder) Add(entry Entry) error {
	if err := e.check(entry); err != nil {
		return err
	}
	e.last = entry.Path
	e.buf = append(e.buf, byte(entry.Kind))
	e.buf = appendString(e.buf, entry.Path)
	switch entry.Kind {
	case Link:
		e.buf = appendString(e.buf, entry.Target)
	case File, Executable:
		e.buf = binary.LittleEndian.AppendUint64(e.buf, uint64(entry.Size))
		e.buf = append(e.buf, entry.Content[:]...)
	case Directory:
		e.dirs = append(e.dirs, entry.Path)
	}
	if len(e.buf) < 16<<10 {
		return nil
	}
	return e.flush()
}

// check also leaves in e.dirs only the directories that the entry lies in.
func (e *Encoder) check(entry Entry) error {
	parent := ""
	if i := strings.LastIndexByte(entry.Path, '/'); i >= 0 {
		parent = entry.Path[:i]
	}
	name := strings.TrimPrefix(entry.Path[len(parent):], "/")
	switch {
	case !isName(name) || len(entry.Path) > maxPath || entry.Path[0] == '/':
		return &OrderError{entry.Path, "its path is not clean"}
	case !strings.ContainsRune("dfxl", rune(entry.Kind)):
		return &OrderError{entry.Path, "its kind is unknown"}
	case e.last != "" && ComparePaths(e.last, entry.Path) >= 0:
		return &OrderError{entry.Path, fmt.Sprintf("it cannot come after %q", e.last)}
	}
	for len(e.dirs) > 0 && e.dirs[len(e.dirs)-1] != parent {
		e.dirs = e.dirs[:len(e.dirs)-1]
	}
	if parent != "" && len(e.dirs) == 0 {
		return &OrderError{entry.Path, "its directory has no entry"}
	}
	return nil
}

func (e *Encoder) flush() error {
	e.hash.Write(e.buf) // never fails
	if e.out != nil {
		if _, err := e.out.Write(e.buf); err != nil {
			return fmt.Errorf("write tree encoding: %w", err)
		}
	}
	e.buf = e.buf[:0]
	return nil
}

// Sum ends the encoding and returns its digest.
func (e *Encoder) Sum() (artifact.TreeDigest, error) {
	if err := e.flush(); err != nil {
		return artifact.TreeDigest{}, err
	}
	var d artifact.TreeDigest
	e.hash.Sum(d[:0])
	return d, nil
}

// DigestEntries returns the digest of the tree that consists of the entries, given in any order. A duplicate, a path
// that is not clean, or an entry whose directory is missing gives *OrderError.
func DigestEntries(entries []Entry) (artifact.TreeDigest, error) {
	sorted := slices.SortedStableFunc(slices.Values(entries), func(a, b Entry) int { return ComparePaths(a.Path, b.Path) })
	e := NewEncoder(nil)
	for _, entry := range sorted {
		if err := e.Add(entry); err != nil {
			return artifact.TreeDigest{}, err
		}
	}
	return e.Sum()
}

// ComparePaths orders paths as a tree encoding does: component by component, so that what a directory holds follows it
// at once.
func ComparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		switch { // the separator sorts before every byte of a name
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		case a[i] < b[i]:
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}

func isName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= maxName && !strings.ContainsAny(s, "/\x00")
}

func appendString(buf []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(buf, uint64(len(s))), s...)
}
