package verify

import (
	"errors"
	"fmt"
	"slices"

	"hdjail/artifact"
	"hdjail/artifact/store"
)

// roots looks whether what is rooted is there, and that every root can be read.
func (c *checker) roots(others func() ([]store.Root, error)) {
	own, err1 := c.store.Roots()
	_, err2 := c.store.Leases()
	more, err3 := others()
	for _, err := range slices.Concat(parts(err1), parts(err2), parts(err3)) {
		if bad := (*store.RootError)(nil); errors.As(err, &bad) {
			c.looked(Problem{Kind: Root, ID: bad.Name, Path: "gcroots/" + bad.Name}, 0, errors.New(bad.Err.Error()))
		}
	}
	w := walk{checker: c, realizations: map[artifact.RealizationID]bool{}, derivations: map[artifact.DerivationID]bool{},
		whole: map[artifact.DerivationID]bool{}, inputs: map[string]bool{}, of: map[artifact.DerivationID][]artifact.RealizationID{}}
	for id, e := range c.entries {
		w.of[e.Derivation] = append(w.of[e.Derivation], id)
	}
	for _, r := range append(own, more...) {
		if r.Kind == store.Link {
			if gone, err := c.store.LinkGone(r); gone && err == nil {
				continue // a collection forgets it
			}
		}
		by := r.Kind + " " + r.Name
		if r.Realization.IsZero() {
			w.derivation(r.Derivation, by, true)
		} else {
			w.realization(r.Realization, r.Derivation, by)
		}
	}
	c.rooted = w.inputs
}

// walk follows roots down to their inputs. Its maps are what it has seen.
type walk struct {
	*checker
	realizations       map[artifact.RealizationID]bool
	derivations, whole map[artifact.DerivationID]bool
	inputs             map[string]bool
	// of are the realizations of a derivation whose manifests are right.
	of map[artifact.DerivationID][]artifact.RealizationID
}

// realization looks at what a root needs. What it was built with and is gone is a problem of its context already.
func (w *walk) realization(id artifact.RealizationID, of artifact.DerivationID, by string) {
	if w.realizations[id] {
		return
	}
	w.realizations[id] = true
	e, whole := w.entries[id]
	if !exists(w.store.Path("realizations", id.String())) {
		if of.IsZero() {
			of, _ = w.store.MadeFrom(id) // zero says that nobody knows
		}
		w.looked(Problem{Kind: Missing, ID: id.String(), Path: "realizations/" + id.String(), realization: id, derivation: of}, 0,
			fmt.Errorf("%s needs it, and the store does not have it", by))
		if !of.IsZero() {
			w.derivation(of, by, false)
		}
		return
	}
	if !whole {
		return // it is a problem itself, or new
	}
	w.derivation(e.Derivation, by, false)
	for _, used := range e.Context {
		for _, u := range used {
			if exists(w.store.Path("realizations", u.String())) {
				w.realization(u, artifact.DerivationID{}, by)
			}
		}
	}
}

// derivation looks at a derivation and its inputs; with whole also at those below it and at all realizations of these.
func (w *walk) derivation(id artifact.DerivationID, by string, whole bool) {
	if w.whole[id] || !whole && w.derivations[id] {
		return
	}
	again := w.derivations[id]
	w.derivations[id], w.whole[id] = true, whole
	d, err := w.store.Derivation(id)
	if errors.As(err, new(*store.NotFoundError)) && len(w.of[id]) == 0 {
		w.looked(Problem{Kind: Missing, ID: id.String(), Path: "derivations/" + id.String() + ".json"}, 0,
			fmt.Errorf("%s needs it, and the store does not have it", by))
	}
	if err != nil {
		return // it is a problem itself
	}
	records, err := w.store.Records(id)
	if err != nil {
		return
	}
	if !again && hasRun(records, true) {
		w.inputsOf(d, by)
	}
	if !whole {
		return
	}
	if len(w.of[id]) == 0 && hasRun(records, false) && !w.hasDamaged(records) {
		w.looked(Problem{Kind: Missing, ID: id.String(), Path: "builds/" + id.String(), derivation: id}, 0,
			fmt.Errorf("%s needs its realizations, and the store has none of them", by))
	}
	for _, r := range w.of[id] {
		w.realization(r, id, by)
	}
	for _, dep := range d.Dependencies {
		w.derivation(dep.ID, by, true)
	}
}

// hasDamaged reports whether one of the realizations is there, though its manifest is not right.
func (w *walk) hasDamaged(records []artifact.BuildRecord) bool {
	for _, r := range records {
		if !r.Realization.IsZero() && exists(w.store.Path("realizations", r.Realization.String())) {
			return true
		}
	}
	return false
}

// hasRun reports whether a build gave a realization; here tells whether only those of this store count, which had the inputs.
func hasRun(records []artifact.BuildRecord, here bool) bool {
	for _, r := range records {
		if r.Failure == "" && (!here || r.Purpose == "build") {
			return true
		}
	}
	return false
}

// inputsOf looks whether the inputs of a derivation that was built here are still there.
func (w *walk) inputsOf(d *artifact.Derivation, by string) {
	for _, s := range d.Sources {
		w.input(Problem{Kind: Source, ID: s.Digest, Path: w.relative(w.store.SourcePath(s.Digest))}, d.Name, by)
	}
	for _, p := range d.HostPackages {
		w.input(Problem{Kind: Package, ID: p.Digest.String(), Path: w.relative(w.store.HostPackagePath(p.Digest))}, d.Name, by)
	}
}

func (w *walk) input(p Problem, name, by string) {
	if w.inputs[p.ID] {
		return
	}
	w.inputs[p.ID] = true
	if !exists(w.store.Path(p.Path)) {
		w.looked(p, 0, fmt.Errorf("%s was built from it, which %s needs, and the store does not have it", name, by))
	}
}
