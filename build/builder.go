package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"hdjail/artifact"
	"hdjail/artifact/collect"
	"hdjail/artifact/lease"
	"hdjail/artifact/store"
	"hdjail/build/jailplan"
	"hdjail/build/plan"
	"hdjail/build/recording"
	"hdjail/build/sources"
	"hdjail/hostpkgs"
	"hdjail/jail"
	"hdjail/policies/audit"
)

// Sources brings and places inputs; *sources.Store is one. Safe for concurrent use.
type Sources interface {
	Fetch(ctx context.Context, r sources.Request, progress sources.Progress) error
	Place(ctx context.Context, source artifact.Source, dest sources.Dest) error
}

// Composer makes the tree that shows pinned host packages; *hostpkgs.Host is one. Safe for concurrent use.
type Composer interface {
	Compose(ctx context.Context, pins []hostpkgs.Pinned, mountpoints []hostpkgs.Mountpoint) (hostpkgs.Tree, error)
}

// Builder realizes derivations. Its fields are set once; then it may be used by several goroutines.
type Builder struct {
	Store   *store.Store
	Sources Sources
	Host    Composer
	Runner  jail.Runner
	// Collect makes an output canonical; nil is collect.Collect in this process.
	Collect func(ctx context.Context, dir string, o collect.Options) (collect.Result, error)
	// Events is told what happens; nil for nobody.
	Events EventSink
	// Now is the clock of records and events.
	Now func() time.Time
	// Identity stands in build records.
	Identity artifact.Builder
	// CPUs is how many processors builds share, 1 when 0.
	CPUs int
	// Limits are those of a build that states none.
	Limits jail.Limits
	// LockWait is how long to wait for another process that builds the same; 0 is as long as that lives.
	LockWait time.Duration
	// FailureTTL is how long a failure that would repeat itself is reported instead of run again; 0 for not at all.
	FailureTTL time.Duration
	// KeepFailed keeps what a failed build left.
	KeepFailed bool
	// Home is the caller's home directory, which no build sees.
	Home string
	// Recorder makes the audits; nil for builds without.
	Recorder *recording.Recorder
	// Audited is told of each run's audit, with what is notable of its accesses; nil for nobody.
	Audited func(a *audit.Audit)
	// Strict fails a build whose record is incomplete.
	Strict bool
}

// Task is one derivation to realize in a given context.
type Task struct {
	Step *plan.Step
	// Context is what was chosen for the direct dependencies, Closure what the jail shows, deeper ones included.
	Context artifact.Context
	Closure []jailplan.Dependency
	// Jobs is the value of $JOBS.
	Jobs int
	// Rebuild runs the build even if there is a realization.
	Rebuild bool
	// registering is called when the build is over and its result only has to reach the disk; nil for nobody.
	registering func()
	// rerun is the check that the run is for; nil for none.
	rerun *rerunning
}

// Build realizes one derivation whose dependencies are realized: it asks the matcher, and while that lacks something it
// runs the build in a jail and registers what comes out. A build that failed is a *Failure, and has a build record. A matcher
// is asked once more after the builds: one that wants more then gives *UnsatisfiedError. Cancelling ctx kills the jail and
// registers nothing; the record of the run says so.
func (b *Builder) Build(ctx context.Context, t Task) (Result, error) {
	r := Result{Step: t.Step, Cached: true}
	need, err := b.ask(ctx, t, &r)
	if err != nil || need == 0 {
		return r, err
	}
	b.send(t.Step, Event{Event: "build.start"})
	lock, err := b.lock(ctx, t.Step)
	if err != nil {
		return r, err
	}
	defer lock.Release()
	if need, err = b.ask(ctx, t, &r); err != nil || need == 0 { // another process may have built it meanwhile
		return r, err
	}
	if err := b.remembered(t); err != nil {
		return r, err
	}
	r.Cached, t.Rebuild = false, false
	for range need {
		id, err := b.run(ctx, t, lock)
		if err != nil {
			return r, err
		}
		r.Built = append(r.Built, id)
	}
	if need, err = b.ask(ctx, t, &r); err == nil && need > 0 {
		err = &UnsatisfiedError{t.Step.Name(), t.Step.Matcher.String(), r.Built, r.rejected, need}
	}
	return r, err
}

// run is one run of a build, from an empty scratch to a registered realization.
func (b *Builder) run(ctx context.Context, t Task, lock *lease.Lock) (id artifact.RealizationID, err error) {
	if err := b.fetch(ctx, t.Step); err != nil {
		return id, err
	}
	r, err := b.newRun(ctx, t)
	if err != nil {
		return id, err
	}
	defer func() {
		err = r.failed(ctx, err)
		if closed := r.close(); err == nil {
			err = closed
		}
	}()
	if err := lock.SetLog(r.logPath()); err != nil {
		return id, err
	}
	if err := r.placeSources(ctx); err != nil {
		return id, err
	}
	config, err := r.plan(ctx)
	if err != nil {
		return id, err
	}
	result, err := r.execute(ctx, config)
	if err != nil {
		return id, err
	}
	if err := r.finishRecord(result); err != nil {
		return id, err
	}
	if err := r.judge(result); err != nil {
		return id, err
	}
	collected, err := r.collect(ctx)
	if err != nil {
		return id, err
	}
	if err := r.scanOutput(ctx); err != nil {
		return id, err
	}
	if t.registering != nil {
		t.registering()
	}
	return r.register(ctx, collected, result)
}

