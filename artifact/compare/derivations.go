package compare

import (
	"fmt"
	"slices"

	"hdjail/artifact"
)

// Lookup finds derivations. An implementation returns an error for one that it lacks.
type Lookup interface {
	Derivation(id artifact.DerivationID) (*artifact.Derivation, error)
}

// Pair is two derivations that play one part, A in the first plan and B in the second, and differ.
type Pair struct {
	A    artifact.DerivationID `json:"a"`
	B    artifact.DerivationID `json:"b"`
	Name string                `json:"name"`
	// Via names what leads to a cause, from what was compared down to itself.
	Via []string `json:"via,omitempty"`
	// Changes are their own. Without any, the pair differs because those of Dependencies do.
	Changes      []Change `json:"changes,omitempty"`
	Dependencies []string `json:"dependencies,omitempty"`
}

// Derivations says why two derivations differ. Causes have changes of their own, Follows have none; in both what is deeper
// comes first. Both are empty if and only if the derivations are one.
type Derivations struct {
	Causes  []Pair `json:"causes"`
	Follows []Pair `json:"follows"`
}

// Equal reports whether nothing differs.
func (d *Derivations) Equal() bool { return len(d.Causes)+len(d.Follows) == 0 }

// Compare finds why two derivations differ. It goes into dependencies that have one NAME on both sides and the same name of
// their own; others are changes of whoever lists them. Each pair is told once, with the first way that leads to it.
func Compare(l Lookup, a, b artifact.DerivationID) (*Derivations, error) {
	w := &comparison{lookup: l, seen: map[[2]artifact.DerivationID]bool{}, known: map[artifact.DerivationID]*artifact.Derivation{}}
	w.found.Causes, w.found.Follows = []Pair{}, []Pair{}
	return &w.found, w.pair(a, b, nil)
}

// comparison is one run of Compare.
type comparison struct {
	lookup Lookup
	seen   map[[2]artifact.DerivationID]bool
	known  map[artifact.DerivationID]*artifact.Derivation
	found  Derivations
}

func (w *comparison) get(id artifact.DerivationID) (*artifact.Derivation, error) {
	if d, ok := w.known[id]; ok {
		return d, nil
	}
	d, err := w.lookup.Derivation(id)
	w.known[id] = d
	return d, err
}

// way is a list of names from the top, which all that is below shares.
type way struct {
	before *way
	name   string
}

func (w *way) names() (list []string) {
	for ; w != nil; w = w.before {
		list = append(list, w.name)
	}
	slices.Reverse(list)
	return list
}

func (w *comparison) pair(idA, idB artifact.DerivationID, via *way) error {
	key := [2]artifact.DerivationID{idA, idB}
	if idA == idB || w.seen[key] {
		return nil
	}
	w.seen[key] = true
	a, err := w.get(idA)
	if err != nil {
		return err
	}
	b, err := w.get(idB)
	if err != nil {
		return err
	}
	p := Pair{A: idA, B: idB, Name: a.Name, Changes: Fields(a, b)}
	via = &way{via, a.Name}
	if err := w.dependencies(&p, [2]*artifact.Derivation{a, b}, via); err != nil {
		return err
	}
	if len(p.Changes) > 0 {
		p.Via = via.names()
		w.found.Causes = append(w.found.Causes, p)
	} else {
		w.found.Follows = append(w.found.Follows, p)
	}
	return nil
}

// dependencies compares the lists, and goes into those that differ in themselves.
func (w *comparison) dependencies(p *Pair, sides [2]*artifact.Derivation, via *way) error {
	a, b := sides[0], sides[1]
	if slices.Equal(a.Dependencies, b.Dependencies) {
		return nil
	}
	listA, err := w.listed(a)
	if err != nil {
		return err
	}
	listB, err := w.listed(b)
	if err != nil {
		return err
	}
	// Dependencies that differ below, and only there, are no change of this list.
	for i := range listA {
		for j := range listB {
			x, y := &listA[i], &listB[j]
			if x.key != y.key || x.id == y.id || x.name != y.name {
				continue
			}
			p.Dependencies = append(p.Dependencies, x.key)
			if err := w.pair(x.id, y.id, via); err != nil {
				return err
			}
			y.id = x.id
			break
		}
	}
	var c changes
	c.list("dependency", entries(listA), entries(listB))
	p.Changes = append(p.Changes, c...)
	return nil
}

// listed is a dependency as it is compared.
type listed struct {
	key  string
	id   artifact.DerivationID
	name string
	many bool
}

func (w *comparison) listed(d *artifact.Derivation) ([]listed, error) {
	list := make([]listed, len(d.Dependencies))
	for i, dep := range d.Dependencies {
		found, err := w.get(dep.ID)
		if err != nil {
			return nil, fmt.Errorf("dependency of %q: %w", d.Name, err)
		}
		list[i] = listed{dep.As, dep.ID, found.Name, dep.Many}
		if dep.As == "" {
			list[i].key = found.Name
		}
	}
	return list, nil
}

func entries(list []listed) []entry {
	es := make([]entry, len(list))
	for i, l := range list {
		es[i] = entry{l.key, l.name + " " + l.id.String()}
		if l.many {
			es[i].value += " (many)"
		}
	}
	return es
}
