package plan

import (
	"slices"
	"strings"
	"testing"

	"hdjail/artifact"
	"hdjail/policies"
)

// Steps that were resolved elsewhere, in any order, make the plan that a resolver would have made of them.
func TestAssemble(t *testing.T) {
	policy, err := policies.Shipped("default")
	if err != nil {
		t.Fatal(err)
	}
	step := func(name string, mode policies.Mode, deps ...*Step) *Step {
		s := &Step{Derivation: artifact.Derivation{Name: name, Policy: policy.Digest(mode, nil)}}
		for _, dep := range deps {
			s.Derivation.Dependencies = append(s.Derivation.Dependencies, artifact.Dependency{ID: dep.ID})
		}
		s.ID = s.Derivation.ID()
		return s
	}
	a := step("a", policies.ModeHide)
	b := step("b", policies.ModeHide, a)
	c := step("c", policies.ModeHide, a, b)
	p, err := Assemble([]*Step{c, a, b}, []artifact.DerivationID{c.ID, a.ID})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.Steps, []*Step{a, b, c}) || !slices.Equal(p.Targets, []*Step{c, a}) || !slices.Equal(c.Dependencies, []*Step{a, b}) ||
		c.Index != 2 || c.Policy.Name != "default" {
		t.Errorf("plan %+v", p)
	}
	for what, test := range map[string]struct {
		steps  []*Step
		target *Step
	}{
		"no step":        {[]*Step{b}, b},
		"there twice":    {[]*Step{a, a}, a},
		"target":         {[]*Step{a}, b},
		"no policy that": {[]*Step{step("log", policies.ModeLog)}, a},
	} {
		if _, err := Assemble(test.steps, []artifact.DerivationID{test.target.ID}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	loop := &Step{ID: artifact.DerivationID{1}, Derivation: artifact.Derivation{Policy: policy.Digest(policies.ModeHide, nil),
		Dependencies: []artifact.Dependency{{ID: artifact.DerivationID{1}}}}}
	if _, err := Assemble([]*Step{loop}, nil); err == nil || !strings.Contains(err.Error(), "depend on one another") {
		t.Errorf("a step that depends on itself: %v", err)
	}
}
