package build

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hdjail/artifact/store"
	"hdjail/build/plan"
	"hdjail/jail/jailtest"
)

// BenchmarkNothingToDo plans 10,000 specs, 10 deep and 1000 wide, each with three dependencies, that are all realized:
// load, resolve, match. The first realization is not measured.
func BenchmarkNothingToDo(b *testing.B) {
	const deep, wide = 10, 1000
	dir := b.TempDir()
	for i := range deep {
		for j := range wide {
			var deps []string
			for k := range 3 * min(i, 1) {
				deps = append(deps, fmt.Sprintf("%d-%d", i-1, (j*7+k)%wide))
			}
			file := filepath.Join(dir, fmt.Sprintf("%d-%d.yaml", i, j))
			if err := os.WriteFile(file, []byte(minimal(fmt.Sprintf("n%d-%d", i, j), deps...)), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	var targets []string
	for j := range wide {
		targets = append(targets, fmt.Sprintf("%d-%d.yaml", deep-1, j))
	}
	s, err := store.Open(filepath.Join(dir, "store"), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		s.Close()
		unlock(dir)
	})
	runner := &jailtest.Runner{Default: jailtest.Script{Files: map[string]string{"f": "x"}}}
	realize := func() (built int) {
		g, err := plan.LoadGraph(b.Context(), plan.Targets{Dir: dir, Files: targets}, s)
		if err != nil {
			b.Fatal(err)
		}
		p, err := (&plan.Resolver{System: "x", Prefix: s.Prefix(), Host: machine{}}).Resolve(b.Context(), g)
		if err != nil {
			b.Fatal(err)
		}
		builder := &Builder{Store: s, Sources: machine{}, Host: machine{}, Runner: runner, Now: time.Now}
		results, err := builder.Realize(b.Context(), p, Options{Jobs: 64}) // which share the waits for the disk
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range results {
			if !r.Cached {
				built++
			}
		}
		return built
	}
	if n := realize(); n != deep*wide {
		b.Fatalf("built %d at first", n)
	}
	for b.Loop() {
		if n := realize(); n != 0 {
			b.Fatalf("built %d again", n)
		}
	}
}
