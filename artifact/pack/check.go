package pack

import (
	"errors"
	"os"
	"path"
	"slices"
	"strings"

	"hdjail/artifact"
	"hdjail/artifact/closure"
	"hdjail/artifact/collect"
	"hdjail/artifact/tree"
)

// check looks at everything that arrived as a whole, and returns the realizations in an order in which each follows what
// it was built with.
func (t *intake) check() ([]artifact.RealizationID, error) {
	if err := t.checkDerivations(); err != nil {
		return nil, err
	}
	used := map[artifact.RealizationID]bool{}
	for _, id := range t.header.Realizations {
		a := t.arrivals[id]
		if err := a.Context.Fits(t.derivations[a.Derivation], t.derivationOf); err != nil {
			return nil, malformed(pathOf(id, manifestName), err)
		}
		for _, chosen := range a.Context {
			for _, x := range chosen {
				used[x] = true
			}
		}
	}
	// What is consistent above is so below.
	for _, id := range t.header.Realizations {
		if !used[id] {
			if err := t.consistent(id); err != nil {
				return nil, err
			}
		}
	}
	for _, id := range t.linked {
		if err := t.checkLinks(id); err != nil {
			return nil, err
		}
	}
	return t.order(), t.checkRoots()
}

// checkDerivations makes sure that no derivation lacks what it depends on.
func (t *intake) checkDerivations() error {
	for _, id := range t.header.Derivations {
		for _, dep := range t.derivations[id].Dependencies {
			if _, err := t.Derivation(dep.ID); err != nil {
				return &MissingError{"derivation", dep.ID.String(), "which " + t.derivations[id].Label() + " needs"}
			}
		}
	}
	return nil
}

// checkRoots makes sure that the archive has what it says that it was made for.
func (t *intake) checkRoots() error {
	for _, root := range t.header.Roots {
		found := root.Derivation
		var err error
		if root.Realization.IsZero() {
			_, err = t.Derivation(root.Derivation)
		} else {
			found, err = t.derivationOf(root.Realization)
		}
		if err != nil || found != root.Derivation {
			return &RefusedError{headerName, "object", "its root " + root.Derivation.String() + " is not there"}
		}
	}
	return nil
}

// malformed makes an object of the archive that is not what it has to be an error of the archive.
func malformed(member string, err error) error {
	if bad := (*artifact.MalformedError)(nil); errors.As(err, &bad) {
		return &RefusedError{member, "object", bad.Error()}
	}
	return err
}

// derivationOf tells which derivation a realization is of. One that is not in the archive has to be among those that it
// leaves out.
func (t *intake) derivationOf(id artifact.RealizationID) (artifact.DerivationID, error) {
	if a, ok := t.arrivals[id]; ok {
		return a.Derivation, nil
	}
	_, omitted := slices.BinarySearchFunc(t.header.Omitted, id, func(o Omitted, id artifact.RealizationID) int {
		return compareTexts(o.Realization, id)
	})
	if !omitted {
		return artifact.DerivationID{}, &artifact.MalformedError{What: "context", Name: id.String(), Reason: "the archive has it not, and does not leave it out"}
	}
	r, err := t.store.Manifest(id)
	return r.Derivation, err
}

// Manifest is any realization below one of the archive, as closure.Source has it.
func (t *intake) Manifest(id artifact.RealizationID) (artifact.Realization, error) {
	if a, ok := t.arrivals[id]; ok {
		return artifact.Realization{ID: id, Derivation: a.Derivation, Context: a.Context, Tree: a.Tree}, nil
	}
	return t.store.Manifest(id)
}

// Derivation is one of the archive or the store.
func (t *intake) Derivation(id artifact.DerivationID) (*artifact.Derivation, error) {
	if d, ok := t.derivations[id]; ok {
		return d, nil
	}
	return t.store.Derivation(id)
}

// consistent makes sure that below a realization every derivation has one set of realizations.
func (t *intake) consistent(root artifact.RealizationID) error {
	_, err := closure.Of(t.ctx, t, []artifact.RealizationID{root})
	witness := (*closure.InconsistentError)(nil)
	if !errors.As(err, &witness) {
		return err
	}
	// Of two ways in no order, the same one comes first each time.
	first, second := witness.One, witness.Other
	if compareTexts(first.Through, second.Through) > 0 {
		first, second = second, first
	}
	return &InconsistentError{Root: root.String(), Derivation: witness.Derivation.String(), First: choice(first.IDs), FirstThrough: first.Through.String(),
		Second: choice(second.IDs), SecondThrough: second.Through.String()}
}

// order sorts the realizations so that each follows what it was built with, and those of one derivation as they were in the
// other store, because matchers ask for the latest. Identities are made from those below, so there is no circle.
func (t *intake) order() []artifact.RealizationID {
	of := map[artifact.DerivationID][]artifact.RealizationID{}
	for _, id := range t.header.Realizations {
		of[t.arrivals[id].Derivation] = append(of[t.arrivals[id].Derivation], id)
	}
	var list []artifact.RealizationID
	done := map[artifact.DerivationID]bool{}
	var visit func(id artifact.DerivationID)
	visit = func(id artifact.DerivationID) {
		d, arrived := t.derivations[id]
		if !arrived || done[id] {
			return
		}
		done[id] = true
		for _, dep := range d.Dependencies {
			visit(dep.ID)
		}
		slices.SortStableFunc(of[id], func(a, b artifact.RealizationID) int { return t.numbers[a] - t.numbers[b] })
		list = append(list, of[id]...)
	}
	for _, id := range t.header.Derivations {
		visit(id)
	}
	return list
}

// checkLinks judges the symbolic links of a new tree as those of a build's output. An absolute link that does not lead into
// a store may be to a file of the host that was whitelisted there, which nobody here can know.
func (t *intake) checkLinks(id artifact.RealizationID) error {
	a := t.arrivals[id]
	names, err := t.below(a.Derivation)
	if err != nil {
		return err
	}
	o := collect.Options{UID: os.Geteuid(), Artifact: t.public(names[a.Derivation])}
	o.Allowed = func(path string) bool { return !within(path, t.store.Prefix()) && !within(path, t.store.Root()) }
	for dep, name := range names {
		o.Dependencies = append(o.Dependencies, t.public(name))
		if _, direct := a.Context[dep]; direct {
			o.Direct = append(o.Direct, name)
		}
	}
	out, err := tree.Open(a.Dir+"/"+outName, false)
	if err != nil {
		return err
	}
	defer out.Close()
	err = collect.Check(t.ctx, out, o)
	if refused := (*collect.RefusedError)(nil); errors.As(err, &refused) {
		return &RefusedError{pathOf(id, outName) + "/" + refused.Path, "link", refused.Detail}
	}
	return err
}

// below has the public names of a derivation and of everything below it.
func (t *intake) below(id artifact.DerivationID) (map[artifact.DerivationID]string, error) {
	names := map[artifact.DerivationID]string{}
	for queue := []artifact.DerivationID{id}; len(queue) > 0; queue = queue[1:] {
		if _, ok := names[queue[0]]; ok {
			continue
		}
		d, err := t.Derivation(queue[0])
		if err != nil {
			return nil, err
		}
		names[queue[0]] = queue[0].StoreName(d.Name, d.Version)
		for _, dep := range d.Dependencies {
			queue = append(queue, dep.ID)
		}
	}
	return names, nil
}

// public is the public path that a name has.
func (t *intake) public(name string) string { return path.Join(t.header.Prefix, "store", name) }

// within reports whether a clean path is dir or below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
