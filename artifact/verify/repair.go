package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"hdjail/artifact"
	"hdjail/artifact/lease"
	"hdjail/artifact/store"
)

// Todo is what has to be made anew after a quarantine.
type Todo struct {
	// Build are the derivations of realizations that are gone, Fetch the digests of sources.
	Build []artifact.DerivationID
	Fetch []string
}

// Quarantine moves everything damaged out of the way, under the lock of collections, and mends what follows from the rest
// of the store: build records and public paths. Problems say what was done, and what is left to do.
func (r *Report) Quarantine(ctx context.Context, s *store.Store, wait lease.Options) (Todo, error) {
	l, err := s.LockToFree(ctx, wait)
	if err != nil {
		return Todo{}, err
	}
	defer s.FillReserve()
	defer l.Release()
	var todo Todo
	for i := range r.Problems {
		if err := context.Cause(ctx); err != nil {
			return todo, err
		}
		p := &r.Problems[i]
		if err := p.quarantine(s, &todo); err != nil {
			return todo, err
		}
		if p.Kind == Package && r.rooted[p.ID] {
			p.Repaired, p.Needs = "", "hdjail build SPEC takes it again, if the host still has the package in that state"
		}
	}
	todo.Build = inOrder(s, todo.Build)
	return todo, errors.Join(s.Complete(ctx), mendPublic(s), l.Release())
}

// inOrder sorts derivations so that each follows what it depends on, once.
func inOrder(s *store.Store, list []artifact.DerivationID) (sorted []artifact.DerivationID) {
	slices.SortFunc(list, func(a, b artifact.DerivationID) int { return slices.Compare(a[:], b[:]) })
	seen := map[artifact.DerivationID]bool{}
	var visit func(id artifact.DerivationID)
	visit = func(id artifact.DerivationID) {
		if seen[id] {
			return
		}
		seen[id] = true
		if d, err := s.Derivation(id); err == nil {
			for _, dep := range d.Dependencies {
				visit(dep.ID)
			}
		}
		if _, wanted := slices.BinarySearchFunc(list, id, func(a, b artifact.DerivationID) int { return slices.Compare(a[:], b[:]) }); wanted {
			sorted = append(sorted, id)
		}
	}
	for _, id := range list {
		visit(id)
	}
	return sorted
}

// mendPublic removes public paths that lead to what was moved away, or leads them elsewhere.
func mendPublic(s *store.Store) error {
	links, err := s.PublicLinks()
	for name, id := range links {
		if !exists(s.Path("realizations", id.String())) {
			p := Problem{ID: name}
			err = errors.Join(err, p.relink(s))
		}
	}
	return err
}

func (p *Problem) quarantine(s *store.Store, todo *Todo) error {
	switch p.Kind {
	case Context, Missing:
		if p.derivation.IsZero() || !exists(s.Path("derivations", p.derivation.String()+".json")) {
			p.Needs = "build the spec again: hdjail build SPEC"
			return nil
		}
		todo.Build = append(todo.Build, p.derivation)
		p.Needs = "the same result again"
		return nil
	case Root:
		if p.Needs != "" {
			return nil // who found it knows better
		}
		p.Needs = "make it readable, or remove it if you know what it kept"
		return nil
	case Public:
		return p.relink(s)
	}
	place, err := s.Quarantine(p.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("quarantine %s %s: %w", p.Kind, p.ID, err)
	}
	if err != nil && p.Kind != Source && p.Kind != Package { // those are missed by somebody
		p.Repaired = "it is gone"
		return nil
	}
	p.Quarantine = place
	switch p.Kind {
	case Realization:
		p.Needs = "build it again: hdjail build SPEC"
		if !p.derivation.IsZero() {
			todo.Build = append(todo.Build, p.derivation)
		}
	case Derivation:
		p.Needs = "its spec: hdjail build SPEC writes it again"
	case Source:
		todo.Fetch = append(todo.Fetch, p.ID)
		p.Needs = "hdjail fetch SPEC, or hdjail source add FILE"
	case Package:
		return p.dropTrees(s)
	case Record, Log, Audit:
		p.Repaired = "moved out of the way"
	}
	return nil
}

// dropTrees deletes what was composed of a damaged snapshot, whose files are other names of its own. A build composes its
// tree again, and takes the snapshot again if the host still has that package.
func (p *Problem) dropTrees(s *store.Store) error {
	trees, err := s.HostTrees()
	if err != nil {
		return err
	}
	bin, err := s.NewBin()
	if err != nil {
		return err
	}
	for _, path := range trees {
		_, taken := bin.Take(path)
		err = errors.Join(err, taken)
	}
	err = errors.Join(err, bin.Close())
	p.Repaired = "the next build takes the snapshot again, if the host still has the package in that state"
	return err
}

// relink makes a public path lead to a realization that the store has, or removes it.
func (p *Problem) relink(s *store.Store) error {
	target := artifact.RealizationID{}
	if len(p.ID) > artifact.IDLength {
		if id, err := artifact.ParseDerivationID(p.ID[:artifact.IDLength]); err == nil {
			found, err := s.Realizations(id)
			if err == nil && len(found) > 0 {
				target = found[0].ID
			}
		}
	}
	p.Repaired = "removed"
	if !target.IsZero() {
		p.Repaired = "leads to " + target.String()
	}
	return s.Relink(p.ID, target)
}

// Built looks which of the realizations that were missing are there again, after builds, and adds the problems of those that
// were built with one that is not.
func (r *Report) Built(s *store.Store) {
	for i := range r.Problems {
		p := &r.Problems[i]
		mends := p.Kind == Missing || p.Kind == Context || p.Kind == Realization && p.Quarantine != ""
		if mends && p.Repaired == "" && p.back(s) {
			p.Repaired, p.Needs = "built again", ""
		}
	}
	for _, p := range r.contexts(s) {
		known := slices.ContainsFunc(r.Problems, func(q Problem) bool { return q.Kind == Context && q.ID == p.ID && q.Reason == p.Reason })
		if !known {
			p.Needs = "the same result again"
			r.Problems = append(r.Problems, p)
		}
	}
}

// Lacks reports whether something is still missing that a build of the derivation may give.
func (r *Report) Lacks(s *store.Store, id artifact.DerivationID) bool {
	return slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.derivation == id && p.Repaired == "" && !p.back(s) })
}

// back reports whether the store has what a problem lacked: the realization, or any of the derivation.
func (p *Problem) back(s *store.Store) bool {
	if !p.realization.IsZero() {
		return exists(s.Path("realizations", p.realization.String()))
	}
	found, err := s.Realizations(p.derivation)
	return err == nil && !p.derivation.IsZero() && slices.ContainsFunc(found, func(r artifact.Realization) bool { return s.Has(r.ID) })
}

// Fetched notes that a source is there again.
func (r *Report) Fetched(digest string) {
	for i := range r.Problems {
		if p := &r.Problems[i]; p.Kind == Source && p.ID == digest {
			p.Repaired, p.Needs = "fetched again", ""
		}
	}
}
