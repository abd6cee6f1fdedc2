package hostpkgs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// Unmet is a dependency that a package of a closure has and that is not installed. Dependency is the group as it is
// written in a control file, "a | b".
type Unmet struct {
	Package    string `json:"package"`
	Dependency string `json:"dependency"`
}

// NotInstalledError reports a whitelisted name that no installed package has or provides. Near holds names that may have
// been meant, the likeliest first.
type NotInstalledError struct {
	Name string
	Near []string
}

// Error implements error.
func (e *NotInstalledError) Error() string {
	if len(e.Near) == 0 {
		return fmt.Sprintf("find host package %q: not installed", e.Name)
	}
	return fmt.Sprintf("find host package %q: not installed; near: %s", e.Name, strings.Join(e.Near, ", "))
}

// Closure returns the named packages and what they depend on, sorted by name and architecture, and the dependencies that
// the host does not satisfy. Names are as in Host.Pin. It is pure.
func Closure(installed []Package, names []string) ([]Package, []Unmet, error) {
	return NewGraph(installed).Closure(names)
}

// Graph is what is installed, prepared for many closures. It is read-only, so goroutines may share it.
type Graph struct{ catalog catalog }

// NewGraph returns the graph of what is installed.
func NewGraph(installed []Package) *Graph { return &Graph{newCatalog(installed)} }

// Closure is the function Closure on the packages of the graph.
func (g *Graph) Closure(names []string) ([]Package, []Unmet, error) {
	ix := g.catalog
	var queue []*Package
	for _, name := range names {
		p := ix.named(name)
		if p == nil {
			return nil, nil, &NotInstalledError{Name: name, Near: ix.near(name)}
		}
		queue = append(queue, p)
	}
	seen := map[*Package]bool{}
	var closure []Package
	var unmet []Unmet
	for len(queue) > 0 {
		p := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if seen[p] {
			continue
		}
		seen[p] = true
		closure = append(closure, *p)
		for _, group := range p.Depends {
			if d := ix.satisfy(group, p.Architecture); d != nil {
				queue = append(queue, d)
			} else {
				unmet = append(unmet, Unmet{Package: p.Name, Dependency: groupText(group)})
			}
		}
	}
	slices.SortFunc(closure, comparePackages)
	slices.SortFunc(unmet, func(a, b Unmet) int {
		return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Dependency, b.Dependency))
	})
	return closure, slices.Compact(unmet), nil
}

// catalog finds packages by what they are called and by what they provide. The lists are sorted by comparePackages.
type catalog struct {
	byName, providers map[string][]*Package
}

func newCatalog(installed []Package) catalog {
	ix := catalog{byName: map[string][]*Package{}, providers: map[string][]*Package{}}
	sorted := slices.Clone(installed)
	slices.SortStableFunc(sorted, comparePackages)
	for i := range sorted {
		p := &sorted[i]
		ix.byName[p.Name] = append(ix.byName[p.Name], p)
		for _, name := range p.Provides {
			ix.providers[name] = append(ix.providers[name], p)
		}
	}
	return ix
}

// named returns the package that a person calls name, or nil.
func (ix catalog) named(name string) *Package {
	if p := ix.satisfy([]Dependency{{Name: name}}, ""); p != nil {
		return p
	}
	if i := strings.LastIndexByte(name, ':'); i > 0 {
		return ix.satisfy([]Dependency{{Name: name[:i], Arch: name[i+1:]}}, "")
	}
	return nil
}

// satisfy returns the package that meets the first member of group that can be met, or nil. The architecture of the
// package that depends goes before the host's own, that before others; then a real package before one that provides it.
func (ix catalog) satisfy(group []Dependency, from string) *Package {
	for _, d := range group {
		if p := best(slices.Concat(ix.byName[d.Name], ix.providers[d.Name]), d.Arch, from); p != nil {
			return p
		}
	}
	return nil
}

func best(candidates []*Package, arch, from string) *Package {
	var found *Package
	highest := 0
	for _, p := range candidates {
		if arch != "" && arch != "any" && p.Architecture != arch {
			continue
		}
		rank := 1
		switch {
		case p.Architecture == from, p.Architecture == "all", p.Architecture == "noarch":
			rank = 3
		case p.Native:
			rank = 2
		}
		if rank > highest {
			found, highest = p, rank
		}
	}
	return found
}

// near returns the names that differ least from name, at most four.
func (ix catalog) near(name string) []string {
	type match struct {
		name     string
		distance int
	}
	limit := max(1, len(name)/3)
	var matches []match
	for _, names := range []map[string][]*Package{ix.byName, ix.providers} {
		for n := range names {
			if d := levenshtein.Distance(name, n, nil); d <= limit {
				matches = append(matches, match{n, d})
			}
		}
	}
	slices.SortFunc(matches, func(a, b match) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	matches = slices.Compact(matches)
	var near []string
	for _, m := range matches[:min(4, len(matches))] {
		near = append(near, m.name)
	}
	return near
}

func comparePackages(a, b Package) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Architecture, b.Architecture), cmp.Compare(a.Version, b.Version))
}

func groupText(group []Dependency) string {
	texts := make([]string, len(group))
	for i, d := range group {
		texts[i] = d.String()
	}
	return strings.Join(texts, " | ")
}
