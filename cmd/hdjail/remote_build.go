package main

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/build"
	"hdjail/build/daemon/client"
	"hdjail/build/daemon/wire"
	"hdjail/build/lockfile"
	"hdjail/build/plan"
	"hdjail/build/sources"
	"hdjail/build/spec"
	"hdjail/policies"
)

// buildRemotely is `hdjail build` by the daemon: what the caller can read is read here, what has to be built is built there,
// and what comes out is in the daemon's store, which everybody can read.
func (a *app) buildRemotely(c *cli.Context, d *client.Client, r request) ([]build.Result, error) {
	p, err := a.planRemotely(c, d, r)
	if err != nil {
		return nil, err
	}
	options, err := buildOptions(c, p)
	if err != nil {
		return nil, err
	}
	b, err := a.onlooker()
	if err != nil {
		return nil, err
	}
	look := options
	look.DryRun = true
	results, err := b.Realize(c.Context, p, look)
	if err != nil && !options.KeepGoing {
		return nil, err
	}
	a.warnPlan(p)
	if err == nil && !missing(results) && c.String("events") == "" && c.String("progress") == "auto" {
		return targets(p, results), nil
	}
	sink, err := a.eventSink(c, p)
	if err != nil {
		return nil, err
	}
	if options.RealizedOnly {
		b.Events = sink
		results, err = b.Realize(c.Context, p, options)
		return targets(p, results), errors.Join(err, sink.finish(diagnoseExit(err)))
	}
	watch := &remarked{events: sink}
	commits, err := a.bring(c.Context, d, p, results)
	if err == nil {
		results, err = a.followBuild(c, d, remotePlan{p, commits, options}, watch)
	} else {
		results = nil
	}
	err = a.conclude(c, sink, a.remoteAudits(watch.list), err)
	a.noteUnselected(results)
	return results, err
}

// onlooker is a Builder that finds what is realized in the daemon's store, and builds nothing.
func (a *app) onlooker() (*build.Builder, error) {
	name, err := os.Hostname()
	return &build.Builder{Store: a.openStore, Now: a.now, CPUs: a.processors, Identity: artifact.Builder{Host: name, UID: os.Geteuid()}}, err
}

