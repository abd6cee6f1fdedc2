package build

import (
	"context"
	"fmt"

	"hdjail/build/graph"
	"hdjail/build/plan"
)

// States tells how far each step of a plan is, parallel to p.Steps: whether something builds it just now, whether the plan
// would take a realization that there is, or why not. What a matcher refuses counts as failed, or as several realizations if
// there are.
func (b *Builder) States(ctx context.Context, p *plan.Plan) ([]graph.State, error) {
	s := newSchedule(b, p, Options{DryRun: true})
	err := p.Each(ctx, func(step *plan.Step) error {
		err := s.look(ctx, step)
		if r := &s.results[step.Index]; r.Err != nil {
			r.Realizations = nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	running, err := b.Store.Running()
	if err != nil {
		return nil, fmt.Errorf("look for running builds: %w", err)
	}
	states := make([]graph.State, len(p.Steps))
	for i, step := range p.Steps {
		if _, now := running[step.ID]; now {
			states[i] = graph.Running
		} else if states[i], err = s.state(step); err != nil {
			return nil, fmt.Errorf("look at %s: %w", step.Name(), err)
		}
	}
	return states, nil
}

// state is that of a step that nobody builds now.
func (s *schedule) state(step *plan.Step) (graph.State, error) {
	r := &s.results[step.Index]
	all, err := s.b.Store.Realizations(step.ID)
	switch {
	case err != nil:
		return "", err
	case len(all) > 1 && (r.Err != nil || len(r.Realizations) > 0):
		return graph.Several, nil
	case r.Err != nil:
		return graph.Failed, nil
	case len(r.Realizations) > 0:
		return graph.Realized, nil
	}
	records, err := s.b.Store.Records(step.ID)
	if err != nil {
		return "", err
	}
	if n := len(records); n > 0 && records[n-1].Failure != "" {
		return graph.Failed, nil
	}
	return graph.ToBuild, nil
}
