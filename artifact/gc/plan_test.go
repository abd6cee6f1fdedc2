package gc

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hdjail/artifact"
	"hdjail/artifact/store"
)

// world is a snapshot with names: derivations "d1", realizations "r1".
type world struct {
	snap  Snapshot
	names map[string]string
}

func newWorld() *world { return &world{names: map[string]string{}} }

func drv(name string) (id artifact.DerivationID)  { copy(id[:], "d "+name); return id }
func rid(name string) (id artifact.RealizationID) { copy(id[:], "r "+name); return id }

// at is a moment, in hours from a beginning.
func at(hours int) time.Time {
	return time.Unix(1_700_000_000, 0).Add(time.Duration(hours) * time.Hour)
}

func (w *world) derivation(name string, hours int, deps ...string) *Derivation {
	d := Derivation{ID: drv(name)}
	d.Name, d.Stored, d.Bytes = name, at(hours), 1
	for _, dep := range deps {
		d.Dependencies = append(d.Dependencies, drv(dep))
	}
	w.names[d.ID.String()] = name
	w.snap.Derivations = append(w.snap.Derivations, d)
	return &w.snap.Derivations[len(w.snap.Derivations)-1]
}

// realization is of the derivation; context is "d1=r1,r2" for each dependency.
func (w *world) realization(name, of string, hours int, context ...string) {
	e := store.Entry{ID: rid(name), Derivation: drv(of), Bytes: 10, Used: at(hours), Context: artifact.Context{}}
	for _, c := range context {
		d, list, _ := strings.Cut(c, "=")
		for _, r := range strings.Split(list, ",") {
			e.Context[drv(d)] = append(e.Context[drv(d)], rid(r))
		}
	}
	w.names[e.ID.String()] = name
	w.snap.Realizations = append(w.snap.Realizations, e)
}

func (w *world) keepRealization(name string) {
	w.snap.Roots = append(w.snap.Roots, store.Root{Kind: store.Pin, Name: name, Realization: rid(name)})
}

func (w *world) keepDerivation(name string) {
	w.snap.Roots = append(w.snap.Roots, store.Root{Kind: store.Pin, Name: name, Derivation: drv(name)})
}

