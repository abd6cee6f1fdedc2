package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"hdjail/artifact"
	"hdjail/artifact/closure"
	"hdjail/build/plan"
	"hdjail/jail"
	"hdjail/jail/jailtest"
)

// node is a spec of a random world, and what its builds do.
type node struct {
	name         string
	dependencies []int
	many         []bool
	matcher      string
	promises     []string
	// outcomes are what its runs leave, one after the other, and again from the first on: different ones make a build that is
	// not deterministic. Each is a score with the files that are there.
	outcomes []outcome
	fails    bool
}

type outcome struct {
	score int
	files []string
}

// world is a random graph of specs in a site of its own.
type world struct {
	*site
	nodes []node
}

func newWorld(t *rapid.T) *world {
	dir, err := os.MkdirTemp("/dev/shm", "hdjail-world-") // thousands of them wait for no disk
	if err != nil {
		dir, err = os.MkdirTemp("", "hdjail-world-")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	w := &world{site: newSiteIn(t, dir, "/opt/hdjail", nil)}
	files := []string{"a", "b", "c"}
	drawOutcome := rapid.Custom(func(t *rapid.T) outcome {
		o := outcome{score: rapid.IntRange(0, 3).Draw(t, "score"), files: files}
		if rapid.IntRange(0, 7).Draw(t, "forgets") == 7 {
			o.files = files[:2]
		}
		return o
	})
	for i := range rapid.IntRange(1, 6).Draw(t, "nodes") {
		n := node{name: fmt.Sprint("n", i), outcomes: rapid.SliceOfN(drawOutcome, 1, 3).Draw(t, "outcomes"),
			fails:    rapid.IntRange(0, 9).Draw(t, "fails") == 9,
			promises: rapid.SliceOfNDistinct(rapid.SampledFrom(files), 0, 1, rapid.ID).Draw(t, "promises")}
		for dep := range i {
			if rapid.IntRange(0, 2).Draw(t, "depends") > 0 {
				n.dependencies, n.many = append(n.dependencies, dep), append(n.many, rapid.Bool().Draw(t, "many"))
			}
		}
		w.nodes = append(w.nodes, n)
		w.chooseMatcher(t, i)
		w.runner.Scripts[n.name] = n.script()
	}
	return w
}

// script plays the outcomes one after the other.
func (n node) script() jailtest.Script {
	if n.fails {
		return jailtest.Script{Log: "no luck\n", Result: jail.Result{Exit: 1}}
	}
	var mu sync.Mutex
	next := 0
	return jailtest.Script{Do: func(c jail.Config) error {
		mu.Lock()
		o := n.outcomes[next%len(n.outcomes)]
		next++
		mu.Unlock()
		err := os.WriteFile(filepath.Join(c.Scratch.Out(), "score"), fmt.Append(nil, o.score, "\n"), 0o644)
		for _, file := range o.files {
			err = errors.Join(err, os.WriteFile(filepath.Join(c.Scratch.Out(), file), nil, 0o644))
		}
		return err
	}}
}

// chooseMatcher draws a matcher for a node, and writes its spec. No ID depends on it.
func (w *world) chooseMatcher(t *rapid.T, i int) {
	n := &w.nodes[i]
	n.matcher = rapid.SampledFrom([]string{"only", "latest", "best(score)", "some(1)", "some(2)", "latest(2)", "all", "best(score, top 2)"}).Draw(t, "matcher")
	w.write(n.name+".yaml", w.spec(*n))
}

func (w *world) spec(n node) string {
	text := "hdjail: 1\nname: " + n.name + "\nscript: make\nmatch: " + n.matcher + "\npromises: [" + strings.Join(n.promises, ", ") + "]\n"
	if len(n.dependencies) > 0 {
		text += "dependencies:\n"
	}
	for i, dep := range n.dependencies {
		text += fmt.Sprintf("  - {spec: %s.yaml, many: %t}\n", w.nodes[dep].name, n.many[i])
	}
	return text
}

// targets draws some of the nodes.
func (w *world) targets(t *rapid.T) []string {
	list := rapid.SliceOfNDistinct(rapid.IntRange(0, len(w.nodes)-1), 1, 2, rapid.ID).Draw(t, "targets")
	names := make([]string, len(list))
	for i, n := range list {
		names[i] = w.nodes[n].name
	}
	return names
}

// reached is what the targets reach, itself included.
func (w *world) reached(targets ...string) map[string]bool {
	seen := map[string]bool{}
	for i, n := range slices.Backward(w.nodes) {
		if !seen[n.name] && !slices.Contains(targets, n.name) {
			continue
		}
		seen[n.name] = true
		for _, dep := range w.nodes[i].dependencies {
			seen[w.nodes[dep].name] = true
		}
	}
	return seen
}

func (w *world) node(name string) node {
	return w.nodes[slices.IndexFunc(w.nodes, func(n node) bool { return n.name == name })]
}

// listing is every path of the store with its size or target, but for the links to the newest records.
func (w *world) listing() string {
	var b strings.Builder
	err := filepath.WalkDir(w.store.Root(), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target, _ := os.Readlink(path)
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(&b, path, info.Mode(), info.ModTime().UnixNano(), target)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return b.String()
}

// stored is every realization of the store.
func (w *world) stored() (list []artifact.Realization) {
	entries, err := os.ReadDir(filepath.Join(w.store.Root(), "realizations"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		id, err := artifact.ParseRealizationID(e.Name())
		if err != nil {
			w.t.Fatal(err)
		}
		r, err := w.store.Realization(id)
		if err != nil {
			w.t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}

// checkPromises: every realization has every path that its derivation promises (H10). It returns how many there are.
func (w *world) checkPromises() (kept int) {
	w.t.Helper()
	for _, r := range w.stored() {
		d, err := w.store.Derivation(r.Derivation)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, p := range d.Promises {
			if _, err := os.Lstat(filepath.Join(w.store.OutPath(r.ID), p.Path)); err != nil {
				w.t.Errorf("%s breaks its promise: %v", d.Name, err)
			}
			kept++
		}
	}
	return kept
}

// checkStore: every realization keeps what its derivation promises, has no failed one in its context, agrees with itself, and
// has the empty context exactly if it has no dependencies (H4, H10, H17).
func (w *world) checkStore() {
	w.t.Helper()
	w.checkPromises()
	for _, r := range w.stored() {
		d, err := w.store.Derivation(r.Derivation)
		if err != nil {
			w.t.Fatal(err)
		}
		all, err := closure.Of(w.t.Context(), w.store, []artifact.RealizationID{r.ID})
		if err != nil {
			w.t.Errorf("%s does not agree with itself: %v", d.Name, err)
		}
		for id := range all {
			below, err := w.store.Derivation(id)
			if err != nil {
				w.t.Fatal(err)
			}
			if w.node(below.Name).fails {
				w.t.Errorf("%s was built with %s, which fails", d.Name, below.Name)
			}
		}
		if len(r.Context) != len(d.Dependencies) {
			w.t.Errorf("%s has %d dependencies and the context %v", d.Name, len(d.Dependencies), r.Context)
		}
	}
}

// checkPlan: each derivation has one choice, and every chosen realization was built with the choices below it, all the way down.
func (w *world) checkPlan(results []Result) {
	w.t.Helper()
	chosen := map[artifact.DerivationID][]artifact.RealizationID{}
	for _, r := range results {
		if r.Err == nil && len(r.Realizations) > 0 {
			chosen[r.Step.ID] = identities(r.Realizations)
		}
	}
	for d, ids := range chosen {
		for _, id := range ids {
			below, err := closure.Of(w.t.Context(), w.store, []artifact.RealizationID{id})
			if err != nil {
				w.t.Fatal(err)
			}
			for x, use := range below {
				if x != d && !slices.Equal(use.IDs, chosen[x]) {
					w.t.Errorf("%s was built with %v of %s, and the plan chose %v", id, use.IDs, x, chosen[x])
				}
			}
		}
	}
}

// act realizes targets with random options and checks what has to hold of any realization of a plan.
func (w *world) act(t *rapid.T) {
	targets := w.targets(t)
	p := w.plan(slices.Clone(targets)...)
	o := Options{Jobs: rapid.IntRange(1, 3).Draw(t, "jobs"), KeepGoing: rapid.Bool().Draw(t, "keep going"),
		DryRun: rapid.IntRange(0, 3).Draw(t, "dry run") == 3, RealizedOnly: rapid.IntRange(0, 5).Draw(t, "realized only") == 5}
	if rapid.IntRange(0, 2).Draw(t, "rebuild") == 2 && !o.RealizedOnly {
		o.Rebuild = map[artifact.DerivationID]bool{rapid.SampledFrom(p.Steps).Draw(t, "which").ID: true}
	}
	before, runs := w.listing(), len(w.order())
	results, err := w.builder.Realize(t.Context(), p, o)
	if o.DryRun || o.RealizedOnly {
		if w.listing() != before || len(w.order()) != runs {
			t.Errorf("%+v changes the store, or runs something", o)
		}
	}
	reached := w.reached(targets...)
	for _, name := range w.order()[runs:] {
		if !reached[name] {
			t.Errorf("%s was built, and %v do not reach it", name, targets)
		}
	}
	w.checkPlan(results)
	w.checkStore()
	w.checkFailures(results, err, o)
}

// checkFailures: the error is that of a step, what was skipped tells the error of one that it depends on, and with --keep-going
// everything else was realized.
func (w *world) checkFailures(results []Result, err error, o Options) {
	w.t.Helper()
	first := err == nil
	for _, r := range results {
		first = first || errors.Is(err, r.Err) && r.Err != nil
		var skipped *Skipped
		switch {
		case r.Err == nil && len(r.Realizations) == 0 && !o.DryRun:
			w.t.Errorf("%s has neither an error nor a realization", r.Step.Name())
		case errors.As(r.Err, &skipped) && !strings.Contains(r.Err.Error(), skipped.Err.Error()):
			w.t.Errorf("%v does not tell %v", r.Err, skipped.Err)
		case skipped != nil && o.KeepGoing && !slices.ContainsFunc(r.Step.Dependencies, func(d *plan.Step) bool { return results[d.Index].Err != nil }):
			w.t.Errorf("%s was skipped, and nothing that it depends on has failed", r.Step.Name())
		case r.Err == nil && slices.ContainsFunc(r.Step.Dependencies, func(d *plan.Step) bool { return results[d.Index].Err != nil }):
			w.t.Errorf("%s was realized, and something that it depends on has failed", r.Step.Name())
		}
	}
	if !first {
		w.t.Errorf("%v is the error of no step", err)
	}
}

// TestPropertyHistory realizes random plans of a random world, with other matchers each time.
func TestPropertyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 4).Draw(t, "acts") {
			w.act(t)
			w.chooseMatcher(t, rapid.IntRange(0, len(w.nodes)-1).Draw(t, "changed"))
		}
	})
}

// TestPropertyAgain: a dry run changes nothing, and tells exactly what the build then runs (H11); after a build that succeeds, another one runs
// nothing and gives the same (H2, H19).
func TestPropertyAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		target := w.nodes[len(w.nodes)-1].name
		p := w.plan(target)
		before := w.listing()
		dry, errDry := w.builder.Realize(t.Context(), p, Options{DryRun: true})
		if w.listing() != before || len(w.order()) > 0 {
			t.Error("a dry run changes the store, or runs something")
		}
		results, err := w.builder.Realize(t.Context(), p, Options{KeepGoing: true})
		for i, r := range results {
			built := len(r.Built) > 0
			if errDry == nil && built && len(dry[i].Realizations) > 0 || err == nil && built != (len(dry[i].Realizations) == 0) {
				t.Errorf("%s: built %t, and the dry run found %v", r.Step.Name(), built, dry[i].Realizations)
			}
		}
		runs := len(w.order())
		again, errAgain := w.builder.Realize(t.Context(), p, Options{RealizedOnly: true})
		if len(w.order()) != runs {
			t.Error("realized only runs something")
		}
		if (err == nil) != (errAgain == nil) && !errors.As(err, new(*Failure)) && !errors.As(err, new(*SeveralError)) {
			t.Errorf("%v, and then %v", err, errAgain)
		}
		if err != nil {
			return
		}
		for i := range results {
			if !slices.Equal(identities(results[i].Realizations), identities(again[i].Realizations)) || !again[i].Cached {
				t.Errorf("%s: %v and then %v", results[i].Step.Name(), results[i].Realizations, again[i].Realizations)
			}
		}
		step := rapid.SampledFrom(p.Steps).Draw(t, "rebuilt")
		if n := w.node(step.Name()); len(n.outcomes) == 1 {
			rebuilt, err := w.builder.Realize(t.Context(), p, Options{Rebuild: map[artifact.DerivationID]bool{step.ID: true}})
			if err != nil || !slices.Equal(identities(rebuilt[step.Index].Realizations), identities(results[step.Index].Realizations)) ||
				len(w.order()) != runs+1 {
				t.Errorf("built again, %s is another one: %v; %v", step.Name(), rebuilt[step.Index].Realizations, err)
			}
		}
	})
}

