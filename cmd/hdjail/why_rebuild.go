package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/artifact/compare"
	"hdjail/build/plan"
	"hdjail/build/why"
)

// rebuild is what `hdjail why-rebuild` finds.
type rebuild struct {
	Rebuild bool   `json:"rebuild"`
	Name    string `json:"name"`
	// Derivation is what it resolves to now, Before what it is compared with, zero for nothing.
	Derivation artifact.DerivationID `json:"derivation"`
	Before     artifact.DerivationID `json:"before,omitzero"`
	// Builds names what would be built.
	Builds []string `json:"builds"`
	// Derivations tells what of the derivation has changed; Context what dependencies have other results, if nothing of it has.
	Derivations *compare.Derivations `json:"derivations,omitempty"`
	Context     []why.Dependency     `json:"context,omitempty"`

	realizations []artifact.Realization
}

func whyRebuildCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "why-rebuild", Usage: "tell why something would be built again, or would not", ArgsUsage: "SPEC|ID [B]",
		UsageText: "hdjail why-rebuild app.yaml\nhdjail why-rebuild app.yaml mf2x\nhdjail why-rebuild --json app.yaml",
		Description: "Compares what the spec resolves to now with B, or with the derivation of the same name that was built last: first the causes, each\n" +
			"with the field that has changed, then what merely follows from these. Where no derivation has changed, it shows which\n" +
			"dependencies have other results. Builds nothing.",
		Flags: append(planFlags(), jsonFlag()),
		Action: func(c *cli.Context) error {
			if c.NArg() < 1 || c.NArg() > 2 {
				return usagef("hdjail why-rebuild wants a spec, and perhaps what to compare it with", "hdjail why-rebuild app.yaml")
			}
			r, err := a.request(c, c.Args().Slice()[:1])
			if err != nil {
				return err
			}
			s, err := a.subjects(c.Args().Slice()...)
			if err != nil {
				return err
			}
			p, err := a.plan(c.Context, r)
			if err != nil {
				return err
			}
			found, err := s.rebuild(c.Context, p, c.Args().Get(1))
			if err != nil {
				return err
			}
			return a.out.show(c.Bool("json"), found, func() { a.printRebuild(found) })
		},
	}
}

// rebuild explains the first target of a plan.
func (s *subjects) rebuild(ctx context.Context, p *plan.Plan, with string) (r rebuild, err error) {
	results, err := s.a.look(ctx, p)
	if err != nil {
		return r, err
	}
	target := p.Targets[0]
	r = rebuild{Name: target.Name(), Derivation: target.ID, Builds: []string{}, realizations: results[target.Index].Realizations}
	r.Rebuild = len(r.realizations) == 0
	chosen := map[artifact.DerivationID][]artifact.RealizationID{}
	for _, result := range results {
		for _, realization := range result.Realizations {
			chosen[result.Step.ID] = append(chosen[result.Step.ID], realization.ID)
		}
		if len(result.Realizations) == 0 {
			r.Builds = append(r.Builds, result.Step.Name())
		}
	}
	s.add(p)
	if r.Before, err = s.before(ctx, target, with); err != nil || !r.Rebuild && with == "" || r.Before.IsZero() {
		return r, err
	}
	if r.Before != target.ID {
		r.Derivations, err = s.compare(r.Before, target.ID)
		return r, err
	}
	if r.Rebuild {
		r.Context, err = why.Context(target, chosen, s.Realizations)
	}
	return r, err
}

// before is the derivation that a step is compared with: the one that was named; its own, if that was built; or the one of its
// name that was built last. Zero if there is none.
func (s *subjects) before(ctx context.Context, step *plan.Step, named string) (newest artifact.DerivationID, err error) {
	if named != "" {
		found, err := s.find(ctx, named)
		return found.Derivation, err
	}
	candidates, err := s.Named(step.Derivation.Name)
	if err != nil {
		return newest, err
	}
	var last time.Time
	for _, id := range append(candidates, step.ID) {
		all, err := s.Realizations(id)
		if err != nil {
			return newest, err
		}
		if len(all) > 0 && id == step.ID {
			return id, nil
		}
		for _, r := range all {
			if end := r.Records[len(r.Records)-1].End; end.After(last) {
				newest, last = id, end
			}
		}
	}
	return newest, nil
}

func (a *app) printRebuild(r rebuild) {
	if r.Derivations != nil {
		for _, line := range r.Derivations.Lines() {
			a.out.line("%s", escape(line))
		}
	}
	for _, d := range r.Context {
		now := realizationIDs(d.Now)
		if len(d.Now) == 0 {
			now = "(to be built)"
		}
		a.out.line("result of %s: %s → %s (%s)", escape(d.Name), realizationIDs(d.Before), now, escape(strings.Join(d.Via, " > ")))
	}
	switch {
	case !r.Rebuild:
		a.out.say("nothing would be built: %s is realized as %s", escape(r.Name), r.realizations[0].ID)
	case r.Before.IsZero():
		a.out.say("%s was never built: the store has no result of that name", escape(r.Name))
	case r.Derivations == nil && len(r.Context) == 0:
		a.out.say("neither %s nor a result of a dependency has changed, but its matcher asks for another build", escape(r.Name))
	case r.Derivations == nil:
		a.out.say("nothing of %s itself has changed, only results of dependencies have", escape(r.Name))
	default:
		a.out.say("%s", causes(r.Derivations))
	}
	if len(r.Builds) > 0 {
		a.out.say("would be built: %s", escape(strings.Join(r.Builds, ", ")))
	}
}

func causes(d *compare.Derivations) string {
	return fmt.Sprintf("%d causes, and %d that follow from them", len(d.Causes), len(d.Follows))
}

func realizationIDs(list []artifact.RealizationID) string {
	texts := make([]string, len(list))
	for i, id := range list {
		texts[i] = id.String()[:10]
	}
	return strings.Join(texts, ",")
}
