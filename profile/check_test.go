package profile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name, path string
		damage     func(dir string) error
	}{
		{"whole", "", func(string) error { return nil }},
		{"current is missing", "dev/current", func(dir string) error { return os.Remove(dir + "/current") }},
		{"current is a file", "dev/current", func(dir string) error {
			return errors.Join(os.Remove(dir+"/current"), os.WriteFile(dir+"/current", nil, 0o644))
		}},
		{"current leads out", "dev/current", func(dir string) error {
			return errors.Join(os.Remove(dir+"/current"), os.Symlink("/etc", dir+"/current"))
		}},
		{"current leads nowhere", "dev/current", func(dir string) error {
			return errors.Join(os.Remove(dir+"/current"), os.Symlink("generations/9/tree", dir+"/current"))
		}},
		{"a link leads elsewhere", "dev/generations/1/tree", func(dir string) error {
			link := dir + "/generations/1/tree/bin/a"
			return errors.Join(os.Remove(link), os.Symlink("/etc/passwd", link))
		}},
		{"a link is missing", "dev/generations/2/tree", func(dir string) error { return os.Remove(dir + "/generations/2/tree/bin/b") }},
		{"a link is new", "dev/generations/2/tree", func(dir string) error {
			return os.Symlink("/etc/passwd", dir+"/generations/2/tree/bin/c")
		}},
		{"no tree", "dev/generations/1/tree", func(dir string) error { return os.RemoveAll(dir + "/generations/1/tree") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.link("dev", Edit{Add: []Artifact{f.artifact("a", "1", "bin/a")}})
			f.link("dev", Edit{Add: []Artifact{f.artifact("b", "1", "bin/b")}})
			if err := test.damage(filepath.Join(f.Dir, "dev")); err != nil {
				t.Fatal(err)
			}
			found, err := f.Check(context.Background())
			if err != nil || (test.path == "") != (len(found) == 0) {
				t.Fatalf("%+v, %v", found, err)
			}
			if test.path != "" && (len(found) != 1 || found[0].Path != test.path || found[0].Profile != "dev" || found[0].Reason == "") {
				t.Errorf("%+v", found)
			}
		})
	}
}
