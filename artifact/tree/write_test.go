package tree

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"hdjail/artifact"
)

// write writes entries that are in order; an empty directory name makes nothing.
func write(into string, list []Entry, contents map[[32]byte]string) (artifact.TreeDigest, error) {
	var dst *os.File
	if into != "" {
		var err error
		if dst, err = Open(into, false); err != nil {
			return artifact.TreeDigest{}, err
		}
		defer dst.Close()
	}
	w := NewWriter(dst)
	defer w.Close()
	for _, e := range list {
		content := contents[e.Content]
		e.Content = [32]byte{}
		if err := w.Add(e, strings.NewReader(content)); err != nil {
			return artifact.TreeDigest{}, err
		}
	}
	return w.Sum()
}

// TestWriter: what is written has the digest that is returned, with and without a place to write to, and is canonical.
func TestWriter(t *testing.T) {
	parent := t.TempDir()
	contents := contentsOf("", "a", "b", "a/b")
	rapid.Check(t, func(rt *rapid.T) {
		list := entries().Draw(rt, "entries")
		want, err := DigestEntries(list)
		if err != nil {
			rt.Fatal(err)
		}
		if err := os.Mkdir(parent+"/dst", 0o755); err != nil {
			rt.Fatal(err)
		}
		defer removeAll(t, parent, "dst")
		for _, into := range []string{"", parent + "/dst"} {
			if got, err := write(into, list, contents); err != nil || got != want {
				rt.Errorf("into %q: %s, %v; want %s", into, got, err, want)
			}
		}
		if got := digest(t, parent+"/dst"); got != want {
			rt.Errorf("there is %s, want %s", got, want)
		}
		for _, e := range list {
			var st unix.Stat_t
			mode := map[Kind]uint32{Directory: 0o555, File: 0o444, Executable: 0o555, Link: 0o777}[e.Kind]
			if err := unix.Lstat(parent+"/dst/"+e.Path, &st); err != nil || st.Mode&0o7777 != mode || st.Mtim.Sec != 1 {
				rt.Errorf("%q: mode %o, time %v, %v", e.Path, st.Mode, st.Mtim, err)
			}
		}
	})
}

// TestWriterRefuses: no name leads anywhere else, and nothing is made for one that is refused.
func TestWriterRefuses(t *testing.T) {
	for _, list := range [][]Entry{
		{dir("..")}, {dir("a/..")}, {dir("")}, {dir("/a")}, {file("a/b", "")}, {link("a", "/tmp"), file("a/b", "")},
		{file("a", ""), file("a", "")}, {file("b", ""), file("a", "")}, {{Path: "a", Kind: 'p'}}, {dir(strings.Repeat("x", 256))},
	} {
		parent := t.TempDir()
		_, err := write(parent, list, nil)
		if !errors.As(err, new(*OrderError)) {
			t.Errorf("%v: %v", list, err)
		}
		if left, _ := os.ReadDir(parent); len(left) != len(list)-1 {
			t.Errorf("%v: %v", list, left)
		}
	}
	w := NewWriter(nil)
	if err := w.Add(Entry{Path: "a", Kind: File, Size: 2}, strings.NewReader("x")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	broken := errors.New("broken")
	if err := w.Add(Entry{Path: "a", Kind: File, Size: 2}, io.MultiReader(bytes.NewReader([]byte("x")), broke{broken})); err != broken {
		t.Error(err)
	}
}

type broke struct{ err error }

func (b broke) Read([]byte) (int, error) { return 0, b.err }

// TestWriterDeep needs few descriptors.
func TestWriterDeep(t *testing.T) {
	parent := t.TempDir()
	if err := os.Mkdir(parent+"/dst", 0o755); err != nil {
		t.Fatal(err)
	}
	lowerFDLimit(t, 160)
	var list []Entry
	for i := range 300 {
		list = append(list, dir(strings.Repeat("d/", i)+"d"))
	}
	list = append(list, file(strings.Repeat("d/", 300)+"f", ""), dir("e"))
	if _, err := write(parent+"/dst", list, nil); err != nil {
		t.Error(err)
	}
	removeAll(t, parent, "dst")
}
