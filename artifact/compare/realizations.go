package compare

import (
	"slices"

	"hdjail/artifact"
)

// Results finds realizations as well. An implementation returns an error for one that it lacks.
type Results interface {
	Lookup
	Realization(id artifact.RealizationID) (artifact.Realization, error)
}

// Choice is a dependency for which two contexts have different realizations.
type Choice struct {
	Derivation artifact.DerivationID    `json:"derivation"`
	Name       string                   `json:"name"`
	A          []artifact.RealizationID `json:"a"`
	B          []artifact.RealizationID `json:"b"`
	// Via names what leads to it.
	Via []string `json:"via"`
	// Cause tells that its own context is the same on both sides: its build gave different results. Otherwise it follows
	// from what is deeper.
	Cause bool `json:"cause"`
	// SameTree tells that all trees are equal, so that only what they were built from differs.
	SameTree bool `json:"same_tree"`
}

// Contexts lists the choices that differ between two realizations of one derivation, deeper ones first. It goes into
// dependencies with one realization on each side.
func Contexts(l Results, a, b artifact.Realization) ([]Choice, error) {
	c := &contexts{lookup: l, seen: map[[2]artifact.RealizationID]bool{}}
	d, err := l.Derivation(a.Derivation)
	if err != nil {
		return nil, err
	}
	err = c.below(a, b, []string{d.Name})
	return c.found, err
}

type contexts struct {
	lookup Results
	seen   map[[2]artifact.RealizationID]bool
	found  []Choice
}

// below compares the contexts of two realizations.
func (c *contexts) below(a, b artifact.Realization, via []string) error {
	for _, id := range sortedKeys(a.Context) {
		x, y := a.Context[id], b.Context[id]
		if slices.Equal(x, y) {
			continue
		}
		d, err := c.lookup.Derivation(id)
		if err != nil {
			return err
		}
		choice := Choice{Derivation: id, Name: d.Name, A: x, B: y, Via: append(slices.Clone(via), d.Name)}
		if len(x) == 1 && len(y) == 1 {
			if c.seen[[2]artifact.RealizationID{x[0], y[0]}] {
				continue
			}
			c.seen[[2]artifact.RealizationID{x[0], y[0]}] = true
			if err := c.single(&choice); err != nil {
				return err
			}
		}
		c.found = append(c.found, choice)
	}
	return nil
}

// single compares the one realization on each side.
func (c *contexts) single(choice *Choice) error {
	a, err := c.lookup.Realization(choice.A[0])
	if err != nil {
		return err
	}
	b, err := c.lookup.Realization(choice.B[0])
	if err != nil {
		return err
	}
	choice.SameTree, choice.Cause = a.Tree == b.Tree, a.Context.Equal(b.Context)
	return c.below(a, b, choice.Via)
}

func sortedKeys(c artifact.Context) []artifact.DerivationID {
	keys := make([]artifact.DerivationID, 0, len(c))
	for id := range c {
		keys = append(keys, id)
	}
	slices.SortFunc(keys, func(a, b artifact.DerivationID) int { return slices.Compare(a[:], b[:]) })
	return keys
}
