package hostpkgs

import "slices"

// Chains returns, for each of the names whose closure has the package called to, a shortest way there: the names of packages, each
// of which depends on the next. A way begins with the package that the name means, which may be called otherwise. to is a name,
// or "name:architecture".
func (g *Graph) Chains(names []string, to string) [][]string {
	var chains [][]string
	for _, name := range names {
		if p := g.catalog.named(name); p != nil {
			if chain := g.chain(p, to); chain != nil {
				chains = append(chains, chain)
			}
		}
	}
	return chains
}

func (g *Graph) chain(from *Package, to string) []string {
	before := map[*Package]*Package{from: nil}
	for queue := []*Package{from}; len(queue) > 0; queue = queue[1:] {
		p := queue[0]
		if p.Name == to || p.Name+":"+p.Architecture == to {
			var chain []string
			for ; p != nil; p = before[p] {
				chain = append(chain, p.Name)
			}
			slices.Reverse(chain)
			return chain
		}
		for _, group := range p.Depends {
			d := g.catalog.satisfy(group, p.Architecture)
			if _, seen := before[d]; d != nil && !seen {
				before[d] = p
				queue = append(queue, d)
			}
		}
	}
	return nil
}
