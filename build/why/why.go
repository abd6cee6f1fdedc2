package why

import (
	"cmp"
	"slices"
	"strings"

	"hdjail/artifact"
	"hdjail/build/graph"
	"hdjail/hostpkgs"
)

// MaxWays bounds how many ways are told.
const MaxWays = 1000

// Step is a derivation on a way. Realizations are those that were used, where a way leads through results.
type Step struct {
	Derivation   artifact.DerivationID    `json:"derivation"`
	Name         string                   `json:"name"`
	Realizations []artifact.RealizationID `json:"realizations,omitempty"`
}

// Way leads from what was asked about to what it depends on. Packages, if there are some, go on from the last step: each depends on
// the next, and the first is what the whitelist asks for. Unexplained tells that nobody knows which entry of the whitelist
// brought the package; then there is only that.
type Way struct {
	Steps       []Step   `json:"steps"`
	Packages    []string `json:"packages,omitempty"`
	Unexplained bool     `json:"unexplained,omitempty"`
}

// Answer has the ways, the shortest first. More tells that there are more than MaxWays.
type Answer struct {
	Ways []Way `json:"ways"`
	More bool  `json:"more,omitempty"`
}

// Question is about the targets of a graph. Its functions are asked only if the answer needs them.
type Question struct {
	Graph  graph.Graph
	Lookup graph.Lookup
	// Chosen are the realizations of each derivation, nil where the question is not about results.
	Chosen map[artifact.DerivationID][]artifact.RealizationID
	// Requested are the names that the whitelist of a derivation asks for, the owner of its interpreter among them; none if nobody
	// knows.
	Requested func(id artifact.DerivationID) ([]string, error)
	// Installed is what depends on what on this host.
	Installed func() (*hostpkgs.Graph, error)
	// Linked tells that the targets are part of something, so that one of them is an answer.
	Linked bool
	// All asks for all ways, instead of a shortest one.
	All bool
}

// Derivation answers for a derivation, or for one realization of it if that is not zero.
func (q *Question) Derivation(id artifact.DerivationID, result artifact.RealizationID) (Answer, error) {
	return q.steps(func(d artifact.DerivationID, _ *artifact.Derivation) bool {
		return d == id && (result.IsZero() || slices.Contains(q.Chosen[d], result))
	})
}

// Artifact answers for what is called name, with its version or without.
func (q *Question) Artifact(name string) (Answer, error) {
	return q.steps(func(_ artifact.DerivationID, d *artifact.Derivation) bool {
		return d.Name == name || d.Label() == name
	})
}

// Package answers for a host package, "name" or "name:architecture". With All these are the ways through each whitelist that has
// it, on a shortest way to the derivation.
func (q *Question) Package(name string) (Answer, error) {
	wanted, err := q.wanted(func(_ artifact.DerivationID, d *artifact.Derivation) bool { return find(d, name) != nil })
	if err != nil {
		return Answer{}, err
	}
	var found [][]int
	if !q.All {
		found = q.shortest(func(at, _ int) bool { return wanted[at] })
	}
	for node := 0; q.All && node < len(q.Graph); node++ {
		if wanted[node] {
			found = append(found, q.shortest(func(at, _ int) bool { return at == node })...)
		}
	}
	sortByLength(found)
	answer := Answer{Ways: []Way{}}
	for _, way := range found {
		explained, err := q.explain(q.way(way), name)
		if err != nil {
			return answer, err
		}
		answer.Ways = append(answer.Ways, explained...)
	}
	if answer.More = len(answer.Ways) > MaxWays; answer.More {
		answer.Ways = answer.Ways[:MaxWays]
	}
	return answer, nil
}

func sortByLength[T any](list [][]T) {
	slices.SortStableFunc(list, func(a, b []T) int { return cmp.Compare(len(a), len(b)) })
}

