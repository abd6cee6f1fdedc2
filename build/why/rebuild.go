package why

import (
	"slices"

	"hdjail/artifact"
	"hdjail/build/plan"
)

// Dependency is one whose results differ from those that something was built with. Now are those that a plan takes, none if it
// has to be built itself.
type Dependency struct {
	Derivation artifact.DerivationID    `json:"derivation"`
	Name       string                   `json:"name"`
	Before     []artifact.RealizationID `json:"before"`
	Now        []artifact.RealizationID `json:"now"`
	// Via names what leads to it.
	Via []string `json:"via"`
}

// Context tells why a step of a plan is built again, though its derivation has results: which of its dependencies, at any depth,
// have others than those that the newest result was built with. Deeper ones come first. chosen are the plan's realizations, and
// existing lists those that there are of a derivation.
func Context(step *plan.Step, chosen map[artifact.DerivationID][]artifact.RealizationID,
	existing func(artifact.DerivationID) ([]artifact.Realization, error)) ([]Dependency, error) {
	c := context{chosen, existing, map[*plan.Step]bool{}, []Dependency{}}
	err := c.step(step, []string{step.Name()})
	return c.found, err
}

type context struct {
	chosen   map[artifact.DerivationID][]artifact.RealizationID
	existing func(artifact.DerivationID) ([]artifact.Realization, error)
	seen     map[*plan.Step]bool
	found    []Dependency
}

func (c *context) step(step *plan.Step, via []string) error {
	if c.seen[step] {
		return nil
	}
	c.seen[step] = true
	all, err := c.existing(step.ID)
	if err != nil || len(all) == 0 {
		return err
	}
	newest := slices.MaxFunc(all, func(a, b artifact.Realization) int { return last(a) - last(b) })
	for i, dep := range step.Dependencies {
		before, now := newest.Context[dep.ID], c.chosen[dep.ID]
		if slices.Equal(before, now) || slices.Contains(step.Dependencies[:i], dep) {
			continue
		}
		way := append(slices.Clone(via), dep.Name())
		if len(now) == 0 {
			if err := c.step(dep, way); err != nil {
				return err
			}
		}
		c.found = append(c.found, Dependency{dep.ID, dep.Name(), before, now, way})
	}
	return nil
}

// last is the number of the newest record of a realization.
func last(r artifact.Realization) (n int) {
	for _, record := range r.Records {
		n = max(n, record.Number)
	}
	return n
}
