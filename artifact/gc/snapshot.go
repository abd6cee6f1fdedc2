package gc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"hdjail/artifact"
	"hdjail/artifact/store"
)

// Snapshot is what a store holds and why, as of one moment.
type Snapshot struct {
	Realizations []store.Entry
	Derivations  []Derivation
	// Roots are those that count. Gone are the records of links that are no more.
	Roots, Gone []store.Root
	// Uses are the leases of living processes.
	Uses []store.Use
	// Sources and Packages are inputs by their digests, in text form; Trees, by path, are composed of packages.
	Sources, Packages, Trees []Thing
}

// Derivation is one that the store knows. Missing says that only its records, or realizations, are there.
type Derivation struct {
	ID artifact.DerivationID
	store.Outline
	Missing bool
}

// Thing is a file or directory of the store. Bytes is its content, -1 if nobody has counted.
type Thing struct {
	Name  string
	Path  string
	Bytes int64
	Time  time.Time
	// composed tells a tree whose files may be other names of those of packages.
	composed bool
}

// Read looks at all of a store. The roots are those that the store does not know itself. A root or manifest that cannot be
// read is an error: what it keeps is not known. Nothing is changed, but for leases of dead processes.
func Read(ctx context.Context, s *store.Store, roots []store.Root) (*Snapshot, error) {
	own, err := s.Roots()
	if err != nil {
		return nil, err
	}
	uses, err := s.Leases()
	if err != nil {
		return nil, err
	}
	snap, err := Contents(ctx, s)
	if err != nil {
		return nil, err
	}
	snap.Roots = slices.Clone(roots)
	for _, r := range own {
		if gone, err := r.LinkGone(); r.Kind == store.Link && gone && err == nil {
			snap.Gone = append(snap.Gone, r)
			continue
		}
		snap.Roots = append(snap.Roots, r)
	}
	for _, u := range uses {
		snap.Uses = append(snap.Uses, u)
	}
	for i := range snap.Roots {
		if r := &snap.Roots[i]; r.Derivation.IsZero() && !s.Has(r.Realization) {
			r.Derivation, _ = s.MadeFrom(r.Realization) // zero says that nobody knows
		}
	}
	return snap, nil
}

// Contents is Read without roots and leases.
func Contents(ctx context.Context, s *store.Store) (*Snapshot, error) {
	snap := &Snapshot{}
	var realizations []artifact.RealizationID
	var derivations, recorded []artifact.DerivationID
	var lists errgroup.Group
	lists.Go(func() (err error) { realizations, err = s.RealizationIDs(); return err })
	lists.Go(func() (err error) { derivations, err = s.DerivationIDs(); return err })
	lists.Go(func() (err error) { recorded, err = s.RecordedIDs(); return err })
	lists.Go(func() error { return snap.readInputs(s) })
	if err := lists.Wait(); err != nil {
		return nil, err
	}
	if err := snap.readRealizations(ctx, s, realizations); err != nil {
		return nil, err
	}
	return snap, snap.readDerivations(ctx, s, derivations, recorded)
}

func (snap *Snapshot) readInputs(s *store.Store) error {
	sources, err := s.Sources()
	if err != nil {
		return err
	}
	for _, digest := range sources {
		snap.Sources = append(snap.Sources, thing(digest, s.SourcePath(digest)))
	}
	packages, err := s.HostPackages()
	if err != nil {
		return err
	}
	for _, digest := range packages {
		snap.Packages = append(snap.Packages, thing(digest.String(), s.HostPackagePath(digest)))
	}
	trees, err := s.HostTrees()
	for _, path := range trees {
		t := thing(filepath.Base(path), path)
		t.composed = true
		snap.Trees = append(snap.Trees, t)
	}
	return err
}

// thing describes an input. The time of its content says nothing, that of its inode when it came.
func thing(name, path string) Thing {
	t := Thing{Name: name, Path: path, Bytes: -1}
	if info, err := os.Lstat(path); err == nil {
		t.Time = changed(info)
		if info.Mode().IsRegular() {
			t.Bytes = info.Size()
		}
	}
	return t
}

func (snap *Snapshot) readRealizations(ctx context.Context, s *store.Store, ids []artifact.RealizationID) error {
	entries := make([]store.Entry, len(ids))
	err := each(ctx, len(ids), func(first, end int) error {
		r := s.Reader()
		for i := first; i < end; i++ {
			e, err := r.Entry(ids[i])
			if err != nil && !errors.As(err, new(*store.NotFoundError)) {
				return err
			}
			entries[i] = e
		}
		return nil
	})
	snap.Realizations = slices.DeleteFunc(entries, func(e store.Entry) bool { return e.ID.IsZero() })
	return err
}

// readDerivations reads those that are stored, and adds those of which only records or realizations are there.
func (snap *Snapshot) readDerivations(ctx context.Context, s *store.Store, ids, recorded []artifact.DerivationID) error {
	stored := len(ids)
	seen := make(map[artifact.DerivationID]bool, len(ids))
	for _, id := range ids {
		seen[id] = true
	}
	add := func(id artifact.DerivationID) {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for _, id := range recorded {
		add(id)
	}
	for i := range snap.Realizations {
		add(snap.Realizations[i].Derivation)
	}
	known := make(map[string]bool, len(snap.Sources)+len(snap.Packages))
	for _, list := range [][]Thing{snap.Sources, snap.Packages} {
		for _, t := range list {
			known[t.Name] = true
		}
	}
	snap.Derivations = make([]Derivation, len(ids))
	return each(ctx, len(ids), func(first, end int) error {
		r := s.Reader()
		r.Known = known
		for i := first; i < end; i++ {
			d := &snap.Derivations[i]
			d.ID, d.Missing = ids[i], i >= stored
			if d.Missing {
				continue
			}
			var err error
			d.Outline, err = r.Outline(d.ID)
			if d.Missing = errors.As(err, new(*store.NotFoundError)); err != nil && !d.Missing {
				return err
			}
		}
		return nil
	})
}

// each calls do for parts of n, several at once.
func each(ctx context.Context, n int, do func(first, end int) error) error {
	const part = 512
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.GOMAXPROCS(0))
	for first := 0; first < n; first += part {
		group.Go(func() error {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			return do(first, min(first+part, n))
		})
	}
	return group.Wait()
}
