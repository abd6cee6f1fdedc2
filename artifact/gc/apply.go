package gc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"hdjail/artifact/lease"
	"hdjail/artifact/store"
)

// Collect reads the store, plans and applies, under the lock that keeps those away who are about to use something. What was
// taken out of the store is deleted after that lock is given back. The roots are those that the store does not know itself.
// It returns the plan with what was done of it, all of it unless there is an error.
func Collect(ctx context.Context, s *store.Store, o Options, roots func() ([]store.Root, error), wait lease.Options) (*Plan, error) {
	l, err := s.LockRoots(ctx, wait)
	if err != nil {
		return nil, err
	}
	defer l.Release()
	plan, err := look(ctx, s, o, roots)
	if err != nil {
		return nil, err
	}
	gone := make([][]*store.Temp, len(plan.Steps))
	for i := range plan.Steps {
		if err = context.Cause(ctx); err == nil {
			gone[i], err = plan.Steps[i].Apply(ctx, s)
		}
		if err != nil {
			plan.Steps = plan.Steps[:i]
			break
		}
	}
	err = errors.Join(err, l.Release())
	return plan, errors.Join(err, plan.measureGone(gone), discard(gone))
}

// Preview reads the store and plans, and changes nothing. Every size is measured.
func Preview(ctx context.Context, s *store.Store, o Options, roots func() ([]store.Root, error)) (*Plan, error) {
	plan, err := look(ctx, s, o, roots)
	if err != nil {
		return nil, err
	}
	return plan, plan.Measure(ctx, s)
}

func look(ctx context.Context, s *store.Store, o Options, roots func() ([]store.Root, error)) (*Plan, error) {
	others, err := roots()
	if err != nil {
		return nil, err
	}
	snap, err := Read(ctx, s, others)
	if err != nil {
		return nil, err
	}
	if o.MaxBytes >= 0 {
		if err := snap.Measure(ctx, s); err != nil {
			return nil, err
		}
	}
	return New(snap, o), nil
}

// measureGone counts what was taken out and nobody has counted.
func (p *Plan) measureGone(gone [][]*store.Temp) error {
	var failed error
	p.Freed = 0
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.Bytes < 0 {
			s.Bytes = 0
			for _, t := range gone[i] {
				if t != nil {
					n, err := content(t.Dir, s.Kind == Tree)
					s.Bytes, failed = s.Bytes+n, errors.Join(failed, err)
				}
			}
		}
		p.Freed += s.Bytes
	}
	return failed
}

// Apply takes what the step removes out of the store. It is in what is returned, to be closed when there is time; what was
// not there is nil.
func (s *Step) Apply(ctx context.Context, in *store.Store) (temps []*store.Temp, err error) {
	var t *store.Temp
	switch s.Kind {
	case Realization:
		public := ""
		if s.Name != "" {
			public = s.derivation.StoreName(s.Name, s.Version)
		}
		t, err = in.RetireRealization(s.realization, public, s.heir)
	case Drv:
		temps, err = in.RetireDerivation(s.derivation)
	case Link:
		err = in.ForgetLink(s.root)
	default:
		t, err = in.Retire(s.place)
		if err == nil && strings.HasPrefix(s.ID, "git:") {
			var noted *store.Temp
			noted, err = in.Retire(s.place + ".digest")
			temps = append(temps, noted)
		}
	}
	temps = append(temps, t)
	if err != nil {
		err = fmt.Errorf("collect %s %s: %w", s.Kind, s.ID, err)
	}
	return temps, err
}

// discard deletes what was taken out, several at once: most of it is waiting for the disk.
func discard(gone [][]*store.Temp) error {
	var group errgroup.Group
	group.SetLimit(4)
	for _, temps := range gone {
		for _, t := range temps {
			if t != nil {
				group.Go(t.Close)
			}
		}
	}
	return group.Wait()
}
