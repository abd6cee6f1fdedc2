package unpack

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// entry is one path of a tree, as the vectors write it.
type entry struct {
	Path, Type, Content, Target string
	Executable                  bool
}

// list reads the tree below dir, sorted by path.
func list(t *testing.T, dir string) []entry {
	t.Helper()
	entries := []entry{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := entry{Path: path[len(dir)+1:]}
		switch info.Mode().Type() {
		case fs.ModeDir:
			e.Type = "dir"
		case fs.ModeSymlink:
			e.Type = "symlink"
			e.Target, err = os.Readlink(path)
		default:
			e.Type, e.Executable = "file", info.Mode()&0o100 != 0
			var content []byte
			content, err = os.ReadFile(path)
			e.Content = string(content)
		}
		if info.ModTime().Unix() != Time {
			t.Errorf("time of %s is %v", e.Path, info.ModTime())
		}
		if mode := info.Mode(); mode.IsRegular() && mode != 0o644 && mode != 0o755 || mode.IsDir() && mode != 0o755|fs.ModeDir {
			t.Errorf("mode of %s is %v", e.Path, mode)
		}
		entries = append(entries, e)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func open(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// unpack puts one archive below dir.
func unpack(t *testing.T, dir string, o Options, content []byte) error {
	t.Helper()
	o.UID, o.GID = os.Geteuid(), os.Getegid()
	tree, err := NewTree(open(t, dir), o)
	if err != nil {
		return err
	}
	if err := Archive(context.Background(), bytes.NewReader(content), int64(len(content)), tree); err != nil {
		tree.Abort()
		return err
	}
	return tree.Close()
}

// outside is where the hostile archives of the vectors aim.
const outside = "/var/tmp/vec-outside"

func TestVectors(t *testing.T) {
	var vectors struct {
		Cases []struct {
			Case   string
			Expect struct {
				Tree   []entry
				Refuse string
			}
			Sources []struct {
				Key, Target string
				Content     []byte `json:"content_b64"`
			}
		}
		CommonPrefix []struct {
			Members []string
			Prefix  string
		} `json:"common_prefix"`
	}
	readVectors(t, "unpack.json", &vectors)
	for _, c := range vectors.Cases {
		t.Run(c.Case, func(t *testing.T) {
			dir := t.TempDir()
			var err error
			for _, s := range c.Sources {
				format, _, _ := strings.Cut(s.Key, ":")
				if format == "files" || c.Expect.Refuse == "digest" {
					return // Hashdist's own container and keys are not unpacked here
				}
				if got := Detect(bytes.NewReader(s.Content)); got != format {
					t.Errorf("format %q, want %q", got, format)
				}
				if err == nil {
					err = unpack(t, dir, Options{Target: s.Target}, s.Content)
				}
			}
			if c.Expect.Refuse != "" {
				if kind(err) != c.Expect.Refuse {
					t.Errorf("error %v, want refusal %q", err, c.Expect.Refuse)
				}
			} else if err != nil {
				t.Error(err)
			} else if got, want := text(t, list(t, dir)), text(t, c.Expect.Tree); got != want {
				t.Errorf("tree\n%s\nwant\n%s", got, want)
			}
			if _, err := os.Lstat(outside); err == nil {
				t.Fatal("written outside")
			}
		})
	}
	for _, c := range vectors.CommonPrefix {
		var s survey
		for _, name := range c.Members {
			if err := s.add(member{name: name, counts: true}); err != nil {
				t.Error(err)
			}
		}
		if got := s.prefix(); got != c.Prefix {
			t.Errorf("prefix of %q is %q, want %q", c.Members, got, c.Prefix)
		}
	}
}

func TestFormats(t *testing.T) {
	var vectors struct {
		Cases []struct {
			Case, Type string
			Content    []byte `json:"content_b64"`
			Expect     struct{ Error string }
		}
	}
	readVectors(t, "source_keys.json", &vectors)
	for _, c := range vectors.Cases {
		if c.Content == nil {
			continue
		}
		err := unpack(t, t.TempDir(), Options{}, c.Content)
		if ok := err == nil && Detect(bytes.NewReader(c.Content)) == c.Type; ok != (c.Expect.Error == "") {
			t.Errorf("%s: %v, want error %q", c.Case, err, c.Expect.Error)
		}
	}
}

func readVectors(t *testing.T, name string, v any) {
	t.Helper()
	data, err := os.ReadFile("../../../testdata/hashdist/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func owner(t *testing.T, path string) (uid, gid uint32) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid, st.Gid
}

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o644); err != nil {
		t.Fatal(err)
	}
}
