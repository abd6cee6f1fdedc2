package gc

import (
	"slices"
	"time"

	"hdjail/artifact"
)

// graph is a snapshot by numbers: first its realizations, then its derivations. A node needs what it cannot be without: a
// realization its context and its derivation, a derivation those that it depends on.
type graph struct {
	snap *Snapshot
	// realizations and derivations are the nodes by ID; results are the realizations of a derivation, by its node.
	realizations map[artifact.RealizationID]int
	derivations  map[artifact.DerivationID]int
	results      [][]int
	needs        [][]int
	kept         []bool
	// whole marks derivations that are kept with all below them and all their realizations.
	whole []bool
}

func newGraph(snap *Snapshot) *graph {
	results, total := len(snap.Realizations), len(snap.Realizations)+len(snap.Derivations)
	g := &graph{snap: snap, realizations: make(map[artifact.RealizationID]int, results),
		derivations: make(map[artifact.DerivationID]int, len(snap.Derivations)),
		results:     make([][]int, total), needs: make([][]int, total), kept: make([]bool, total), whole: make([]bool, total)}
	for i := range snap.Realizations {
		g.realizations[snap.Realizations[i].ID] = i
	}
	for i := range snap.Derivations {
		g.derivations[snap.Derivations[i].ID] = results + i
	}
	for i := range snap.Realizations {
		e := &snap.Realizations[i]
		g.needs[i] = make([]int, 0, 1+len(e.Context))
		if d, ok := g.derivations[e.Derivation]; ok {
			g.results[d] = append(g.results[d], i)
			g.needs[i] = append(g.needs[i], d)
		}
		for _, ids := range e.Context {
			for _, id := range ids {
				if r, ok := g.realizations[id]; ok {
					g.needs[i] = append(g.needs[i], r)
				}
			}
		}
		slices.Sort(g.needs[i]) // a context has no order
	}
	for i := range snap.Derivations {
		for _, id := range snap.Derivations[i].Dependencies {
			if d, ok := g.derivations[id]; ok {
				g.needs[results+i] = append(g.needs[results+i], d)
			}
		}
	}
	return g
}

func (g *graph) isRealization(node int) bool { return node < len(g.snap.Realizations) }

func (g *graph) derivation(node int) *Derivation {
	return &g.snap.Derivations[node-len(g.snap.Realizations)]
}

// used is when a node was last of use to anybody.
func (g *graph) used(node int) time.Time {
	if g.isRealization(node) {
		return g.snap.Realizations[node].Used
	}
	return g.derivation(node).Stored
}

// keep keeps a node and what it needs: of a realization the context and all derivations, not their other realizations.
func (g *graph) keep(node int) {
	for stack := []int{node}; len(stack) > 0; {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if !g.kept[n] {
			g.kept[n] = true
			stack = append(stack, g.needs[n]...)
		}
	}
}

// keepWhole keeps a derivation, what it depends on, and all realizations of all these.
func (g *graph) keepWhole(node int) {
	for stack := []int{node}; len(stack) > 0; {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if g.whole[n] {
			continue
		}
		g.whole[n] = true
		g.keep(n)
		for _, r := range g.results[n] {
			g.keep(r)
		}
		stack = append(stack, g.needs[n]...)
	}
}

// keepRooted keeps what roots and leases name. Of a realization that was lost that is what it can be built again from.
func (g *graph) keepRooted() {
	for _, r := range g.snap.Roots {
		g.keepID(r.Realization, r.Derivation)
	}
	for _, u := range g.snap.Uses {
		for _, id := range u.Derivations {
			g.keepID(artifact.RealizationID{}, id)
		}
		for _, id := range u.Realizations {
			g.keepID(id, artifact.DerivationID{})
		}
	}
}

func (g *graph) keepID(r artifact.RealizationID, d artifact.DerivationID) {
	if node, ok := g.realizations[r]; ok {
		g.keep(node)
	} else if node, ok := g.derivations[d]; ok {
		g.keepWhole(node)
	}
}

// keepYounger keeps what was of use since then.
func (g *graph) keepYounger(then time.Time) {
	for node := range g.kept {
		if g.used(node).After(then) {
			g.keep(node)
		}
	}
}
