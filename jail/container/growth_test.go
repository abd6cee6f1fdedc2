package container

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hdjail/jail"
)

// TestGrowth stops builds while they go on, and lets those within their limits end.
func TestGrowth(t *testing.T) {
	const wait = "; read forever </dev/pts/ptmx"
	rows := map[string]struct {
		limits  jail.Limits
		script  string
		stopped string
	}{
		"many small files":    {jail.Limits{Files: 300}, "mkdir d; i=0; while [ $i -lt 400 ]; do : >d/$i; i=$((i+1)); done" + wait, "files"},
		"bytes in many files": {jail.Limits{Output: 8 << 20}, "for i in 1 2 3 4 5; do head -c 2m /dev/zero | tr '\\0' x >/tmp/$i; done" + wait, "output"},
		"deep directories":    {jail.Limits{Files: 60}, "i=0; while [ $i -lt 150 ]; do mkdir d; cd d; i=$((i+1)); done" + wait, "files"},
		"within":              {jail.Limits{Files: 300, Output: 8 << 20}, "head -c 2m /dev/zero | tr '\\0' x >f; for i in 1 2 3 4 5 6 7 8; do ln f $i; done; exit 7", ""},
		"sparse":              {jail.Limits{Output: 8 << 20}, "truncate -s 7m a; truncate -s 7m b; exit 7", ""},
	}
	for name, row := range rows {
		r := newRunner(t)
		r.growthPause = time.Millisecond
		c := hostConfig(t, r, row.script)
		c.Limits = row.limits
		var out strings.Builder
		c.Stdout, c.Stderr = &out, &out
		result, err := r.Run(context.Background(), c)
		if err != nil || result.Stopped != row.stopped || row.stopped == "" && result.Exit != 7 {
			t.Errorf("%s: %+v, %v: %s", name, result, err, out.String())
		}
	}
}

// TestMeasureGrowth: links are not followed, and names of one file are not counted twice.
func TestMeasureGrowth(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	write := func(name string, size int) {
		if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(elsewhere, "big"), 4<<20)
	write(filepath.Join(dir, "file"), 1<<20)
	for name, err := range map[string]error{"name": os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "name")),
		"link": os.Symlink(elsewhere, filepath.Join(dir, "link")), "loop": os.Symlink(".", filepath.Join(dir, "loop"))} {
		if err != nil {
			t.Fatal(name, err)
		}
	}
	g := measureGrowth(context.Background(), dir, jail.Limits{})
	if g.entries != 4 || g.bytes < 1<<20 || g.bytes > 1<<20+64<<10 {
		t.Errorf("%+v, want 4 entries and about 1 MiB", g)
	}
}
