package plan

import (
	"context"
	"fmt"
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
	// Matcher picks among its realizations; matcherFrom says who wants it.
	Matcher     match.Matcher
	matcherFrom string
	// URLs are hints for each source, by digest.
	URLs map[string][]string

	// Index is its place in Plan.Steps.
	Index int
	// depth is the length of the longest chain of dependencies below it.
	depth int
}

// Name is that of the derivation with its version, for people.
func (s *Step) Name() string {
	if s.Derivation.Version == "" {
		return s.Derivation.Name
	}
	return s.Derivation.Name + "-" + s.Derivation.Version
}

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
	for i, n := range g.Nodes {
		step := r.steps[i]
		if same, known := byID[step.ID]; known {
			maps.Copy(same.URLs, step.URLs)
			r.steps[i] = same
			continue
		}
		for j := range step.Dependencies {
			step.Dependencies[j] = r.steps[n.Dependencies[j].index]
			step.depth = max(step.depth, step.Dependencies[j].depth+1)
		}
		byID[step.ID] = step
		p.Steps = append(p.Steps, step)
	}
	p.sort()
	for _, n := range g.Targets {
		if step := r.steps[n.index]; !slices.Contains(p.Targets, step) {
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

// settleMatches applies the order of precedence: the caller, the dependants, the spec itself.
func (r *resolution) settleMatches(g *Graph, p *Plan) error {
	stated := map[*Step]bool{}
	for _, n := range g.Nodes {
		if n.Spec == nil {
			continue
		}
		for i, dep := range n.Spec.Dependencies {
			step := r.steps[n.Dependencies[i].index]
			switch {
			case dep.Match == nil:
				continue
			case stated[step] && step.Matcher.String() != dep.Match.String():
				return n.Spec.ErrorAt("dependencies", i, fmt.Errorf("matcher %q for %s, but %s wants %q", dep.Match, step.Name(),
					step.matcherFrom, step.Matcher), "use --match to decide")
			}
			stated[step], step.Matcher, step.matcherFrom = true, dep.Match, n.Spec.File
		}
	}
	for _, step := range p.Steps {
		for _, key := range []string{step.Derivation.Name, step.ID.String()} {
			if m, ok := r.Matches[key]; ok {
				step.Matcher, step.matcherFrom = m, "the caller"
			}
		}
	}
	return nil
}
