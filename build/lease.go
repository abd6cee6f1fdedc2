package build

import (
	"context"
	"maps"
	"slices"

	"hdjail/artifact/lease"
	"hdjail/artifact/store"
	"hdjail/build/plan"
)

// Use is what it takes of a store to realize the plan and to go on with the results.
func Use(purpose string, p *plan.Plan) store.Use {
	u, sources := store.Use{Purpose: purpose}, map[string]bool{}
	for _, step := range p.Steps {
		u.Derivations = append(u.Derivations, step.ID)
		for _, s := range step.Derivation.Sources {
			sources[s.Digest] = true
		}
	}
	u.Sources = slices.Sorted(maps.Keys(sources))
	return u
}

// lease keeps everything of the plan in the store. What was seen there before may have gone, and has to be looked for again.
func (b *Builder) lease(ctx context.Context, purpose string, p *plan.Plan) (*store.Lease, error) {
	return b.Store.Lease(ctx, Use(purpose, p), lease.Options{Timeout: b.LockWait, Waiting: func(i lease.Info) {
		for _, step := range p.Targets {
			b.send(step, Event{Event: "build.phase", Phase: "lock", Text: "waiting for " + i.Holder.String()})
		}
	}})
}
