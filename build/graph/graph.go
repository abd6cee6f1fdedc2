package graph

// State is how far a node is. The texts are what people read.
type State string

// The states.
const (
	Realized State = "realized"
	Several  State = "several realizations"
	ToBuild  State = "to build"
	Running  State = "running"
	Failed   State = "failed"
)

// States lists all states, in the order of a legend.
func States() []State { return []State{Realized, Several, ToBuild, Running, Failed} }

// Node is one derivation of a Graph.
type Node struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	State State  `json:"state,omitempty"`
	// Target tells that it was asked for.
	Target bool `json:"target,omitempty"`
	// Dependencies are indices into the Graph.
	Dependencies []int `json:"-"`
}

// Graph is a set of derivations without cycles.
type Graph []Node

// dependants lists, for each node, the nodes that depend on it.
func (g Graph) dependants() [][]int {
	list := make([][]int, len(g))
	for i := range g {
		for _, dep := range g[i].Dependencies {
			list[dep] = append(list[dep], i)
		}
	}
	return list
}
