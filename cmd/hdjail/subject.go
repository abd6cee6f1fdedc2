package main

import (
	"context"
	"errors"
	"os"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/build/plan"
)

// subjects finds what words of the command line mean, and what that depends on: in the plans of specs, which the store need
// not have, then in the store.
type subjects struct {
	*store.Store
	a       *app
	planned map[artifact.DerivationID]*plan.Step
}

// subject is a derivation, and one realization of it when that was named. Plan is that of a spec, else nil.
type subject struct {
	store.Ref
	plan *plan.Plan
}

// subjects opens the store for the words: to write if one may be a spec, whose sources and host packages are kept when it is
// resolved, and if the store can be written.
func (a *app) subjects(words ...string) (*subjects, error) {
	open := a.storeToRead
	for _, word := range words {
		if _, err := os.Stat(a.absolute(word)); err == nil {
			open = a.store
		}
	}
	s, err := open()
	if denied := (*store.AccessError)(nil); errors.As(err, &denied) {
		s, err = a.storeToRead()
	}
	return &subjects{s, a, map[artifact.DerivationID]*plan.Step{}}, err
}

// find finds what a word means.
func (s *subjects) find(ctx context.Context, word string) (subject, error) {
	ref, p, err := s.a.resolve(ctx, s.Store, word)
	if err == nil && p != nil {
		s.add(p)
	}
	return subject{ref, p}, err
}

// add takes the steps of a plan.
func (s *subjects) add(p *plan.Plan) {
	for _, step := range p.Steps {
		s.planned[step.ID] = step
	}
}

// Derivation implements compare.Lookup.
func (s *subjects) Derivation(id artifact.DerivationID) (*artifact.Derivation, error) {
	if step, ok := s.planned[id]; ok {
		return &step.Derivation, nil
	}
	return s.Store.Derivation(id)
}