// planRemotely opens the daemon's store, and makes the plan, in which no matcher is a script.
func (a *app) planRemotely(c *cli.Context, d *client.Client, r request) (*plan.Plan, error) {
	s, err := store.Open(d.Info.Store, store.Options{Now: a.now, Prefix: d.Info.Prefix, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	a.openStore, a.served = s, true
	a.onClose(s.Close)
	p, err := a.planLocked(c, r, func(ctx context.Context, r request) (*plan.Plan, error) { return a.resolveRemotely(ctx, d, r) })
	if err != nil {
		return nil, err
	}
	for _, step := range p.Steps {
		if step.Chooser != nil {
			return nil, usagef("the matcher of "+step.Name()+" is a script, and the daemon runs none", "choose by another matcher, or add --no-daemon")
		}
	}
	return p, nil
}

// remarked passes events on, and remembers the builds whose audits say something.
type remarked struct {
	*events
	list []string
}

// Send implements build.EventSink.
func (r *remarked) Send(e build.Event) {
	if n := e.Counts; e.Event == "build.audit" && (n[policies.Hidden]+n[policies.Leaked]+n[policies.Unknown] > 0 || e.Complete != nil && !*e.Complete) {
		r.list = append(r.list, e.Drv)
	}
	r.events.Send(e)
}

// remoteAudits reads the audits of builds from the daemon's store. One that cannot be read is left out: it was for telling.
func (a *app) remoteAudits(builds []string) *auditList {
	audits := new(auditList)
	for _, text := range builds {
		id, err := artifact.ParseDerivationID(text)
		if err != nil {
			continue
		}
		if found, err := a.auditOf(a.openStore, store.Ref{Derivation: id}, false); err == nil {
			audits.add(found)
		}
	}
	return audits
}

// resolveRemotely makes the plan; the daemon pins packages and takes in sources.
func (a *app) resolveRemotely(ctx context.Context, d *client.Client, r request) (*plan.Plan, error) {
	graph, err := a.load(ctx, r.targets)
	if err != nil {
		return nil, err
	}
	digests := plan.DigestCache{Dir: filepath.Join(a.cacheDir(), "paths"), Compute: digestHostPath, Now: a.now}
	resolver := plan.Resolver{System: d.Info.System, Prefix: d.Info.Prefix, Host: d, Sources: d, HostDigest: digests.Digest, Home: a.home,
		Mode: r.mode, Matches: r.matches, Locked: r.locked}
	if r.host != nil {
		resolver.Host = r.host(d)
	}
	return resolver.Resolve(ctx, graph)
}

// bring gives the daemon what it lacks for the steps that are to be built: sources, then derivations. It returns where the
// commits are to be had that are left to the daemon.
func (a *app) bring(ctx context.Context, d *client.Client, p *plan.Plan, results []build.Result) (commits map[string][]string, err error) {
	urls := map[string][]string{}
	for i, step := range p.Steps {
		for _, source := range step.Derivation.Sources {
			if results[i].Realizations == nil {
				urls[source.Digest] = append(urls[source.Digest], step.URLs[source.Digest]...)
			}
		}
	}
	commits = map[string][]string{}
	if len(urls) > 0 {
		lacking, err := d.Missing(ctx, slices.Sorted(maps.Keys(urls)))
		if err != nil {
			return nil, err
		}
		var files []string
		for _, digest := range lacking {
			if strings.HasPrefix(digest, "git:") {
				commits[digest] = urls[digest]
			} else {
				files = append(files, digest)
			}
		}
		if len(files) > 0 {
			if err := a.fetchFor(ctx, d, files, urls); err != nil {
				return nil, err
			}
		}
	}
	for _, step := range p.Steps {
		if _, err := a.openStore.Derivation(step.ID); err == nil {
			continue
		}
		if err := d.Derive(ctx, &step.Derivation); err != nil {
			return nil, err
		}
	}
	return commits, nil
}

// fetchFor fetches sources with the caller's rights, and passes them on.
func (a *app) fetchFor(ctx context.Context, d *client.Client, digests []string, urls map[string][]string) (err error) {
	cache := a.cacheDir()
	if cache != "" {
		if err := os.MkdirAll(cache, 0o700); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp(cache, "hdjail-fetch-") // below the system's temporary directory for who has no cache
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	src, err := sources.Open(a.sourceOptions(dir))
	if err != nil {
		return err
	}
	defer src.Close()
	for _, digest := range digests {
		if err := src.Fetch(ctx, sources.Request{Digest: digest, URLs: urls[digest]}, nil); err != nil {
			return err
		}
		file, err := src.OpenFile(digest)
		if err != nil {
			return err
		}
		err = d.Put(ctx, digest, file)
		file.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// remotePlan is what the daemon has to know: a plan, where it finds commits that it lacks, and how to realize it.
type remotePlan struct {
	*plan.Plan
	commits map[string][]string
	options build.Options
}

// followBuild has the daemon build the plan, and returns the results of the targets.
func (a *app) followBuild(c *cli.Context, d *client.Client, p remotePlan, sink build.EventSink) ([]build.Result, error) {
	q := &wire.Build{Jobs: p.options.Jobs, KeepGoing: p.options.KeepGoing, Strict: c.Bool("strict"), LockWait: c.Duration("lock-timeout"),
		FailureTTL: c.Duration("failure-ttl"), Detach: c.Bool("detach")}
	for _, step := range p.Steps {
		q.Steps = append(q.Steps, wireStep(step, p.commits))
		if p.options.Rebuild[step.ID] {
			q.Rebuild = append(q.Rebuild, step.ID)
		}
	}
	for _, t := range p.Targets {
		q.Targets = append(q.Targets, t.ID)
	}
	done, err := d.Build(c.Context, q, client.Follower{Event: sink.Send, Job: func(job wire.JobInfo) {
		if q.Detach {
			a.out.line("%s", job.ID)
		}
	}})
	if err != nil || done == nil {
		return nil, err
	}
	results, err := a.remoteResults(p.Plan, done)
	if done.Problem != nil {
		err = &client.Error{Problem: *done.Problem}
	}
	return results, err
}

// wireStep is a step as the daemon is told of it, without what it knows.
func wireStep(step *plan.Step, commits map[string][]string) wire.Step {
	w := wire.Step{ID: step.ID, Mode: step.Mode}
	if w.Locked = lockfile.Locked(step.Matcher); w.Locked == nil && step.Matcher.String() != "only" {
		w.Match = step.Matcher.String()
	}
	if l := step.Limits; l != (spec.Limits{}) {
		w.Limits = &wire.Limits{Memory: int64(l.Memory), Pids: l.Pids, CPU: l.CPU, Wall: l.Wall, Silence: l.Silence, Output: int64(l.Output),
			Files: l.Files, Log: int64(l.Log)}
	}
	for _, source := range step.Derivation.Sources {
		w.URLs = append(w.URLs, commits[source.Digest]...)
	}
	return w
}

// remoteResults reads what was selected from the store.
func (a *app) remoteResults(p *plan.Plan, done *wire.Done) (list []build.Result, err error) {
	byID := map[artifact.DerivationID]*plan.Step{}
	for _, t := range p.Targets {
		byID[t.ID] = t
	}
	for _, r := range done.Results {
		result := build.Result{Step: byID[r.ID], Cached: r.Cached, Built: r.Built, Duration: time.Duration(r.Seconds * float64(time.Second))}
		for _, id := range r.Realizations {
			found, err := a.openStore.Realization(id)
			if err != nil {
				return list, err
			}
			result.Realizations = append(result.Realizations, found)
		}
		if result.Step != nil && result.Realizations != nil {
			list = append(list, result)
		}
	}
	return list, nil
}
