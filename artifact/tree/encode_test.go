package tree

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/blake3"
	"pgregory.net/rapid"

	"hdjail/artifact"
)

func file(path, content string) Entry {
	return Entry{Path: path, Kind: File, Size: int64(len(content)), Content: blake3.Sum256([]byte(content))}
}

func program(path, content string) Entry {
	e := file(path, content)
	e.Kind = Executable
	return e
}

func dir(path string) Entry          { return Entry{Path: path, Kind: Directory} }
func link(path, target string) Entry { return Entry{Path: path, Kind: Link, Target: target} }

// vectors are trees whose encodings and digests are pinned in testdata/encodings.json.
var vectors = map[string][]Entry{
	"empty":      nil,
	"one file":   {file("a", "")},
	"executable": {program("a", "")},
	"nested":     {dir("bin"), program("bin/hello", "#!/bin/sh\n"), dir("empty"), link("lib", "../dep/lib"), file("zero\n", "\x00")},
	"order":      {dir("a"), dir("a/b"), file("a/b/c", "1"), file("a-b", "2"), file("a.b", "3"), file("ab", "4")},
}

func TestVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/encodings.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]struct {
		Encoding string
		Digest   artifact.TreeDigest
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	for name, entries := range vectors {
		var out bytes.Buffer
		e := NewEncoder(&out)
		for _, entry := range entries {
			if err := e.Add(entry); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		digest, err := e.Sum()
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(out.Bytes()); got != want[name].Encoding || digest != want[name].Digest {
			t.Errorf("%s: encoding %s with digest %s, want %s with %s", name, got, digest, want[name].Encoding, want[name].Digest)
		}
		shuffled := slices.Clone(entries)
		slices.Reverse(shuffled)
		if d, err := DigestEntries(shuffled); err != nil || d != digest {
			t.Errorf("%s: in another order the digest is %s (%v)", name, d, err)
		}
	}
}

func TestEncoderRefuses(t *testing.T) {
	bad := map[string][]Entry{
		"empty path":     {file("", "")},
		"absolute":       {file("/a", "")},
		"dot":            {file(".", "")},
		"dotdot":         {dir("a"), file("a/..", "")},
		"trailing slash": {dir("a/")},
		"double slash":   {dir("a"), file("a//b", "")},
		"NUL":            {file("a\x00", "")},
		"long name":      {file(strings.Repeat("a", 256), "")},
		"twice":          {file("a", ""), file("a", "1")},
		"order":          {file("b", ""), file("a", "")},
		"deep order":     {dir("a"), file("a-b", ""), file("a/b", "")},
		"no parent":      {file("a/b", "")},
		"parent is file": {file("a", ""), file("a/b", "")},
		"other parent":   {dir("a"), dir("a/b"), file("b/c", "")},
		"kind":           {{Path: "a"}},
	}
	for name, entries := range bad {
		e := NewEncoder(nil)
		var err error
		for _, entry := range entries {
			err = errors.Join(err, e.Add(entry))
		}
		if !errors.As(err, new(*OrderError)) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// entries draws a tree with few names, so that near misses are common.
func entries() *rapid.Generator[[]Entry] {
	return rapid.Custom(func(t *rapid.T) []Entry {
		all := map[string]Entry{}
		dirs := []string{""}
		for range rapid.IntRange(0, 8).Draw(t, "n") {
			name := rapid.StringMatching(`[a\-.0\n]{1,3}`).Filter(isName).Draw(t, "name")
			p := path.Join(rapid.SampledFrom(dirs).Draw(t, "dir"), name)
			if _, ok := all[p]; ok {
				continue
			}
			content := rapid.SampledFrom([]string{"", "a", "b", "a/b"}).Draw(t, "content")
			all[p] = rapid.SampledFrom([]Entry{dir(p), file(p, content), program(p, content), link(p, content+"x")}).Draw(t, "entry")
			if all[p].Kind == Directory {
				dirs = append(dirs, p)
			}
		}
		var list []Entry
		for _, e := range all {
			list = append(list, e)
		}
		slices.SortFunc(list, func(a, b Entry) int { return ComparePaths(a.Path, b.Path) })
		return list
	})
}

// TestDifferentTreesDiffer is defect (b) turned round: names, kinds, modes and empty directories all count.
func TestDifferentTreesDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := entries().Draw(t, "a"), entries().Draw(t, "b")
		da, err1 := DigestEntries(a)
		db, err2 := DigestEntries(b)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if (da == db) != slices.Equal(a, b) {
			t.Fatalf("digests %s and %s", da, db)
		}
	})
}
