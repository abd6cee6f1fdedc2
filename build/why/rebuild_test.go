package why

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"hdjail/artifact"
	"hdjail/build/plan"
)

// TestContext: base has another result than the one that lib was built with, so lib and app are to be built.
func TestContext(t *testing.T) {
	step := func(n byte, name string, deps ...*plan.Step) *plan.Step {
		return &plan.Step{ID: id(n), Derivation: artifact.Derivation{Name: name}, Dependencies: deps}
	}
	base, fresh := step(1, "base"), step(4, "fresh")
	lib := step(2, "lib", base)
	app := step(3, "app", base, lib, lib, fresh)
	rid := func(n byte) artifact.RealizationID { return artifact.RealizationID{n} }
	one := func(n byte) []artifact.RealizationID { return []artifact.RealizationID{rid(n)} }
	results := map[artifact.DerivationID][]artifact.Realization{
		lib.ID: {{ID: rid(20), Context: artifact.Context{base.ID: one(10)}, Records: []artifact.BuildRecord{{Number: 2}}},
			{ID: rid(21), Context: artifact.Context{base.ID: one(9)}, Records: []artifact.BuildRecord{{Number: 1}}}},
		app.ID: {{ID: rid(30), Context: artifact.Context{base.ID: one(11), lib.ID: one(20), fresh.ID: one(40)}}},
	}
	existing := func(id artifact.DerivationID) ([]artifact.Realization, error) { return results[id], nil }
	got, err := Context(app, map[artifact.DerivationID][]artifact.RealizationID{base.ID: one(11)}, existing)
	want := []Dependency{
		{base.ID, "base", one(10), one(11), []string{"app", "lib", "base"}},
		{lib.ID, "lib", one(20), nil, []string{"app", "lib"}},
		{fresh.ID, "fresh", one(40), nil, []string{"app", "fresh"}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if got, err = Context(base, nil, existing); err != nil || len(got) != 0 {
		t.Errorf("never built: %v, %v", got, err)
	}
}
