package build

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hdjail/jail"
	"hdjail/mounts"
)

// TestPrepareScratchMakesOnlyWhatLiesInIt: a mount point is made in what is mounted right above it. One made in the scratch
// for each dependency, where the store is below /tmp, was as much work as the rest of a small build.
func TestPrepareScratchMakesOnlyWhatLiesInIt(t *testing.T) {
	scratch := &jail.Scratch{Dir: t.TempDir(), UID: os.Getuid(), GID: os.Getgid()}
	if err := os.Mkdir(scratch.Tmp(), 0o755); err != nil {
		t.Fatal(err)
	}
	table, err := mounts.Plan([]mounts.Entry{
		{Target: "/tmp", Kind: mounts.Bind, Source: scratch.Tmp(), Directory: true, Writable: true},
		{Target: "/tmp/a/store", Kind: mounts.Skeleton},
		{Target: "/tmp/a/store/dependency", Kind: mounts.Bind, Source: "/x", Directory: true},
		{Target: "/tmp/a/file", Kind: mounts.Bind, Source: "/y"},
		{Target: "/tmp/a/link", Kind: mounts.Symlink, Source: "file"},
		{Target: "/usr", Kind: mounts.Bind, Source: "/usr", Directory: true},
		{Target: "/usr/local", Kind: mounts.Bind, Source: "/z", Directory: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := PrepareScratch(jail.Config{Scratch: scratch, Mounts: table}); err != nil {
		t.Fatal(err)
	}
	var made []string
	err = filepath.WalkDir(scratch.Dir, func(name string, _ fs.DirEntry, err error) error {
		made = append(made, name[len(scratch.Dir):])
		return err
	})
	if want := []string{"", "/tmp", "/tmp/a", "/tmp/a/file", "/tmp/a/store"}; err != nil || !slices.Equal(made, want) {
		t.Errorf("made %q, want %q; %v", made, want, err)
	}
}
