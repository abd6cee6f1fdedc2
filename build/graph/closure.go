package graph

import (
	"slices"

	"hdjail/artifact"
)

// Lookup finds derivations. An implementation returns an error for one that it lacks.
type Lookup interface {
	Derivation(id artifact.DerivationID) (*artifact.Derivation, error)
}

// Closure is the graph of the roots and all that they depend on, the roots first and as targets.
func Closure(l Lookup, roots []artifact.DerivationID) (Graph, error) {
	var g Graph
	index := map[artifact.DerivationID]int{}
	var queue []artifact.DerivationID
	add := func(id artifact.DerivationID) int {
		at, known := index[id]
		if !known {
			at = len(queue)
			index[id] = at
			queue = append(queue, id)
		}
		return at
	}
	for _, id := range roots {
		add(id)
	}
	for at := 0; at < len(queue); at++ {
		d, err := l.Derivation(queue[at])
		if err != nil {
			return nil, err
		}
		n := Node{ID: queue[at].String(), Name: d.Label(), Target: slices.Contains(roots, queue[at])}
		for _, dep := range d.Dependencies {
			n.Dependencies = append(n.Dependencies, add(dep.ID))
		}
		g = append(g, n)
	}
	return g, nil
}
