package container

import (
	"os"
	"path/filepath"
	"testing"
)

// TestRemoveGroups takes a tree for the cgroups: those of one jail go, wherever they are, and no others.
func TestRemoveGroups(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"cpu/a/" + groupName("/x/dead"), "memory/" + groupName("dead"), "memory/" + groupName("live"), "dead"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeGroups(root, groupName("dead")); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(root + "/*/*")
	if len(left) != 2 || left[0] != root+"/cpu/a" || left[1] != root+"/memory/"+groupName("live") {
		t.Errorf("left %q", left)
	}
	if err := removeGroups(root, groupName("none")); err != nil {
		t.Error(err)
	}
}
