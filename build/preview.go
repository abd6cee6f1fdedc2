package build

import (
	"context"
	"fmt"
	"path/filepath"

	"hdjail/artifact"
	"hdjail/build/jailplan"
	"hdjail/build/plan"
	"hdjail/jail"
)

// Unbuilt stands in a preview for the realization of what is not built yet.
const Unbuilt = "(to be built)"

// Previews returns what plans the jail of a step as its build would have it, and makes nothing but the tree of host packages.
// results are those of a dry run of the plan.
func (b *Builder) Previews(p *plan.Plan, results []Result) func(ctx context.Context, step *plan.Step) (jail.Config, error) {
	s := newSchedule(b, p, Options{Jobs: 1, CPUs: max(b.CPUs, 1)})
	s.shown = make([]jailplan.Dependency, len(results))
	for i := range results {
		s.show(&results[i])
		if len(results[i].Realizations) == 0 {
			s.shown[i].IDs = make([]artifact.RealizationID, 1)
			s.shown[i].Outs = []string{filepath.Join(b.Store.Root(), "realizations", Unbuilt, "out")}
		}
	}
	return s.preview
}

// preview is for a step that is built alone.
func (s *schedule) preview(ctx context.Context, step *plan.Step) (jail.Config, error) {
	b := s.b
	t, err := s.task(step, 0)
	if err != nil {
		return jail.Config{}, err
	}
	t.Closure = s.closure(step)
	view, err := b.view(ctx, t, &jail.Scratch{Dir: filepath.Join(b.Store.TmpDir(), "(scratch)")})
	if err != nil {
		return jail.Config{}, fmt.Errorf("preview %s: %w", step.Name(), err)
	}
	d, err := t.filled()
	if err != nil {
		return jail.Config{}, fmt.Errorf("preview %s: %w", step.Name(), err)
	}
	return jailplan.Build{View: view, Derivation: d, Artifact: b.Store.PublicPath(&step.Derivation),
		Limits: step.Limits.Over(b.Limits), Jobs: t.Jobs}.Config()
}
