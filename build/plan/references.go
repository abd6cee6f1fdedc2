package plan

import (
	"bytes"
	"slices"

	"hdjail/artifact"
	"hdjail/build/lens"
	"hdjail/build/spec"
)

// Follow goes from a step to the one that the expression asks; see lens.Follow.
func (s *Step) Follow(e lens.Expr) (to *Step, via artifact.Dependency, err error) {
	found, via, err := lens.Follow(planned{s}, e)
	if err != nil {
		return nil, via, err
	}
	return found.(planned).step, via, nil
}

// planned is a step as references see it.
type planned struct{ step *Step }

func (p planned) Derivation() *artifact.Derivation { return &p.step.Derivation }

func (p planned) Dependency(i int) (lens.Build, error) { return planned{p.step.Dependencies[i]}, nil }

// expand replaces the references of the step's spec. A build that one of them leads to is a dependency from then on: it
// comes behind those that the spec lists, without a name and in the order of the IDs.
func (r *resolution) expand(s *spec.Spec, step *Step) (*spec.Spec, error) {
	var reached []*Step
	expanded, err := s.Expand(func(e lens.Expr) (string, bool, error) {
		if len(e.Hops) == 0 {
			return "", false, nil // it contains the ID, so it is hashed as it is written
		}
		to, via, err := step.Follow(e)
		if err != nil {
			return "", false, err
		}
		direct := slices.IndexFunc(step.Derivation.Dependencies, func(d artifact.Dependency) bool { return d.ID == to.ID })
		if direct < 0 {
			reached = append(reached, to)
		} else {
			via = step.Derivation.Dependencies[direct]
		}
		switch {
		case e.Kind.Content():
			return "", false, nil
		case direct >= 0 && via.Many && e.Kind != lens.Field:
			return "", false, e.Fail("use $"+via.As+"_DIR", "with many, %s is not at its public path", to.Derivation.Name)
		}
		text, err := lens.Value(&to.Derivation, e)
		return text, true, err
	})
	slices.SortFunc(reached, func(a, b *Step) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for _, dep := range slices.CompactFunc(reached, func(a, b *Step) bool { return a.ID == b.ID }) {
		step.Dependencies = append(step.Dependencies, dep)
		step.Derivation.Dependencies = append(step.Derivation.Dependencies, artifact.Dependency{ID: dep.ID})
	}
	return expanded, err
}
