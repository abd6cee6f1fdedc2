package build

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hdjail/artifact"
	"hdjail/build/jailplan"
	"hdjail/build/plan"
	"hdjail/jail"
)

// Options say how a plan is realized.
type Options struct {
	// Jobs is how many builds run at once, CPUs how many processors they share; each is the Builder's CPUs when 0.
	Jobs, CPUs int
	// KeepGoing builds all that depends on no failure; otherwise nothing is started after the first one.
	KeepGoing bool
	// DryRun builds nothing: what would be built is left without an error and without realizations.
	DryRun bool
	// RealizedOnly makes a step without a realization an error, *Unrealized.
	RealizedOnly bool
	// Rebuild are the steps to build again.
	Rebuild map[artifact.DerivationID]bool
}

// DefaultLimits are the limits of a build that states none: they stop what has run away.
func DefaultLimits() jail.Limits {
	return jail.Limits{Pids: 4096, Wall: 24 * time.Hour, Silence: 2 * time.Hour, Output: 64 << 30, Files: 4 << 20, Log: 256 << 20}
}

// Realize gives every step of the plan a realization, and builds what has none, as many at a time as o.Jobs says. The
// results are parallel to p.Steps. The error is the first failure, in time; the others are in the results.
func (b *Builder) Realize(ctx context.Context, p *plan.Plan, o Options) ([]Result, error) {
	if o.Jobs < 1 {
		o.Jobs = b.CPUs
	}
	if o.CPUs < 1 {
		o.CPUs = b.CPUs
	}
	o.Jobs, o.CPUs = max(o.Jobs, 1), max(o.CPUs, 1)
	if !o.DryRun && !o.RealizedOnly {
		held, err := b.lease(ctx, "build", p)
		if err != nil {
			return nil, err
		}
		defer held.Release() // one that stays is stale when this process ends
	}
	b.announce(p)
	s := newSchedule(b, p, o)
	if err := s.survey(ctx, p); err != nil {
		return s.results, err
	}
	if o.DryRun || o.RealizedOnly {
		return s.results, s.failure
	}
	s.run(ctx)
	s.skipRest(p)
	return s.results, s.failure
}

func (b *Builder) announce(p *plan.Plan) {
	if b.Events == nil {
		return
	}
	b.send(nil, Event{Event: "plan", Total: int64(len(p.Steps))})
	targets := map[*plan.Step]bool{}
	for _, t := range p.Targets {
		targets[t] = true
	}
	for _, step := range p.Steps {
		e := Event{Event: "step", Target: targets[step]}
		for _, dep := range step.Dependencies {
			e.Dependencies = append(e.Dependencies, dep.ID.String())
		}
		b.send(step, e)
	}
}

// schedule is one run of Realize. All fields belong to the goroutine that runs it; builds
// read what is said of their dependencies, which is settled before they start.
type schedule struct {
	b       *Builder
	o       Options
	results []Result
	// waiting counts the dependencies of a step without a realization, dependants are those that it keeps waiting.
	waiting    []int
	dependants [][]*plan.Step
	// shown is how builds see the steps that are realized; in a plan with nothing to do it stays empty.
	shown   []jailplan.Dependency
	ready   []*plan.Step
	failure error
}

func newSchedule(b *Builder, p *plan.Plan, o Options) *schedule {
	return &schedule{b: b, o: o, results: make([]Result, len(p.Steps)), waiting: make([]int, len(p.Steps)),
		dependants: make([][]*plan.Step, len(p.Steps))}
}

