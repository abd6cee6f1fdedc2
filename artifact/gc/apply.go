package gc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"hdjail/artifact/lease"
	"hdjail/artifact/store"
)

// Collect reads the store, plans and applies, under the lock that keeps those away who are about to use something. What was
// taken out of the store is deleted after that lock is given back. The roots are those that the store does not know itself.
// It returns the plan with what was done of it, all of it unless there is an error.
func Collect(ctx context.Context, s *store.Store, o Options, roots func() ([]store.Root, error), wait lease.Options) (*Plan, error) {
	l, err := s.LockToFree(ctx, wait)
	if err != nil {
		return nil, err
	}
	defer s.FillReserve()
	defer l.Release()
	plan, err := look(ctx, s, o, roots)
	if err != nil {
		return nil, err
	}
	bin, err := s.NewBin()
	if err != nil {
		return nil, err
	}
	places := make([]string, len(plan.Steps))
	for i := range plan.Steps {
		if err = context.Cause(ctx); err == nil {
			places[i], err = plan.Steps[i].Apply(s, bin)
		}
		if err != nil {
			plan.Steps = plan.Steps[:i]
			break
		}
	}
	err = errors.Join(err, l.Release())
	return plan, errors.Join(err, plan.measureGone(places), bin.Close())
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
func (p *Plan) measureGone(places []string) error {
	var failed error
	p.Freed = 0
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.Bytes < 0 {
			s.Bytes = 0
			if places[i] != "" {
				s.Bytes, failed = s.measure(places[i], failed)
			}
		}
		p.Freed += s.Bytes
	}
	return failed
}

func (s *Step) measure(place string, failed error) (int64, error) {
	if s.Kind == Realization {
		place += "/out"
	}
	n, err := content(place, s.Kind == Tree)
	return n, errors.Join(failed, err)
}

// Apply takes what the step removes out of the store, and returns the place of its content in the bin, "" for none.
func (s *Step) Apply(in *store.Store, bin *store.Bin) (place string, err error) {
	switch s.Kind {
	case Realization:
		public := ""
		if s.Name != "" {
			public = s.derivation.StoreName(s.Name, s.Version)
		}
		place, err = bin.TakeRealization(s.realization, public, s.heir)
	case Drv:
		place, _, err = bin.TakeDerivation(s.derivation)
	case Link:
		err = in.ForgetLink(s.root)
	default:
		place, err = bin.Take(s.place)
		if err == nil && strings.HasPrefix(s.ID, "git:") {
			_, err = bin.Take(s.place + ".digest")
		}
	}
	if err != nil {
		err = fmt.Errorf("collect %s %s: %w", s.Kind, s.ID, err)
	}
	return place, err
}