// ask applies the step's matcher to the realizations in the task's context. What it selects is put into r, and what it does not
// if it needs builds.
func (b *Builder) ask(ctx context.Context, t Task, r *Result) (need int, err error) {
	if t.Rebuild {
		return 1, nil
	}
	all, err := b.Store.Realizations(t.Step.ID)
	if err != nil {
		return 0, fmt.Errorf("realize %s: %w", t.Step.Name(), err)
	}
	candidates := slices.DeleteFunc(all, func(c artifact.Realization) bool { return !c.Context.Equal(t.Context) })
	answer, err := t.Step.Matcher.Match(candidates, b.facts(ctx, t))
	if err != nil {
		return 0, &MatchError{t.Step.Name(), t.Step.Matcher.String(), r.Built, err}
	}
	selected := slices.DeleteFunc(candidates, func(c artifact.Realization) bool { return !slices.Contains(answer.Select, c.ID) })
	r.rejected = answer.Rejected
	if len(selected) == 0 {
		return answer.Need, nil
	}
	if err := b.consult(t.Step, selected); err != nil {
		return 0, err
	}
	r.Realizations = selected
	return 0, nil
}

func (b *Builder) lock(ctx context.Context, step *plan.Step) (*lease.Lock, error) {
	b.phase(step, "lock")
	return b.Store.Lock(ctx, step.ID, lease.Options{Timeout: b.LockWait, Waiting: func(i lease.Info) {
		b.send(step, Event{Event: "build.phase", Phase: "lock", Text: "waiting for " + i.Holder.String()})
	}})
}

// fetch brings the sources that the store lacks.
func (b *Builder) fetch(ctx context.Context, step *plan.Step) error {
	if len(step.Derivation.Sources) > 0 {
		b.phase(step, "fetch")
	}
	for _, source := range step.Derivation.Sources {
		var last time.Time
		err := b.Sources.Fetch(ctx, sources.Request{Digest: source.Digest, URLs: step.URLs[source.Digest]}, func(done, total int64) {
			if now := b.Now(); now.Sub(last) > 100*time.Millisecond || done == total {
				last = now
				b.send(step, Event{Event: "build.fetch", Source: source.Digest, Done: done, Total: total})
			}
		})
		if err != nil {
			return fmt.Errorf("fetch sources of %s: %w", step.Name(), err)
		}
	}
	return nil
}

func (b *Builder) phase(step *plan.Step, phase string) {
	b.send(step, Event{Event: "build.phase", Phase: phase})
}

// send completes an event and passes it on. step is nil for one about the whole plan.
func (b *Builder) send(step *plan.Step, e Event) {
	if b.Events == nil {
		return
	}
	e.Version, e.Time = EventVersion, b.Now()
	if step != nil {
		e.Drv, e.Name = step.ID.String(), step.Name()
	}
	b.Events.Send(e)
}

// collect makes the output canonical. What no output may hold is a failure of the build.
func (r *run) collect(ctx context.Context) (collect.Result, error) {
	do := r.b.Collect
	if do == nil {
		do = collect.Collect
	}
	o := collect.Options{UID: r.scratch.UID, Artifact: r.artifact(), MaxBytes: r.limits.Output, Allowed: r.allowed}
	for _, d := range r.t.Closure {
		if !d.Many {
			o.Dependencies = append(o.Dependencies, d.Public)
		}
	}
	for _, dep := range r.t.Step.Dependencies {
		o.Direct = append(o.Direct, dep.Derivation.StoreName())
	}
	result, err := do(ctx, r.scratch.Out(), o)
	var refused *collect.RefusedError
	if errors.As(err, &refused) {
		r.record.Event("output:"+refused.Kind, refused.Path, "")
		if refused.Kind == "too-large" {
			return result, r.failure("limits", "left more than its limit of output: "+err.Error(), err)
		}
		return result, r.failure("output", "left an output that cannot be kept: "+err.Error(), err)
	}
	return result, err
}

// allowed reports whether an absolute link of the output may lead to path: to what the whitelist shows.
func (r *run) allowed(path string) bool {
	if !r.view.Mode.Contains() {
		return true
	}
	for _, p := range r.view.Paths {
		if p.Path == path || len(path) > len(p.Path) && path[:len(p.Path)+1] == p.Path+"/" {
			return true
		}
	}
	if r.view.Tree.Path == "" {
		return false
	}
	root, err := os.OpenRoot(r.view.Tree.Path)
	if err != nil {
		return false
	}
	defer root.Close()
	_, err = root.Lstat(path[1:])
	return err == nil
}