// survey finds what is realized already, a level of the plan at a time and in parallel, and queues the rest.
func (s *schedule) survey(ctx context.Context, p *plan.Plan) error {
	if err := p.Each(ctx, func(step *plan.Step) error { return s.look(ctx, step) }); err != nil {
		return err
	}
	for _, step := range p.Steps { // dependencies come first
		r := &s.results[step.Index]
		if cause := s.failedDependency(step); cause != nil && r.Err == nil {
			r.Err = &Skipped{Name: step.Name(), Err: cause}
			s.b.report(r)
			continue
		}
		if s.o.RealizedOnly && r.Realizations == nil && r.Err == nil {
			r.Err = &Unrealized{ID: step.ID, Name: step.Name()}
		}
		if r.Realizations != nil || r.Err != nil {
			s.done(r)
			continue
		}
		for _, dep := range step.Dependencies {
			if s.results[dep.Index].Realizations == nil {
				s.waiting[step.Index]++
				s.dependants[dep.Index] = append(s.dependants[dep.Index], step)
			}
		}
		if s.waiting[step.Index] == 0 {
			s.ready = append(s.ready, step)
		}
	}
	return nil
}

// failedDependency is the error that keeps a step from being built, nil for none.
func (s *schedule) failedDependency(step *plan.Step) error {
	for _, dep := range step.Dependencies {
		err := s.results[dep.Index].Err
		if skipped := (*Skipped)(nil); errors.As(err, &skipped) {
			return skipped.Err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// look asks for the realizations of a step whose dependencies all have some. What is wrong with the step is its own error.
func (s *schedule) look(ctx context.Context, step *plan.Step) error {
	r := &s.results[step.Index]
	r.Step = step
	chosen, complete, err := s.context(step)
	if err == nil && complete && !s.o.Rebuild[step.ID] {
		_, err = s.b.ask(ctx, Task{Step: step, Context: chosen}, r)
	}
	r.Err, r.Cached = err, r.Realizations != nil
	return context.Cause(ctx)
}

// context is what was chosen for the direct dependencies, and whether all have something. Several where one is wanted give
// *SeveralError.
func (s *schedule) context(step *plan.Step) (chosen artifact.Context, complete bool, err error) {
	chosen, complete = make(artifact.Context, len(step.Dependencies)), true
	for i, dep := range step.Dependencies {
		ids := identities(s.results[dep.Index].Realizations)
		if len(ids) > 1 && !step.Derivation.Dependencies[i].Many {
			return nil, false, &SeveralError{step.Name(), dep.Name(), ids}
		}
		complete = complete && len(ids) > 0
		chosen[dep.ID] = ids
	}
	return chosen, complete, nil
}

func identities(list []artifact.Realization) []artifact.RealizationID {
	ids := make([]artifact.RealizationID, len(list))
	for i, r := range list {
		ids[i] = r.ID
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}

// run starts builds while there are some that can be, and takes what comes of them.
func (s *schedule) run(ctx context.Context) {
	s.shown = make([]jailplan.Dependency, len(s.results))
	for i := range s.results {
		if s.results[i].Realizations != nil {
			s.show(&s.results[i])
		}
	}
	var group errgroup.Group
	finished, registering := make(chan Result), make(chan *plan.Step)
	waiting := map[*plan.Step]bool{} // for the disk, which keeps no processor busy
	running := 0
	for {
		for running < s.o.Jobs && len(waiting) <= s.o.Jobs && len(s.ready) > 0 && (s.failure == nil || s.o.KeepGoing) && ctx.Err() == nil {
			step := s.ready[0]
			s.ready = s.ready[1:]
			task, err := s.task(step, running)
			if err != nil {
				s.results[step.Index].Err = err
				s.done(&s.results[step.Index])
				continue
			}
			task.registering = sync.OnceFunc(func() { registering <- step })
			running++
			group.Go(func() error {
				task.Closure = s.closure(step)
				finished <- s.b.realize(ctx, task)
				return nil
			})
		}
		if running == 0 && len(waiting) == 0 {
			break
		}
		var r Result
		select {
		case step := <-registering:
			waiting[step] = true
			running--
			continue
		case r = <-finished:
		}
		if waiting[r.Step] {
			delete(waiting, r.Step)
		} else {
			running--
		}
		s.results[r.Step.Index] = r
		s.show(&r)
		s.done(&r)
	}
	group.Wait()
	if s.failure == nil && ctx.Err() != nil {
		s.failure = context.Cause(ctx)
	}
}

// task puts together what a build needs. Processors are divided among the builds that run at the same time.
func (s *schedule) task(step *plan.Step, running int) (Task, error) {
	chosen, _, err := s.context(step)
	t := Task{Step: step, Context: chosen, Rebuild: s.o.Rebuild[step.ID]}
	t.Jobs = max(1, s.o.CPUs/min(s.o.Jobs, running+1+len(s.ready)))
	if cpu := step.Limits.CPU; cpu > 0 {
		t.Jobs = max(1, min(t.Jobs, int(cpu)))
	}
	return t, err
}

// show notes how later builds see a step that is realized.
func (s *schedule) show(r *Result) {
	d := jailplan.Dependency{ID: r.Step.ID, Public: s.b.Store.PublicPath(&r.Step.Derivation), IDs: identities(r.Realizations)}
	for _, id := range d.IDs {
		d.Outs = append(d.Outs, s.b.Store.OutPath(id))
	}
	s.shown[r.Step.Index] = d
}

// closure lists everything below a step with what was chosen for it: direct dependencies first, in order, under their
// names, then deeper ones at their public paths; so is a direct one with many that another dependency uses. All of it is
// realized and does not change any more.
func (s *schedule) closure(step *plan.Step) []jailplan.Dependency {
	var list []jailplan.Dependency
	seen := map[*plan.Step]bool{}
	queue := slices.Clone(step.Dependencies)
	for i, dep := range step.Dependencies {
		d := s.shown[dep.Index]
		d.As, d.Many = step.Derivation.Dependencies[i].As, step.Derivation.Dependencies[i].Many
		list = append(list, d)
		seen[dep] = seen[dep] || !d.Many
	}
	for ; len(queue) > 0; queue = queue[1:] {
		for i, dep := range queue[0].Dependencies {
			if !seen[dep] && !queue[0].Derivation.Dependencies[i].Many {
				seen[dep] = true
				list = append(list, s.shown[dep.Index])
				queue = append(queue, dep)
			}
		}
	}
	return list
}

// done takes a result: it frees those that waited for it, or skips them.
func (s *schedule) done(r *Result) {
	s.b.report(r)
	if r.Err != nil {
		if s.failure == nil {
			s.failure = r.Err
		}
		s.skip(r.Step, r.Err)
		return
	}
	for _, step := range s.dependants[r.Step.Index] {
		if s.waiting[step.Index]--; s.waiting[step.Index] == 0 && s.results[step.Index].Err == nil {
			s.ready = append(s.ready, step)
		}
	}
}

// skip marks everything that depends on a failed step.
func (s *schedule) skip(failed *plan.Step, cause error) {
	for queue := slices.Clone(s.dependants[failed.Index]); len(queue) > 0; queue = queue[1:] {
		r := &s.results[queue[0].Index]
		if r.Err != nil {
			continue
		}
		r.Err = &Skipped{Name: r.Step.Name(), Err: cause}
		s.b.report(r)
		queue = append(queue, s.dependants[r.Step.Index]...)
	}
}

// skipRest marks what was never started.
func (s *schedule) skipRest(p *plan.Plan) {
	for i := range p.Steps {
		if r := &s.results[i]; r.Err == nil && r.Realizations == nil {
			r.Err = &Skipped{Name: r.Step.Name(), Err: s.failure}
			s.b.report(r)
		}
	}
}

// realize is Build with the clock around it.
func (b *Builder) realize(ctx context.Context, t Task) Result {
	started := b.Now()
	r, err := b.Build(ctx, t)
	if r.Err, r.Duration = err, b.Now().Sub(started); err != nil {
		r.Realizations = nil
	}
	return r
}
