package plan

import (
	"context"
	"maps"
	"slices"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/build/spec"
	"hdjail/policies"
)

// Plan is a resolved graph: what the targets reach, dependencies before dependants, ties by ID, each derivation once.
// Nothing of it is read from spec files again.
type Plan struct {
	Steps []*Step
	// Targets are in the order in which they were asked for.
	Targets []*Step
	// Asked has a target for each that was asked for: one comes twice if two specs are the same derivation.
	Asked []*Step
	// Warnings are for the caller.
	Warnings []string
}

// Step is one derivation of a plan, with what it takes to realize it that is no part of its identity.
type Step struct {
	ID         artifact.DerivationID
	Derivation artifact.Derivation
	// Dependencies are parallel to Derivation.Dependencies.
	Dependencies []*Step
	// Spec is where it comes from; nil for a derivation that was named by ID.
	Spec   *spec.Spec
	Mode   policies.Mode
	Policy policies.Policy
	Limits spec.Limits
	// Matcher picks among its realizations. Chooser is its script, nil for any other matcher.
	Matcher match.Matcher
	Chooser *Step
	// URLs are hints for each source, by digest.
	URLs map[string][]string

	// Index is its place in Plan.Steps.
	Index int
	// depth is the length of the longest chain of dependencies below it.
	depth int
}

// Name is that of the derivation with its version, for people.
func (s *Step) Name() string { return s.Derivation.Label() }

// Each calls visit for every step, after its dependencies, and for several steps at once. It returns the error of the first
// step in the plan's order that has one; later levels are not visited then.
func (p *Plan) Each(ctx context.Context, visit func(*Step) error) error {
	for first := 0; first < len(p.Steps); {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		level := p.Steps[first:]
		if n := slices.IndexFunc(level, func(s *Step) bool { return s.depth > level[0].depth }); n > 0 {
			level = level[:n]
		}
		if err := parallel(len(level), func(i int) error { return visit(level[i]) }); err != nil {
			return err
		}
		first += len(level)
	}
	return nil
}

// plan merges equal derivations, settles the matchers, and sorts.
func (r *resolution) plan(g *Graph) (*Plan, error) {
	p, byID := &Plan{}, map[artifact.DerivationID]*Step{}
	for i := range g.Nodes {
		step := r.steps[i]
		if same, known := byID[step.ID]; known {
			maps.Copy(same.URLs, step.URLs)
			r.steps[i] = same
			continue
		}
		for j := range step.Dependencies {
			step.Dependencies[j] = byID[step.Dependencies[j].ID]
			step.depth = max(step.depth, step.Dependencies[j].depth+1)
		}
		byID[step.ID] = step
		p.Steps = append(p.Steps, step)
	}
	p.sort()
	for _, n := range g.Targets {
		step := r.steps[n.index]
		p.Asked = append(p.Asked, step)
		if !slices.Contains(p.Targets, step) {
			p.Targets = append(p.Targets, step)
		}
	}
	return p, r.settleMatches(g, p)
}

// sort puts the steps in their order, and numbers them.
func (p *Plan) sort() {
	slices.SortFunc(p.Steps, func(a, b *Step) int {
		if a.depth != b.depth {
			return a.depth - b.depth
		}
		return slices.Compare(a.ID[:], b.ID[:])
	})
	for i, step := range p.Steps {
		step.Index = i
	}
}
