package build

import (
	"testing"

	"pgregory.net/rapid"

	"hdjail/artifact"
)

// TestPropertyPromises is H10: whatever its runs leave, a derivation's realizations have all that it promises.
func TestPropertyPromises(t *testing.T) {
	kept := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range 2 {
			p := w.plan(w.targets(t)...)
			w.builder.Realize(t.Context(), p, Options{KeepGoing: true, Rebuild: map[artifact.DerivationID]bool{rapid.SampledFrom(p.Steps).Draw(t, "which").ID: true}}) // failures are expected
			kept += w.checkPromises()
		}
	})
	if kept == 0 {
		t.Error("nothing was promised and stored")
	}
}

// TestPropertyFailures is H17: nothing is built with a dependency that has failed, and what was skipped tells its error.
func TestPropertyFailures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		fails := rapid.IntRange(0, len(w.nodes)-1).Draw(t, "failing")
		w.nodes[fails].fails = true
		failing := w.nodes[fails].name
		w.runner.Scripts[failing] = w.nodes[fails].script()
		var names []string
		for _, n := range w.nodes {
			names = append(names, n.name)
		}
		o := Options{KeepGoing: rapid.Bool().Draw(t, "keep going")}
		results, err := w.builder.Realize(t.Context(), w.plan(names...), o)
		if err == nil {
			t.Fatalf("%s fails, and there is no error", failing)
		}
		for _, r := range results {
			if w.reached(r.Step.Name())[failing] && (r.Err == nil || len(r.Realizations) > 0) {
				t.Errorf("%s was realized, and needs %s, which fails", r.Step.Name(), failing)
			}
		}
		w.checkStore()
		w.checkFailures(results, err, o)
	})
}
