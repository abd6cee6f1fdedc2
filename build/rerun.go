package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"hdjail/artifact"
	"hdjail/artifact/tree"
	"hdjail/build/jailplan"
	"hdjail/build/plan"
	"hdjail/build/sources"
	"hdjail/jail"
)

// Rerun is a build that is run again to see whether the same comes out. It differs from other runs in what no build should
// depend on.
type Rerun struct {
	Vary jail.Vary
	// Reorder, unless 0, has the directories of the sources list their entries in another order, a different one for each number.
	Reorder byte
	// Scratch is a directory, outside the store, in which the run works; empty for the store.
	Scratch string
	// Expected is the tree that should come out. With Keep, the build directory of a run that leaves another one is kept.
	Expected artifact.TreeDigest
	Keep     bool
}

// Reran is what a rerun gave.
type Reran struct {
	Realization artifact.Realization
	// Record is that of this run; its purpose is "check".
	Record artifact.BuildRecord
	// Reordered tells that a directory of the sources had another order than without Rerun.Reorder.
	Reordered bool
	// Kept is where the build directory is, empty when it was removed.
	Kept string
}

// rerunning is the rerun that a run is part of, and what is known of it.
type rerunning struct {
	Rerun
	Reran
}

// TaskOf returns the task of a step's build that uses just these realizations of what is below it. They are in the store. A
// dependency without one gives *Unrealized.
func (b *Builder) TaskOf(p *plan.Plan, step *plan.Step, chosen map[artifact.DerivationID][]artifact.RealizationID) (Task, error) {
	s := newSchedule(b, p, Options{Jobs: 1, CPUs: max(b.CPUs, 1)})
	s.shown = make([]jailplan.Dependency, len(p.Steps))
	for i, below := range p.Steps {
		s.results[i].Step = below
		for _, id := range chosen[below.ID] {
			r, err := b.Store.Realization(id)
			if err != nil {
				return Task{}, fmt.Errorf("realize %s: %w", below.Name(), err)
			}
			s.results[i].Realizations = append(s.results[i].Realizations, r)
		}
		s.show(&s.results[i])
	}
	for _, dep := range step.Dependencies {
		if len(chosen[dep.ID]) == 0 {
			return Task{}, &Unrealized{ID: dep.ID, Name: dep.Name()}
		}
	}
	t, err := s.task(step, 0)
	if err == nil {
		t.Closure = s.closure(step)
	}
	return t, err
}

// Rerun runs the build of a task, whatever there is already, and registers what comes out as the result of a check, which
// no matcher but exact selects while only checks gave it. A build that failed is a *Failure, and has a build record.
func (b *Builder) Rerun(ctx context.Context, t Task, o Rerun) (Reran, error) {
	t.rerun = &rerunning{Rerun: o}
	b.send(t.Step, Event{Event: "build.start"})
	lock, err := b.lock(ctx, t.Step)
	if err != nil {
		return Reran{}, err
	}
	defer lock.Release()
	started := b.Now()
	_, err = b.run(ctx, t, lock)
	result := Result{Step: t.Step, Err: err, Duration: b.Now().Sub(started)}
	if err == nil {
		result.Realizations = []artifact.Realization{t.rerun.Realization}
	}
	b.report(&result)
	return t.rerun.Reran, err
}

// place is where the scratch of a run is made: in the temporary directory of the store, or where a rerun wants it.
func (r *run) place() (string, error) {
	if r.t.rerun == nil || r.t.rerun.Scratch == "" {
		return r.temp.Dir, nil
	}
	dir, err := os.MkdirTemp(r.t.rerun.Scratch, "hdjail-check-")
	if err != nil {
		return "", err
	}
	r.elsewhere = dir
	return dir, os.Chmod(dir, 0o711) // the jail's ids pass through
}

// closePlace removes the scratch that is not in the store.
func (r *run) closePlace() error {
	if r.elsewhere == "" {
		return nil
	}
	parent, err := os.Open(filepath.Dir(r.elsewhere))
	if err != nil {
		return err
	}
	defer parent.Close()
	err = tree.Remove(parent, filepath.Base(r.elsewhere))
	r.elsewhere = ""
	return err
}

// reorder changes the order of the sources in dir if this is a rerun that wants it.
func (r *run) reorder(ctx context.Context, dir *os.File) (err error) {
	if r.t.rerun == nil || r.t.rerun.Reorder == 0 {
		return nil
	}
	r.t.rerun.Reordered, err = sources.Reorder(ctx, dir, r.t.rerun.Reorder)
	return err
}

// purpose is what the build record says the run was for.
func (r *run) purpose() string {
	if r.t.rerun != nil {
		return "check"
	}
	return "build"
}

// vary changes a planned jail if this is a rerun.
func (r *run) vary(c *jail.Config) {
	if r.t.rerun != nil {
		c.Vary = r.t.rerun.Vary
	}
}

// registered notes what a rerun gave.
func (r *run) registered(stored artifact.Realization) (err error) {
	o := r.t.rerun
	if o == nil {
		return nil
	}
	o.Realization, o.Record = stored, stored.Records[len(stored.Records)-1]
	if o.Keep && stored.Tree != o.Expected {
		o.Kept, err = r.keep()
	}
	return err
}