// gone lists what a plan removes, in its order.
func (w *world) gone(p *Plan) string {
	var names []string
	for _, s := range p.Steps {
		name := s.ID
		if known, ok := w.names[s.ID]; ok {
			name = known
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func sorted(text string) string {
	words := strings.Fields(text)
	slices.Sort(words)
	return strings.Join(words, " ")
}

// chain is d1 <- d2 (two results) <- d3, whose result used both.
func chain() *world {
	w := newWorld()
	w.derivation("d1", 0)
	w.derivation("d2", 0, "d1")
	w.derivation("d3", 0, "d2")
	w.realization("r1", "d1", 1)
	w.realization("r2a", "d2", 2, "d1=r1")
	w.realization("r2b", "d2", 3, "d1=r1")
	w.realization("r3", "d3", 4, "d2=r2a,r2b")
	return w
}

var all = Options{MaxBytes: -1}

func TestChain(t *testing.T) {
	for _, test := range []struct {
		keep func(*world)
		want string
	}{
		{func(*world) {}, "d1 d2 d3 r1 r2a r2b r3"},
		{func(w *world) { w.keepRealization("r2a") }, "d3 r2b r3"},
		{func(w *world) { w.keepDerivation("d2") }, "d3 r3"},
		{func(w *world) { w.keepRealization("r3") }, ""},
		{func(w *world) { w.keepDerivation("d3") }, ""},
		{func(w *world) { w.keepRealization("r1") }, "d2 d3 r2a r2b r3"},
		{func(w *world) { w.keepRealization("nosuch"); w.keepDerivation("nosuch") }, "d1 d2 d3 r1 r2a r2b r3"},
		{func(w *world) {
			w.snap.Uses = []store.Use{{Derivations: []artifact.DerivationID{drv("d2"), drv("d1")}}}
		}, "d3 r3"},
		{func(w *world) { w.snap.Uses = []store.Use{{Realizations: []artifact.RealizationID{rid("r2b")}}} }, "d3 r2a r3"},
	} {
		w := chain()
		test.keep(w)
		if got := sorted(w.gone(New(&w.snap, all))); got != test.want {
			t.Errorf("with %v and %v goes %q, want %q", w.snap.Roots, w.snap.Uses, got, test.want)
		}
	}
}

// What was not used for the longest time goes first, but for what has to go before it; a plan ends when the store is small
// enough, and age keeps what is young with all that it needs.
func TestOrderSizeAndAge(t *testing.T) {
	w := chain()
	w.derivation("e", 0)
	w.realization("old", "e", 0)
	w.realization("new", "e", 9)
	for _, test := range []struct {
		o    Options
		want string
	}{
		// r3 was used at 4, so what it needs was of use at 4, too.
		{Options{MaxBytes: 64}, ""}, // 4 derivations and 6 realizations
		{Options{MaxBytes: 63}, "old"},
		{Options{MaxBytes: 53}, "old r3"},
		{Options{MaxBytes: 43}, "old r3 d3"},
		{Options{MaxBytes: 0}, "old r3 d3 r2a r2b d2 r1 d1 new e"},
		{Options{MaxBytes: 0, Since: at(3)}, "old"}, // r3 is younger, and needs all of its chain
		{Options{MaxBytes: 0, Since: at(4)}, "old r3 d3 r2a r2b d2 r1 d1"},
	} {
		if got := w.gone(New(&w.snap, test.o)); got != test.want {
			t.Errorf("%+v: goes %q, want %q", test.o, got, test.want)
		}
	}
}

// A public path whose realization goes leads to one that stays, if one does.
func TestHeir(t *testing.T) {
	w := chain()
	w.keepRealization("r2a")
	for _, s := range New(&w.snap, all).Steps {
		want := artifact.RealizationID{}
		if s.realization == rid("r2b") {
			want = rid("r2a")
		}
		if s.heir != want {
			t.Errorf("the heir of %s is %s", w.names[s.ID], s.heir)
		}
	}
}

// Inputs go with the last derivation that names them, before it; what none has named stays unless asked for.
func TestInputs(t *testing.T) {
	sources := func(w *world) {
		for i, name := range []string{"sha256:both", "sha256:one", "sha256:never"} {
			w.snap.Sources = append(w.snap.Sources, Thing{Name: name, Path: name, Bytes: 5, Time: at(i)})
		}
		w.snap.Packages = []Thing{{Name: "blake3:both", Bytes: 5}, {Name: "blake3:one", Bytes: 5}, {Name: "blake3:never", Bytes: 5}}
		w.snap.Trees = []Thing{{Name: "tree", Bytes: 0}}
		w.derivation("a", 1).Digests = []string{"sha256:both", "sha256:one", "sha256:one", "blake3:both", "blake3:one"}
		w.derivation("b", 2).Digests = []string{"sha256:both", "blake3:both"}
	}
	for _, test := range []struct {
		name string
		set  func(*world)
		o    Options
		want string
	}{
		{"all", func(*world) {}, all, "tree blake3:never b blake3:both blake3:one sha256:both sha256:one a"},
		{"one stays", func(w *world) { w.keepDerivation("b") }, all, "tree blake3:never blake3:one sha256:one a"},
		{"with sources", func(w *world) { w.keepDerivation("b") }, Options{MaxBytes: -1, Sources: true},
			"tree blake3:never blake3:one sha256:one a sha256:never"},
		{"young source", func(w *world) { w.keepDerivation("b"); w.keepDerivation("a") }, Options{MaxBytes: -1, Sources: true, Since: at(1)},
			"tree blake3:never"},
		{"leased", func(w *world) { w.snap.Uses = []store.Use{{Sources: []string{"sha256:one"}}} }, all, "b sha256:both a"},
	} {
		w := newWorld()
		sources(w)
		test.set(w)
		if got := w.gone(New(&w.snap, test.o)); got != test.want {
			t.Errorf("%s: goes %q, want %q", test.name, got, test.want)
		}
	}
}

// drawWorld makes a random store: derivations that depend on earlier ones, realizations with complete contexts, roots.
func drawWorld(t *rapid.T) *world {
	w := newWorld()
	results := map[string][]string{}
	n := rapid.IntRange(0, 12).Draw(t, "derivations")
	for i := range n {
		name := fmt.Sprint("d", i)
		var deps []string
		for j := range i {
			if rapid.IntRange(0, 3).Draw(t, "dep") == 0 {
				deps = append(deps, fmt.Sprint("d", j))
			}
		}
		w.derivation(name, rapid.IntRange(0, 9).Draw(t, "stored"), deps...).Digests = []string{fmt.Sprint("sha256:", i%3)}
		for k := range rapid.IntRange(0, 3).Draw(t, "results") {
			var context []string
			complete := true
			for _, dep := range deps {
				if len(results[dep]) == 0 {
					complete = false
					break
				}
				chosen := rapid.SliceOfNDistinct(rapid.SampledFrom(results[dep]), 1, len(results[dep]), rapid.ID).Draw(t, "chosen")
				context = append(context, dep+"="+strings.Join(chosen, ","))
			}
			if complete {
				r := fmt.Sprint("r", i, ".", k)
				w.realization(r, name, rapid.IntRange(0, 9).Draw(t, "used"), context...)
				results[name] = append(results[name], r)
			}
		}
	}
	for i := range w.snap.Derivations {
		if rapid.IntRange(0, 5).Draw(t, "root") == 0 {
			w.snap.Roots = append(w.snap.Roots, store.Root{Kind: store.Pin, Derivation: w.snap.Derivations[i].ID})
		}
	}
	for i := range w.snap.Realizations {
		if rapid.IntRange(0, 5).Draw(t, "root") == 0 {
			w.snap.Roots = append(w.snap.Roots, store.Root{Kind: store.Pin, Realization: w.snap.Realizations[i].ID})
		}
	}
	for i := range 3 {
		w.snap.Sources = append(w.snap.Sources, Thing{Name: fmt.Sprint("sha256:", i), Bytes: 3})
	}
	return w
}

// rules is what has to stay, by the words of the design and nothing clever.
func rules(snap *Snapshot) (kept map[string]bool) {
	kept = map[string]bool{}
	entries, outlines := map[artifact.RealizationID]*store.Entry{}, map[artifact.DerivationID]*Derivation{}
	for i := range snap.Realizations {
		entries[snap.Realizations[i].ID] = &snap.Realizations[i]
	}
	for i := range snap.Derivations {
		outlines[snap.Derivations[i].ID] = &snap.Derivations[i]
	}
	var realization func(id artifact.RealizationID)
	realization = func(id artifact.RealizationID) {
		kept[id.String()], kept[entries[id].Derivation.String()] = true, true
		for _, used := range entries[id].Context {
			for _, u := range used {
				realization(u)
			}
		}
	}
	var derivation func(id artifact.DerivationID)
	derivation = func(id artifact.DerivationID) {
		kept[id.String()] = true
		for _, dep := range outlines[id].Dependencies {
			derivation(dep)
		}
		for _, e := range entries {
			if e.Derivation == id {
				realization(e.ID)
			}
		}
	}
	for _, r := range snap.Roots {
		if r.Realization.IsZero() {
			derivation(r.Derivation)
		} else {
			realization(r.Realization)
		}
	}
	return kept
}

// TestRandomPlans: a plan without bounds removes exactly what the rules do not keep; any plan removes none of what they
// keep, and after each of its steps nothing that is left needs something that has gone.
func TestRandomPlans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		o := all
		switch rapid.IntRange(0, 2).Draw(t, "bound") {
		case 1:
			o.MaxBytes = rapid.Int64Range(0, 200).Draw(t, "max")
		case 2:
			o.Since = at(rapid.IntRange(0, 9).Draw(t, "since"))
		}
		plan, kept := New(&w.snap, o), rules(&w.snap)
		gone := map[string]bool{}
		left := plan.Before
		for _, step := range plan.Steps {
			if o.MaxBytes >= 0 && left <= o.MaxBytes && step.Kind == Realization {
				t.Fatalf("%s goes though the store is small enough", w.names[step.ID])
			}
			if kept[step.ID] {
				t.Fatalf("%s goes, which a root keeps", w.names[step.ID])
			}
			gone[step.ID] = true
			left -= step.Bytes
			w.checkWhole(t, gone)
		}
		for id, name := range w.names {
			if o == all && !kept[id] && !gone[id] {
				t.Fatalf("%s stays, which nothing keeps", name)
			}
		}
		if again := New(&w.snap, o); w.gone(again) != w.gone(plan) {
			t.Fatalf("two plans: %s and %s", w.gone(plan), w.gone(again))
		}
	})
}