// TestPropertyIdentities: the order of plans does not depend on that of the targets (H20), resolving twice gives one derivation
// file (H1), and a changed spec changes the IDs of itself and of its dependants, and no other.
func TestPropertyIdentities(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		names := make([]string, len(w.nodes))
		for i, n := range w.nodes {
			names[i] = n.name
		}
		order := func(p *plan.Plan) (list []artifact.DerivationID) {
			for _, step := range p.Steps {
				list = append(list, step.ID)
			}
			return list
		}
		p := w.plan(slices.Clone(names)...)
		again := w.plan(rapid.Permutation(slices.Clone(names)).Draw(t, "order")...)
		if !slices.Equal(order(p), order(again)) {
			t.Fatalf("orders %v and %v", order(p), order(again))
		}
		changed := rapid.IntRange(0, len(w.nodes)-1).Draw(t, "changed")
		w.write(names[changed]+".yaml", w.spec(w.nodes[changed])+"environment: {A: b}\n")
		ids := map[string]artifact.DerivationID{}
		for _, step := range p.Steps {
			ids[step.Name()] = step.ID
		}
		for _, step := range w.plan(slices.Clone(names)...).Steps {
			if depends := w.reached(step.Name())[names[changed]]; (step.ID != ids[step.Name()]) != depends {
				t.Errorf("%s changed: %s has the ID %s, before %s", names[changed], step.Name(), step.ID, ids[step.Name()])
			}
		}
		for range 2 {
			if _, err := w.builder.Realize(t.Context(), p, Options{KeepGoing: true}); err != nil && context.Cause(t.Context()) != nil {
				t.Fatal(err)
			}
		}
		if files, err := filepath.Glob(w.store.Root() + "/derivations/*"); err != nil || len(files) > len(p.Steps) {
			t.Errorf("%d derivations, %d files: %v", len(p.Steps), len(files), err)
		}
	})
}
