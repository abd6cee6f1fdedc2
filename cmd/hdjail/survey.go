package main

import (
	"context"
	"slices"

	"github.com/urfave/cli/v2"

	"hdjail/artifact/store"
	"hdjail/build"
	"hdjail/build/plan"
	"hdjail/policies"
)

// survey is a look at what is realized, before anything is built.
type survey struct {
	plan    *plan.Plan
	options build.Options
	// keep lets no collection remove what is found before this process ends.
	keep bool
}

// survey finds what is realized, and whether that is all; else the builder has its runner.
func (a *app) survey(c *cli.Context, b *build.Builder, s survey) (results []build.Result, done bool, err error) {
	if err := restoreDerivations(b.Store, s.plan); err != nil {
		return nil, false, err
	}
	if err := a.letChoose(b, s.plan); err != nil {
		return nil, false, err
	}
	goOn := s.options.KeepGoing
	s.options.DryRun = true
	results, err = b.Realize(c.Context, s.plan, s.options)
	if err == nil && s.keep {
		results, err = a.keep(c, b, s, results)
	}
	switch {
	case err != nil && !goOn:
		return nil, false, failures(err, results)
	case err != nil || missing(results):
		if b.Runner, err = a.runner(policies.ModeHide); err != nil {
			return nil, false, err
		}
		return nil, false, a.share(c, b)
	case c.String("events") == "" && c.String("progress") == "auto":
		a.warnPlan(s.plan)
		return results, true, nil
	}
	return nil, false, nil
}

// restoreDerivations writes those again that the store has results of, but has lost, or had to give up as damaged.
func restoreDerivations(s *store.Store, p *plan.Plan) error {
	for _, step := range p.Steps {
		if s.LacksDerivation(step.ID) {
			if _, err := s.PutDerivation(&step.Derivation); err != nil {
				return err
			}
		}
	}
	return nil
}

// letChoose gives the builder its runner if the plan has matchers that are scripts: these run in jails, also where nothing is
// built. This process may be replaced by a copy that starts over, so nothing is printed before.
func (a *app) letChoose(b *build.Builder, p *plan.Plan) (err error) {
	if slices.ContainsFunc(p.Steps, func(s *plan.Step) bool { return s.Chooser != nil }) {
		b.Runner, err = a.runner(policies.ModeHide)
	}
	return err
}

// look is what is realized of a plan, as far as its matchers select it.
func (a *app) look(ctx context.Context, p *plan.Plan) ([]build.Result, error) {
	b, err := a.builder()
	if err != nil {
		return nil, err
	}
	if err := a.letChoose(b, p); err != nil {
		return nil, err
	}
	return b.Realize(ctx, p, build.Options{DryRun: true})
}

// warnPlan prints what the plan warns of. It comes after the last moment at which this process may start over.
func (a *app) warnPlan(p *plan.Plan) {
	for _, text := range p.Warnings {
		a.out.warn("%s", text)
	}
}

// missing reports whether a dry run left something to build.
func missing(results []build.Result) bool {
	for _, r := range results {
		if len(r.Realizations) == 0 {
			return true
		}
	}
	return false
}

// keep takes a lease for the rest of this run, and then looks again what is realized. A copy of this process that starts
// over takes one of its own, so that comes first.
func (a *app) keep(c *cli.Context, b *build.Builder, s survey, results []build.Result) ([]build.Result, error) {
	if missing(results) {
		if _, err := a.runner(policies.ModeHide); err != nil {
			return nil, err
		}
	}
	held, err := b.Store.Lease(c.Context, build.Use("build", s.plan), a.rootsWait(c))
	if err != nil {
		return nil, err
	}
	a.onClose(held.Release)
	return b.Realize(c.Context, s.plan, s.options)
}