// checkWhole makes sure that what is left has all that it needs.
func (w *world) checkWhole(t *rapid.T, gone map[string]bool) {
	sources := map[string]bool{}
	for _, s := range w.snap.Sources {
		sources[s.Name] = true
	}
	for i := range w.snap.Realizations {
		e := &w.snap.Realizations[i]
		if gone[e.ID.String()] {
			continue
		}
		if gone[e.Derivation.String()] {
			t.Fatalf("%s is left without its derivation", w.names[e.ID.String()])
		}
		for _, ids := range e.Context {
			for _, id := range ids {
				if gone[id.String()] {
					t.Fatalf("%s is left without %s of its context", w.names[e.ID.String()], w.names[id.String()])
				}
			}
		}
	}
	named := map[string]int{}
	for i := range w.snap.Derivations {
		d := &w.snap.Derivations[i]
		if gone[d.ID.String()] {
			continue
		}
		for _, dep := range d.Dependencies {
			if gone[dep.String()] {
				t.Fatalf("%s is left without %s, which it depends on", w.names[d.ID.String()], w.names[dep.String()])
			}
		}
		for _, digest := range d.Digests {
			named[digest]++
		}
	}
	for digest, n := range named {
		if n > 1 && gone[digest] {
			t.Fatalf("%s has gone, which %d derivations name", digest, n)
		}
	}
}
