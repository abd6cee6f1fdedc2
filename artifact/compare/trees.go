package compare

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"hdjail/artifact/tree"
)

// Limits of what is shown of one file: larger texts are compared like binary files, and long diffs are cut.
const (
	maxText  = 1 << 20
	maxLines = 200
)

// FileChange is a path at which two trees differ. A and B say what is there: "directory", "file", "executable" with the size in
// bytes, "link" and where it leads; empty for nothing.
type FileChange struct {
	Path string `json:"path"`
	A    string `json:"a,omitempty"`
	B    string `json:"b,omitempty"`
	// Offset is the first byte that differs, where both sides are files with different content, else -1. It is the size of the
	// shorter one if that is the beginning of the other.
	Offset int64 `json:"offset"`
	// Diff is a unified diff, if both sides are text; Cut tells that there is more of it.
	Diff string `json:"diff,omitempty"`
	Cut  bool   `json:"cut,omitempty"`
}

// Trees lists what differs between two trees, in the order of their encoding. It follows no link. Nothing is left out, but of
// the content only what FileChange says.
func Trees(ctx context.Context, a, b *os.File) ([]FileChange, error) {
	first, err := survey(ctx, a)
	if err != nil {
		return nil, err
	}
	second, err := survey(ctx, b)
	if err != nil {
		return nil, err
	}
	paths := maps.Clone(first)
	maps.Copy(paths, second)
	var changes []FileChange
	for _, p := range slices.SortedFunc(maps.Keys(paths), tree.ComparePaths) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		x, y := first[p], second[p]
		c := FileChange{Path: p, A: x.text(), B: y.text(), Offset: -1}
		if x.file() && y.file() {
			if err := c.content(a, b); err != nil {
				return nil, err
			}
		}
		if c.A != c.B || c.Offset >= 0 {
			changes = append(changes, c)
		}
	}
	return changes, nil
}

// item is what a tree has at a path; its zero value is nothing.
type item struct {
	kind   tree.Kind
	size   int64
	target string
}

func (i item) file() bool { return i.kind == tree.File || i.kind == tree.Executable }

func (i item) text() string {
	switch i.kind {
	case tree.Directory:
		return "directory"
	case tree.Link:
		return "link -> " + i.target
	case tree.File:
		return fmt.Sprintf("file, %d bytes", i.size)
	case tree.Executable:
		return fmt.Sprintf("executable, %d bytes", i.size)
	}
	return ""
}

func survey(ctx context.Context, root *os.File) (map[string]item, error) {
	items := map[string]item{}
	err := tree.Walk(ctx, root, false, func(n *tree.Node) error {
		if n.Path != "" {
			items[n.Path] = item{n.Kind, n.Stat.Size, n.Target}
		}
		return nil
	})
	return items, err
}

// content compares two files.
func (c *FileChange) content(a, b *os.File) error {
	x, err := open(a, c.Path)
	if err != nil {
		return err
	}
	defer x.Close()
	y, err := open(b, c.Path)
	if err != nil {
		return err
	}
	defer y.Close()
	if c.Offset, err = firstDifference(x, y); err != nil || c.Offset < 0 {
		return err
	}
	before, err := text(x)
	if err != nil || before == nil {
		return err
	}
	after, err := text(y)
	if err != nil || after == nil {
		return err
	}
	c.Diff, c.Cut = cut(difference(string(before), string(after)))
	return nil
}

// open opens a regular file of a tree, by no link.
func open(root *os.File, path string) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(int(root.Fd()), path, &how)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// firstDifference returns the offset of the first byte that differs, -1 for none.
func firstDifference(a, b io.Reader) (int64, error) {
	x, y := bufio.NewReaderSize(a, 64<<10), bufio.NewReaderSize(b, 64<<10)
	for at := int64(0); ; {
		p, errX := x.Peek(32 << 10)
		q, errY := y.Peek(32 << 10)
		for _, err := range []error{errX, errY} {
			if err != nil && !errors.Is(err, io.EOF) {
				return -1, err
			}
		}
		n := min(len(p), len(q))
		if i := mismatch(p[:n], q[:n]); i >= 0 {
			return at + int64(i), nil
		}
		if at += int64(n); n < max(len(p), len(q)) {
			return at, nil
		}
		if n == 0 {
			return -1, nil
		}
		x.Discard(n) // what was peeked is there
		y.Discard(n)
	}
}

// mismatch is the first index at which slices of one length differ, -1 for none.
func mismatch(p, q []byte) int {
	if bytes.Equal(p, q) {
		return -1
	}
	i := 0
	for p[i] == q[i] {
		i++
	}
	return i
}

// text reads a file from its beginning; nil if it is no text, or too large to be shown.
func text(f *os.File) ([]byte, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err != nil || len(data) > maxText || bytes.IndexByte(data, 0) >= 0 || !utf8.Valid(data) {
		return nil, err
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

// cut keeps the first lines of a diff.
func cut(diff string) (string, bool) {
	at := 0
	for range maxLines {
		i := strings.IndexByte(diff[at:], '\n')
		if i < 0 {
			return diff, false
		}
		at += i + 1
	}
	return diff[:at], at < len(diff)
}
