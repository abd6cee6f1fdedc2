package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"hdjail/artifact"
	"hdjail/artifact/lease"
	"hdjail/artifact/match"
	"hdjail/artifact/tree"
	"hdjail/build"
	"hdjail/build/daemon/rules"
	"hdjail/build/daemon/sitelog"
	"hdjail/build/daemon/wire"
	"hdjail/build/lockfile"
	"hdjail/build/plan"
	"hdjail/build/spec"
	"hdjail/jail"
	"hdjail/policies"
)

// ErrStopped ends a job that the daemon takes with it.
var ErrStopped = errors.New("the daemon was stopped; try again")

// errGone ends a job whose client went.
var errGone = errors.New("the client is gone")

// follow sends a job's events and how it ended, and tells whether the client had all of that. When ctx is done the job is
// about to end, which the client is still told.
func (s *Server) follow(ctx context.Context, conn *wire.Conn, j *job) bool {
	info := j.state()
	if conn.Send(wire.Reply{Version: wire.Version, Job: &info}, nil) != nil || ctx.Err() == nil && conn.Await(noDeadline) != nil {
		return false
	}
	silent := make(chan struct{})
	go func() { // ends with the connection
		defer close(silent)
		conn.Listen() // a client says nothing while it follows
	}()
	defer func() { conn.Close(); <-silent }()
	r := j.feed.follow()
	defer j.feed.leave(r)
	for gone := silent; ; {
		select {
		case <-gone:
			if ctx.Err() == nil {
				return false
			}
			gone = nil // nobody listens to the client any more
			continue
		case <-r.wake:
		}
		events, ended := j.feed.take(r)
		for _, e := range events {
			if conn.Send(wire.Reply{Version: wire.Version, Event: e}, nil) != nil {
				return false
			}
		}
		if ended {
			return conn.Send(wire.Reply{Version: wire.Version, Done: j.result()}, nil) == nil
		}
	}
}

// submit takes a job that was authorized, and has it run when its turn comes.
func (s *Server) submit(ctx context.Context, c *call) (*job, error) {
	if err := s.withinQuota(c.caller); err != nil {
		return nil, err
	}
	quota, err := s.c.Rules.Quota(c.caller)
	if err != nil {
		return nil, err
	}
	b := c.request.Build
	j := &job{caller: c.caller, request: b, info: wire.JobInfo{UID: c.caller.UID, State: "queued", Targets: len(b.Targets), Detached: b.Detach,
		Queued: s.c.Builder.Now()}}
	kept := &plan.Plan{}
	for i, d := range c.reached {
		kept.Steps = append(kept.Steps, &plan.Step{ID: b.Steps[i].ID, Derivation: *d})
	}
	j.use = build.Use("build", kept)
	entry := sitelog.Entry{Event: "request", UID: c.caller.UID, PID: c.caller.PID, Request: "build", Decision: "allowed", Count: len(b.Targets)}
	for _, id := range b.Targets[:min(len(b.Targets), sitelog.MaxDerivations)] {
		entry.Derivations = append(entry.Derivations, id.String())
	}
	for _, d := range c.reached {
		if d.ID() == b.Targets[0] {
			j.info.Name = d.Name
		}
	}
	// The job outlives the request; it ends with the daemon.
	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	j.cancel = cancel
	if err := s.jobs.add(j, quota.Queued); err != nil {
		return nil, err
	}
	entry.Job, entry.Name = j.info.ID, j.info.Name
	if err := s.c.Log.Append(entry); err != nil {
		cancel(err)
		s.jobs.end(j)
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { cancel(ErrStopped) })
	go func() { // jobs.wait waits for it
		defer s.jobs.end(j)
		defer stop()
		defer cancel(nil)
		s.run(running, j, b, quota)
	}()
	return j, nil
}

// run waits for a place, and realizes a job's plan. What it panics over is an error of this job alone.
func (s *Server) run(ctx context.Context, j *job, b *wire.Build, quota policies.Quota) {
	done := &wire.Done{}
	defer func() {
		if p := recover(); p != nil {
			problem := s.c.Explain(fmt.Errorf("run job: %v\n%s", p, debug.Stack()))
			done = &wire.Done{Problem: &problem}
		}
		j.finish(done, s.c.Builder.Now())
	}()
	places := newPlaces(func(ctx context.Context) (func(), error) { return s.queue.Acquire(ctx, j.caller.UID, quota.Running) })
	results, p, err := s.realize(ctx, j, b, realization{places: places, quota: quota})
	places.close()
	if ctx.Err() != nil && err != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		problem := s.c.Explain(err)
		done.Problem = &problem
	}
	if p == nil {
		return
	}
	for _, t := range p.Targets {
		if t.Index < len(results) && results[t.Index].Step == t {
			done.Results = append(done.Results, resultOf(&results[t.Index]))
			for _, found := range results[t.Index].Realizations {
				s.c.Builder.Store.Touch(found.ID) // somebody has asked for it
			}
		}
	}
}

func resultOf(r *build.Result) wire.Result {
	w := wire.Result{ID: r.Step.ID, Cached: r.Cached, Built: r.Built, Seconds: r.Duration.Seconds()}
	for _, found := range r.Realizations {
		w.Realizations = append(w.Realizations, found.ID)
	}
	return w
}

// realization is what a job runs with.
type realization struct {
	places *places
	quota  policies.Quota
}

