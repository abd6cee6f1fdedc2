package links

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Hashdist's rules meet what is on disk: links that are right already stay, others are in the way.
func TestExistingTargets(t *testing.T) {
	for name, c := range map[string]struct {
		tree      []entry
		overwrite bool
		want      string
	}{
		"nothing":               {nil, false, "made"},
		"the same link":         {[]entry{{Path: "P/bin/x", Type: "symlink", Target: "@/A/bin/x"}}, false, "kept"},
		"the same, relative":    {[]entry{{Path: "P/bin/x", Type: "symlink", Target: "../../A/bin/x"}}, true, "kept"},
		"parent to the same":    {[]entry{{Path: "P/bin", Type: "symlink", Target: "../A/bin"}}, false, "kept"},
		"parent elsewhere":      {[]entry{{Path: "P/bin", Type: "symlink", Target: "../B/bin"}}, true, "conflict"},
		"parent of the parent":  {[]entry{{Path: "P", Type: "symlink", Target: "B"}}, false, "conflict"},
		"parent is a file":      {[]entry{{Path: "P/bin", Type: "file"}}, true, "conflict"},
		"another link":          {[]entry{{Path: "P/bin/x", Type: "symlink", Target: "../../B/x"}}, false, "conflict"},
		"a dangling link":       {[]entry{{Path: "P/bin/x", Type: "symlink", Target: "nowhere"}}, false, "conflict"},
		"another, overwritten":  {[]entry{{Path: "P/bin/x", Type: "symlink", Target: "nowhere"}}, true, "made"},
		"a directory":           {[]entry{{Path: "P/bin/x", Type: "dir"}}, true, "conflict"},
		"a file in a directory": {[]entry{{Path: "P/bin/y", Type: "file"}}, false, "made"},
	} {
		t.Run(name, func(t *testing.T) {
			root := tempDir(t)
			for i := range c.tree {
				c.tree[i].Target = strings.Replace(c.tree[i].Target, "@", root, 1)
			}
			makeTree(t, root, append(c.tree, entry{Path: "A/bin/x", Type: "file"}, entry{Path: "B/bin/q", Type: "file"}))
			before := readTree(t, root)
			plan, err := Plan(Input{Dir: root, Existing: host{root}, Sets: []Set{{Tree: host{root}, Dir: root,
				Rules: []Rule{{Action: "symlink", Source: "A/bin/x", Target: new("P/bin/x"), Overwrite: c.overwrite}}}}})
			if conflict := (*ConflictError)(nil); c.want == "conflict" {
				if !errors.As(err, &conflict) || conflict.Conflicts[0].First.Rule != -1 || conflict.Conflicts[0].Target != "P/bin/x" {
					t.Errorf("got %v", err)
				}
				return
			}
			if err == nil {
				err = applyTo(root, root, plan)
			}
			if err != nil {
				t.Fatal(err)
			}
			after := readTree(t, root)
			if same := cmp.Equal(before, after); same != (c.want == "kept") {
				t.Errorf("want %s, got %v", c.want, after)
			}
			if data, err := os.Readlink(filepath.Join(root, "P/bin/x")); c.want == "made" && (err != nil || data != root+"/A/bin/x") {
				t.Errorf("the link says %q, %v", data, err)
			}
		})
	}
}
