package plan

import (
	"testing"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/build/spec"
)

// TestLocked: the matcher of a lock file counts more than what dependants state, also where these disagree, and than the spec's.
func TestLocked(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": minimal("a", "c.yaml"), "b.yaml": minimal("b", "c.yaml"), "c.yaml": minimal("c")})
	g, err := load(t, dir, "a.yaml", "b.yaml")
	if err != nil {
		t.Fatal(err)
	}
	specs := map[string]*spec.Spec{}
	for _, n := range g.Nodes {
		specs[n.Spec.Name] = n.Spec
	}
	specs["a"].Dependencies[0].Match, specs["b"].Dependencies[0].Match, specs["c"].Match = named("one"), named("other"), named("own")
	if _, err := newResolver().Resolve(t.Context(), g); err == nil {
		t.Fatal("the dependants do not disagree")
	}
	var c artifact.DerivationID
	for _, step := range resolve(t, newResolver(), dir, "c.yaml").Steps {
		c = step.ID
	}
	r := newResolver()
	r.Locked = map[artifact.DerivationID]match.Matcher{c: named("locked")}
	p, err := r.Resolve(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range p.Steps {
		want := "only"
		if step.ID == c {
			want = "locked"
		}
		if step.Matcher.String() != want {
			t.Errorf("%s: %s, want %s", step.Name(), step.Matcher, want)
		}
	}
}
