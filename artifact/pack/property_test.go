package pack

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"hdjail/artifact"
	"hdjail/artifact/store"
)

// graph is random derivations, each of which depends on some of those before it.
type graph struct {
	derivations []*artifact.Derivation
	ids         []artifact.DerivationID
}

func drawGraph(t *rapid.T) (g graph) {
	for i := range rapid.IntRange(1, 6).Draw(t, "derivations") {
		d := sample(fmt.Sprint("d", i))
		for j, id := range g.ids {
			if rapid.Bool().Draw(t, fmt.Sprint(i, " depends on ", j)) {
				d.Dependencies = append(d.Dependencies, artifact.Dependency{ID: id, Many: rapid.Bool().Draw(t, "many"), As: fmt.Sprint("D", j)})
			}
		}
		g.derivations, g.ids = append(g.derivations, d), append(g.ids, d.ID())
	}
	return g
}

// realize plays a plan: in order, each derivation gets results that there are for its context, or a new one.
func realize(t *rapid.T, b *builder, g graph) {
	chosen := map[artifact.DerivationID][]artifact.RealizationID{}
	several := map[artifact.DerivationID]bool{} // only dependants that say many may follow
	for i, d := range g.derivations {
		context := map[artifact.DerivationID][]artifact.RealizationID{}
		built := true
		for _, dep := range d.Dependencies {
			built = built && len(chosen[dep.ID]) > 0 && (dep.Many || !several[dep.ID])
			context[dep.ID] = chosen[dep.ID]
		}
		if !built || rapid.IntRange(0, 9).Draw(t, "left out") == 0 {
			continue
		}
		ctx, err := artifact.NewContext(context)
		must(t, err)
		for range rapid.IntRange(0, 2).Draw(t, "builds") {
			b.build(t, d, ctx, files{"f": fmt.Sprint(i, rapid.IntRange(0, 2).Draw(t, "content"))})
		}
		all, err := b.Realizations(g.ids[i])
		must(t, err)
		for _, r := range all {
			if r.Context.Equal(ctx) && (len(chosen[g.ids[i]]) == 0 || rapid.Bool().Draw(t, "several")) {
				chosen[g.ids[i]] = append(chosen[g.ids[i]], r.ID)
			}
		}
		several[g.ids[i]] = len(chosen[g.ids[i]]) > 1
	}
}

// tops are the realizations that no other was built with, and the derivations that no other depends on.
func tops(t *rapid.T, s *store.Store, g graph) (list []store.Ref) {
	depended, used := map[artifact.DerivationID]bool{}, map[artifact.RealizationID]bool{}
	var all []artifact.Realization
	for i, id := range g.ids {
		for _, dep := range g.derivations[i].Dependencies {
			depended[dep.ID] = true
		}
		found, err := s.Realizations(id)
		must(t, err)
		for _, r := range found {
			all = append(all, r)
			for _, chosen := range r.Context {
				for _, x := range chosen {
					used[x] = true
				}
			}
		}
	}
	for _, id := range g.ids {
		if !depended[id] {
			list = append(list, store.Ref{Derivation: id})
		}
	}
	for _, r := range all {
		if !used[r.ID] {
			list = append(list, store.Ref{Derivation: r.Derivation, Realization: r.ID})
		}
	}
	return list
}

// TestPackPerRoot is H13: archives of single roots, in any order and some of them twice, give an empty store all that the
// first one has. What each leaves out because the other side has it changes nothing.
func TestPackPerRoot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := builder{Store: newStore(t, prefix)}, newStore(t, prefix)
		g := drawGraph(t)
		for _, d := range g.derivations {
			_, err := a.PutDerivation(d)
			must(t, err)
		}
		for range rapid.IntRange(1, 4).Draw(t, "plans") {
			realize(t, &a, g)
		}
		list := tops(t, a.Store, g)
		again := rapid.SliceOfN(rapid.SampledFrom(list), 0, 2).Draw(t, "again")
		for _, root := range rapid.Permutation(slices.Concat(list, again)).Draw(t, "order") {
			request := Request{Roots: []store.Ref{root}}
			switch rapid.IntRange(0, 2).Draw(t, "way") {
			case 1:
				request.Have = b.Has
			case 2:
				selection, err := Select(context.Background(), a.Store, request)
				must(t, err)
				_, err = Copy(context.Background(), selection, b)
				must(t, err)
				continue
			}
			selection, err := Select(context.Background(), a.Store, request)
			must(t, err)
			var archive bytes.Buffer
			must(t, selection.stream(context.Background(), &archive)) // compression would take most of the time
			_, err = take(context.Background(), b, newArchive(&meter{r: &archive, allowed: maxBytes}))
			must(t, err)
		}
		same(t, a.Store, b, g)
		verify(t, b)
	})
}

// same makes sure that two stores have the same derivations and realizations, and b a record of an import for each.
func same(t *rapid.T, a, b *store.Store, g graph) {
	for _, id := range g.ids {
		if _, err := b.Derivation(id); err != nil {
			t.Fatal(err)
		}
		want, err := a.Realizations(id)
		must(t, err)
		got, err := b.Realizations(id)
		must(t, err)
		ids := func(list []artifact.Realization) (ids []artifact.RealizationID) {
			for _, r := range list {
				ids = append(ids, r.ID)
			}
			return ids
		}
		if !slices.Equal(ids(got), ids(want)) {
			t.Fatalf("of %s there are %v, want %v", id, ids(got), ids(want))
		}
		for _, r := range got {
			if len(r.Records) != 1 || r.Records[0].Purpose != "import" {
				t.Fatalf("%+v", r.Records)
			}
		}
	}
}
