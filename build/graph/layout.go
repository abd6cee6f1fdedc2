package graph

import (
	"slices"
	"unicode/utf8"
)

// Sizes in the picture, in pixels. A character of the font is charWide at most.
const (
	charWide  = 7.3
	boxHigh   = 36.0
	boxGap    = 14.0 // between boxes of a column
	lineGap   = 9.0  // between a line and its neighbour in a column
	columnGap = 70.0
	boxPad    = 9.0
	maxName   = 44 // characters of a name that are shown
)

// maxBends bounds the points that long edges pass; in a graph with more of them edges are drawn from end to end.
const maxBends = 6000

// spot is a place in a column: of a node, or where an edge passes between the nodes.
type spot struct {
	node      int // -1 for a bend
	column    int
	x, y      float64 // the middle of the left side
	high      float64
	next, was []int // spots in the columns after and before, which lines lead to
}

// layout is a drawing: spots by column and order, and the way of each edge through them.
type layout struct {
	spots   []spot
	columns [][]int
	// wide are the widths of the columns.
	wide []float64
	// edges are lists of spots, from the node that depends to the one that it depends on.
	edges [][]int
	// width and height of everything, from 0.
	width, height float64
}

// newLayout places the targets at the left, and each node to the right of all that depend on it.
func newLayout(g Graph) *layout {
	l := &layout{}
	columns := depths(g)
	for i := range g {
		l.add(spot{node: i, column: columns[i], high: boxHigh})
	}
	bends := 0
	for i := range g {
		for _, dep := range g[i].Dependencies {
			bends += columns[dep] - columns[i] - 1
		}
	}
	for i := range g {
		for _, dep := range unique(g[i].Dependencies) {
			l.edge(i, dep, bends <= maxBends)
		}
	}
	l.order()
	l.place(g)
	return l
}

// depths is the column of each node: the longest way from a node that nothing depends on.
func depths(g Graph) []int {
	depth, waiting := make([]int, len(g)), make([]int, len(g))
	var ready []int
	for i, list := range g.dependants() {
		if waiting[i] = len(list); len(list) == 0 {
			ready = append(ready, i)
		}
	}
	for ; len(ready) > 0; ready = ready[1:] {
		for _, dep := range g[ready[0]].Dependencies {
			depth[dep] = max(depth[dep], depth[ready[0]]+1)
			if waiting[dep]--; waiting[dep] == 0 {
				ready = append(ready, dep)
			}
		}
	}
	return depth
}

func unique(list []int) []int { return slices.Compact(slices.Sorted(slices.Values(list))) }

func (l *layout) add(s spot) int {
	l.spots = append(l.spots, s)
	for s.column >= len(l.columns) {
		l.columns = append(l.columns, nil)
	}
	l.columns[s.column] = append(l.columns[s.column], len(l.spots)-1)
	return len(l.spots) - 1
}

// edge leads a line from a node to another, with a bend in each column between.
func (l *layout) edge(from, to int, bend bool) {
	way := []int{from}
	for c := l.spots[from].column + 1; bend && c < l.spots[to].column; c++ {
		way = append(way, l.add(spot{node: -1, column: c}))
	}
	way = append(way, to)
	for i := range way[1:] {
		a, b := way[i], way[i+1]
		l.spots[a].next = append(l.spots[a].next, b)
		l.spots[b].was = append(l.spots[b].was, a)
	}
	l.edges = append(l.edges, way)
}

// label is what a box says of the name.
func label(name string) string {
	if utf8.RuneCountInString(name) <= maxName {
		return name
	}
	return string([]rune(name)[:maxName-1]) + "…"
}

// boxWide is the width of a node's box.
func boxWide(n Node) float64 {
	chars := max(utf8.RuneCountInString(label(n.Name)), idShown+len(" · ")+utf8.RuneCountInString(string(n.State)))
	return 2*boxPad + charWide*float64(chars)
}

// idShown is how many characters of an ID are shown.
const idShown = 10
