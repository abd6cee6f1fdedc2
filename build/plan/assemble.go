package plan

import (
	"fmt"
	"slices"

	"hdjail/artifact"
	"hdjail/policies"
)

// Assemble makes a plan of steps that were resolved elsewhere, from their IDs, derivations, modes, limits, matchers and URLs,
// which the caller vouches for. Policies follow from the derivations; in mode hide a step is what its derivation says. A
// dependency that is no step, a derivation that is twice one, and a target that is none are errors.
func Assemble(steps []*Step, targets []artifact.DerivationID) (*Plan, error) {
	p, byID := &Plan{Steps: slices.Clone(steps)}, map[artifact.DerivationID]*Step{}
	for _, s := range steps {
		if byID[s.ID] != nil {
			return nil, fmt.Errorf("assemble plan: %s is there twice", s.ID)
		}
		byID[s.ID] = s
	}
	policy := map[string]policies.Policy{}
	for _, s := range steps {
		if _, known := policy[s.Derivation.Policy]; !known {
			found, mode := findPolicy(s.Derivation.Policy, nil)
			if !mode.Contains() {
				return nil, fmt.Errorf("assemble plan: %s has no policy that contains it", s.Name())
			}
			policy[s.Derivation.Policy] = found
		}
		s.Policy, s.Dependencies = policy[s.Derivation.Policy], nil
		for _, dep := range s.Derivation.Dependencies {
			if byID[dep.ID] == nil {
				return nil, fmt.Errorf("assemble plan: %s depends on %s, which is no step", s.Name(), dep.ID)
			}
			s.Dependencies = append(s.Dependencies, byID[dep.ID])
		}
	}
	if err := deepen(steps); err != nil {
		return nil, err
	}
	p.sort()
	for _, id := range targets {
		if byID[id] == nil {
			return nil, fmt.Errorf("assemble plan: the target %s is no step", id)
		}
		p.Targets = append(p.Targets, byID[id])
	}
	return p, nil
}

// deepen sets the depths of steps, which may come in any order. An ID is a hash over those of the dependencies, so there is
// no cycle but among steps whose IDs were not compared with their derivations.
func deepen(steps []*Step) error {
	for changed, rounds := true, 0; changed; rounds++ {
		if changed = false; rounds > len(steps) {
			return fmt.Errorf("assemble plan: %d steps depend on one another", len(steps))
		}
		for _, s := range steps {
			for _, dep := range s.Dependencies {
				if s.depth <= dep.depth {
					s.depth, changed = dep.depth+1, true
				}
			}
		}
	}
	return nil
}
