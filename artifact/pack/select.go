package pack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"hdjail/artifact"
	"hdjail/artifact/store"
)

// Request says what goes along.
type Request struct {
	// Roots are realizations, or derivations, which stand for themselves, everything below them, and all their realizations.
	Roots []store.Ref
	// Have reports whether the other side has a realization, and so all that it was built with; nil for nothing.
	Have func(artifact.RealizationID) bool
	// Sources asks for what the derivations are built from, too, but for git commits.
	Sources bool
}

// Selection is what goes along, of one store.
type Selection struct {
	Header Header
	// Unbuilt names the derivations among the roots that have no realization.
	Unbuilt []string

	store        *store.Store
	realizations map[artifact.RealizationID]artifact.Realization
	// numbers are those of the newest runs.
	numbers map[artifact.RealizationID]int
}

// Select finds the closure of the roots: the realizations that each was built with, and the derivations of all of them. One
// that the store lacks gives *store.NotFoundError, derivations with several prefixes *PrefixError.
func Select(ctx context.Context, s *store.Store, r Request) (*Selection, error) {
	c := &selector{store: s, request: r, derivations: map[artifact.DerivationID]*artifact.Derivation{},
		realizations: map[artifact.RealizationID]artifact.Realization{}, numbers: map[artifact.RealizationID]int{}}
	for _, ref := range r.Roots {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := c.root(ref); err != nil {
			return nil, err
		}
	}
	had := c.had()
	selection := &Selection{store: s, realizations: c.realizations, numbers: c.numbers, Unbuilt: c.unbuilt}
	var err error
	selection.Header, err = c.header(had)
	for id := range had {
		delete(c.realizations, id)
	}
	return selection, err
}

// selector collects the closure.
type selector struct {
	store   *store.Store
	request Request
	roots   []Root
	results []artifact.RealizationID // those of the roots
	unbuilt []string
	// derivations has all that were reached, without their scripts and host packages; realizations all that were reached,
	// each with the one record that goes along.
	derivations  map[artifact.DerivationID]*artifact.Derivation
	realizations map[artifact.RealizationID]artifact.Realization
	numbers      map[artifact.RealizationID]int
}

func (c *selector) root(ref store.Ref) error {
	c.roots = append(c.roots, Root{ref.Derivation, ref.Realization})
	if !ref.Realization.IsZero() {
		c.results = append(c.results, ref.Realization)
		return c.reach(ref.Realization)
	}
	if err := c.reachDerivation(ref.Derivation); err != nil {
		return err
	}
	all, err := c.store.Realizations(ref.Derivation)
	if len(all) == 0 && err == nil {
		c.unbuilt = append(c.unbuilt, c.derivations[ref.Derivation].Label())
	}
	for _, r := range all {
		c.results = append(c.results, r.ID)
		err = errors.Join(err, c.reach(r.ID))
	}
	return err
}

// reach adds a realization and everything that it was built with.
func (c *selector) reach(id artifact.RealizationID) error {
	for queue := []artifact.RealizationID{id}; len(queue) > 0; {
		id := queue[0]
		queue = queue[1:]
		if _, ok := c.realizations[id]; ok {
			continue
		}
		r, err := c.store.Realization(id)
		if err != nil {
			return err
		}
		c.numbers[id] = r.Records[len(r.Records)-1].Number
		r.Records = []artifact.BuildRecord{told(r.Records)}
		c.realizations[id] = r
		if err := c.derivation(r.Derivation); err != nil {
			return err
		}
		for _, chosen := range r.Context {
			queue = append(queue, chosen...)
		}
	}
	return nil
}

// reachDerivation adds a derivation and everything below it.
func (c *selector) reachDerivation(id artifact.DerivationID) error {
	seen := map[artifact.DerivationID]bool{}
	for queue := []artifact.DerivationID{id}; len(queue) > 0; queue = queue[1:] {
		if seen[queue[0]] {
			continue
		}
		seen[queue[0]] = true
		if err := c.derivation(queue[0]); err != nil {
			return err
		}
		for _, dep := range c.derivations[queue[0]].Dependencies {
			queue = append(queue, dep.ID)
		}
	}
	return nil
}

