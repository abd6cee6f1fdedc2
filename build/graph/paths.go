package graph

import "slices"

// Shortest returns a shortest way from a node to the nearest one for which goal holds, both included; of several the one that
// comes first in the order of the dependencies. nil means that there is none.
func (g Graph) Shortest(from int, goal func(node int) bool) []int {
	before := make([]int, len(g))
	for i := range before {
		before[i] = -1
	}
	before[from] = from
	for queue := []int{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if goal(at) {
			way := []int{at}
			for ; at != from; at = before[at] {
				way = append(way, before[at])
			}
			slices.Reverse(way)
			return way
		}
		for _, dep := range g[at].Dependencies {
			if before[dep] < 0 {
				before[dep] = at
				queue = append(queue, dep)
			}
		}
	}
	return nil
}

// All returns the ways from a node to those for which goal holds, at most limit of them, and whether there are more. A way ends
// at the first such node. Ways through one dependency come before those through the next.
func (g Graph) All(from int, goal func(node int) bool, limit int) (ways [][]int, more bool) {
	w := walk{g: g, goal: goal, limit: limit, leads: make([]int8, len(g))}
	w.from(from, nil)
	return w.ways, w.more
}

// walk is one run of All.
type walk struct {
	g     Graph
	goal  func(int) bool
	limit int
	leads []int8 // 1 for a node that leads to a goal, -1 for one that does not, 0 for not known
	ways  [][]int
	more  bool
}

// from adds the ways that begin with way and at, and reports whether there are some.
func (w *walk) from(at int, way []int) bool {
	if w.more || w.leads[at] < 0 {
		return false
	}
	way = append(way, at)
	if w.goal(at) {
		if w.more = len(w.ways) == w.limit; !w.more {
			w.ways = append(w.ways, slices.Clone(way))
		}
		return true
	}
	found := false
	for i, dep := range w.g[at].Dependencies {
		if !slices.Contains(w.g[at].Dependencies[:i], dep) { // under two names it is one way
			found = w.from(dep, way) || found
		}
	}
	if !w.more && !found {
		w.leads[at] = -1
	}
	return found
}