func find(d *artifact.Derivation, name string) *artifact.HostPackage {
	for i, p := range d.HostPackages {
		if p.Name == name || p.Architecture != "" && p.Name+":"+p.Architecture == name {
			return &d.HostPackages[i]
		}
	}
	return nil
}

// explain goes on from the last step of a way to a package of its whitelist.
func (q *Question) explain(way Way, name string) ([]Way, error) {
	requested, err := q.Requested(way.Steps[len(way.Steps)-1].Derivation)
	if err != nil {
		return nil, err
	}
	var chains [][]string
	if len(requested) > 0 {
		installed, err := q.Installed()
		if err != nil {
			return nil, err
		}
		chains = installed.Chains(requested, name)
	}
	if len(chains) == 0 {
		way.Packages, way.Unexplained = []string{name}, true
		return []Way{way}, nil
	}
	sortByLength(chains)
	if !q.All {
		chains = chains[:1]
	}
	var ways []Way
	for _, chain := range chains {
		ways = append(ways, Way{Steps: way.Steps, Packages: chain})
	}
	return ways, nil
}

// steps answers with ways to derivations.
func (q *Question) steps(goal func(artifact.DerivationID, *artifact.Derivation) bool) (Answer, error) {
	answer := Answer{Ways: []Way{}}
	wanted, err := q.wanted(goal)
	if err != nil {
		return answer, err
	}
	is := func(at, target int) bool { return wanted[at] && (q.Linked || at != target) }
	found := [][]int(nil)
	if !q.All {
		found = q.shortest(is)
	}
	for i := 0; q.All && i < len(q.Graph); i++ {
		if q.Graph[i].Target {
			ways, more := q.Graph.All(i, func(at int) bool { return is(at, i) }, MaxWays-len(found))
			found, answer.More = append(found, ways...), answer.More || more
		}
	}
	sortByLength(found)
	for _, way := range found {
		answer.Ways = append(answer.Ways, q.way(way))
	}
	return answer, nil
}

// wanted tells which nodes are the goal.
func (q *Question) wanted(goal func(artifact.DerivationID, *artifact.Derivation) bool) ([]bool, error) {
	wanted := make([]bool, len(q.Graph))
	for i := range q.Graph {
		d, err := q.Lookup.Derivation(q.id(i))
		if err != nil {
			return nil, err
		}
		wanted[i] = goal(q.id(i), d)
	}
	return wanted, nil
}

// shortest is a shortest way from any target, or nothing.
func (q *Question) shortest(is func(at, target int) bool) (found [][]int) {
	for i, n := range q.Graph {
		if !n.Target {
			continue
		}
		if way := q.Graph.Shortest(i, func(at int) bool { return is(at, i) }); way != nil && (found == nil || len(way) < len(found[0])) {
			found = [][]int{way}
		}
	}
	return found
}

func (q *Question) id(node int) artifact.DerivationID {
	id, _ := artifact.ParseDerivationID(q.Graph[node].ID) // graph.Closure wrote it
	return id
}

func (q *Question) way(nodes []int) (way Way) {
	for _, n := range nodes {
		id := q.id(n)
		way.Steps = append(way.Steps, Step{id, q.Graph[n].Name, q.Chosen[id]})
	}
	return way
}

// Line shows a way to people, with the beginnings of the IDs: of realizations where there are some, else of derivations.
func (w Way) Line() string {
	var parts []string
	for _, s := range w.Steps {
		text := s.Name + " " + s.Derivation.String()[:10]
		if len(s.Realizations) > 0 {
			ids := make([]string, len(s.Realizations))
			for i, r := range s.Realizations {
				ids[i] = r.String()[:10]
			}
			text = s.Name + " " + strings.Join(ids, ",")
		}
		parts = append(parts, text)
	}
	for i, p := range w.Packages {
		if i == 0 {
			p = "host package " + p
		}
		parts = append(parts, p)
	}
	line := strings.Join(parts, " > ")
	if w.Unexplained {
		line += " (which entry of the whitelist brought it is not known)"
	}
	return line
}