// realize has the builder do the work, once there is a place for its first build.
func (s *Server) realize(ctx context.Context, j *job, b *wire.Build, with realization) ([]build.Result, *plan.Plan, error) {
	// It may wait for hours, and nothing of it may be collected meanwhile.
	held, err := s.c.Builder.Store.Lease(ctx, j.use, lease.Options{Timeout: b.LockWait})
	if err != nil {
		return nil, nil, err
	}
	defer held.Release() // one that stays is stale when the daemon ends
	if err := with.places.open(ctx); err != nil {
		return nil, nil, err
	}
	j.started(s.c.Builder.Now())
	p, err := s.plan(j.caller, b, with.quota)
	if err != nil {
		return nil, nil, err
	}
	builder := s.c.Builder
	builder.Runner = placed{builder.Runner, with.places}
	builder.Events = build.EventFunc(func(e build.Event) { s.event(j, e) })
	builder.Strict, builder.LockWait, builder.FailureTTL, builder.Identity.UID = b.Strict, b.LockWait, b.FailureTTL, j.caller.UID
	most := s.c.Places
	if with.quota.Running > 0 {
		most = min(most, with.quota.Running)
	}
	if b.Jobs > 0 {
		most = min(most, b.Jobs)
	}
	running, _ := s.queue.Counts()
	options := build.Options{Jobs: most, CPUs: max(1, builder.CPUs/max(1, running)), KeepGoing: b.KeepGoing, Rebuild: map[artifact.DerivationID]bool{}}
	for _, id := range b.Rebuild {
		options.Rebuild[id] = true
	}
	results, err := builder.Realize(ctx, p, options)
	return results, p, err
}

// plan makes the plan of a request from the derivations in the store. It may have waited for hours, so it is authorized again:
// paths of the host have to be what they were.
func (s *Server) plan(c wire.Caller, b *wire.Build, quota policies.Quota) (*plan.Plan, error) {
	store, logs, err := s.usage.left(c.UID, quota)
	if err != nil {
		return nil, err
	}
	reached, err := s.reach(b)
	if err == nil {
		err = s.c.Rules.Authorize(c, &wire.Request{Version: wire.Version, Build: b}, rules.Subject{Derivations: reached})
	}
	if err != nil {
		return nil, err
	}
	steps := make([]*plan.Step, len(b.Steps))
	for i, w := range b.Steps {
		d := reached[i]
		step := &plan.Step{ID: w.ID, Derivation: *d, Mode: w.Mode, URLs: map[string][]string{}}
		if step.Mode == "" {
			step.Mode = policies.ModeHide
		}
		if step.Matcher, err = match.Parse(w.Match); err != nil {
			return nil, err
		}
		if len(w.Locked) > 0 {
			step.Matcher = lockfile.Matcher(d.Name, w.Locked)
		}
		for _, source := range d.Sources {
			step.URLs[source.Digest] = w.URLs
		}
		step.Limits = specLimits(s.c.Rules.Limits(stated(w.Limits).Over(s.c.Builder.Limits), store, logs))
		steps[i] = step
	}
	return plan.Assemble(steps, b.Targets)
}

func stated(l *wire.Limits) spec.Limits {
	if l == nil {
		return spec.Limits{}
	}
	return spec.Limits{Memory: spec.Size(l.Memory), Pids: l.Pids, CPU: l.CPU, Wall: l.Wall, Silence: l.Silence, Output: spec.Size(l.Output),
		Files: l.Files, Log: spec.Size(l.Log)}
}

func specLimits(l jail.Limits) spec.Limits {
	return spec.Limits{Memory: spec.Size(l.Memory), Pids: l.Pids, CPU: l.CPU, Wall: l.Wall, Silence: l.Silence, Output: spec.Size(l.Output),
		Files: l.Files, Log: spec.Size(l.Log)}
}

// event passes an event on, and notes in the site's log what was built for whom.
func (s *Server) event(j *job, e build.Event) {
	if e.Event == "build.done" {
		s.note(j, e)
	}
	text, err := json.Marshal(e)
	if err == nil && len(text) < wire.MaxFrame/2 {
		j.feed.publish(text, e.Event == "build.log" || e.Event == "build.fetch")
	}
}

func (s *Server) note(j *job, e build.Event) {
	s.count.builds.Add(1, label("status", e.Status))
	s.count.seconds.Add(e.Seconds, "")
	id, err := artifact.ParseDerivationID(e.Drv)
	if err != nil || e.Status != "built" && e.Status != "failed" {
		return
	}
	entry := sitelog.Entry{Event: e.Status, UID: j.caller.UID, PID: j.caller.PID, Job: j.state().ID, Name: e.Name, Derivations: []string{e.Drv},
		Realization: e.Realization, Reason: e.Kind}
	if e.Status == "built" {
		entry.Bytes = s.size(e.Realization)
	}
	if records, err := s.c.Builder.Store.Records(id); err == nil && len(records) > 0 {
		last := records[len(records)-1]
		entry.Number, entry.LogBytes = last.Number, last.LogBytes
	}
	if err := s.charge(entry); err != nil {
		s.count.lost.Add(1, "")
	}
}

// size is what a realization takes, if this run made it: another run has been charged for one that was there.
func (s *Server) size(text string) int64 {
	id, err := artifact.ParseRealizationID(text)
	if err != nil {
		return 0
	}
	r, err := s.c.Builder.Store.Realization(id)
	if err != nil || len(r.Records) > 1 {
		return 0
	}
	dir, err := os.Open(s.c.Builder.Store.OutPath(id))
	if err != nil {
		return 0
	}
	defer dir.Close()
	bytes, err := tree.Bytes(context.Background(), dir)
	if err != nil {
		return 0
	}
	return bytes
}