func (c *selector) derivation(id artifact.DerivationID) error {
	if _, ok := c.derivations[id]; ok {
		return nil
	}
	d, err := c.store.Derivation(id)
	if err != nil {
		return err
	}
	c.derivations[id] = &artifact.Derivation{Name: d.Name, Version: d.Version, Prefix: d.Prefix, Dependencies: d.Dependencies, Sources: d.Sources}
	return nil
}

// told is the run that an archive tells of: the first one that was not only a check.
func told(records []artifact.BuildRecord) artifact.BuildRecord {
	i := max(slices.IndexFunc(records, func(r artifact.BuildRecord) bool { return r.Purpose != "check" }), 0)
	return records[i]
}

// had are the realizations that the other side has: those it says, and what they were built with.
func (c *selector) had() map[artifact.RealizationID]bool {
	had := map[artifact.RealizationID]bool{}
	if c.request.Have == nil {
		return had
	}
	var queue []artifact.RealizationID
	for id := range c.realizations {
		if c.request.Have(id) {
			queue = append(queue, id)
		}
	}
	for ; len(queue) > 0; queue = queue[1:] {
		if !had[queue[0]] {
			had[queue[0]] = true
			for _, chosen := range c.realizations[queue[0]].Context {
				queue = append(queue, chosen...)
			}
		}
	}
	return had
}

// header lists what was collected, less what the other side has.
func (c *selector) header(had map[artifact.RealizationID]bool) (Header, error) {
	h := Header{Format: formatVersion, Roots: c.roots, Derivations: []artifact.DerivationID{}, Realizations: []artifact.RealizationID{},
		Omitted: []Omitted{}, Sources: []string{}}
	there := map[artifact.DerivationID]bool{} // on the other side, and needed by nothing here
	omitted := map[artifact.RealizationID]bool{}
	for id := range had {
		there[c.realizations[id].Derivation] = true
	}
	for id, r := range c.realizations {
		if had[id] {
			continue
		}
		h.Realizations = append(h.Realizations, id)
		there[r.Derivation] = false
		for _, chosen := range r.Context {
			for _, x := range chosen {
				omitted[x] = had[x]
			}
		}
	}
	for _, id := range c.results {
		omitted[id] = had[id]
	}
	for id, left := range omitted {
		if left {
			d := c.realizations[id].Derivation
			h.Omitted = append(h.Omitted, Omitted{id, d, c.derivations[d].Label()})
		}
	}
	for id, d := range c.derivations {
		if h.Prefix == "" {
			h.Prefix = d.Prefix
		}
		if d.Prefix != h.Prefix {
			return h, &PrefixError{"derivation " + id.String(), d.Prefix, "another one in its closure", h.Prefix}
		}
		if !there[id] {
			h.Derivations = append(h.Derivations, id)
			files, err := c.sources(d)
			if err != nil {
				return h, err
			}
			h.Sources = append(h.Sources, files...)
		}
	}
	slices.SortFunc(h.Derivations, compareTexts)
	slices.SortFunc(h.Realizations, compareTexts)
	slices.SortFunc(h.Omitted, func(a, b Omitted) int { return compareTexts(a.Realization, b.Realization) })
	slices.SortFunc(h.Roots, compareRoots)
	h.Roots = slices.Compact(h.Roots)
	slices.Sort(h.Sources)
	h.Sources = slices.Compact(h.Sources)
	return h, nil
}

// compareTexts orders identities as their names are ordered.
func compareTexts[T fmt.Stringer](a, b T) int { return strings.Compare(a.String(), b.String()) }

func compareRoots(a, b Root) int {
	return cmp.Or(compareTexts(a.Derivation, b.Derivation), compareTexts(a.Realization, b.Realization))
}

// sources are those of a derivation that go along, if they are asked for.
func (c *selector) sources(d *artifact.Derivation) ([]string, error) {
	var list []string
	for _, input := range d.Sources {
		s, ok := parseSource(input.Digest)
		if !ok || !c.request.Sources {
			continue
		}
		if _, err := os.Lstat(c.store.SourcesDir() + "/" + s.path()); err != nil {
			return nil, &store.NotFoundError{What: "source", Name: input.Digest}
		}
		list = append(list, input.Digest)
	}
	return list, nil
}
