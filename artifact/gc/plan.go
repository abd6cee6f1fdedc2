package gc

import (
	"container/heap"
	"path/filepath"
	"slices"
	"time"

	"hdjail/artifact"
	"hdjail/artifact/store"
)

// Options say what may stay though nothing refers to it.
type Options struct {
	// MaxBytes ends a plan once the content of the store is not larger; less than 0 for a plan that frees all it can. What
	// was not of use for the longest time goes first.
	MaxBytes int64
	// Since keeps what was of use after it; zero keeps nothing.
	Since time.Time
	// Sources frees those, too, that no derivation in the store has ever named: they were fetched ahead of a build, or added
	// by hand.
	Sources bool
}

// Kind says what a step removes.
type Kind string

// All kinds. A derivation goes with its build records; a link is the record of one that is no more.
const (
	Realization Kind = "realization"
	Drv         Kind = "derivation"
	Source      Kind = "source"
	Package     Kind = "host package"
	Tree        Kind = "host tree"
	Link        Kind = "link"
)

// Step removes one thing.
type Step struct {
	Kind Kind `json:"kind"`
	// ID is its identity or digest in text form, the path of a link.
	ID string `json:"id"`
	// Name is that of the derivation, empty where it is not known.
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	// Bytes is what it frees, -1 before Plan.Measure.
	Bytes int64 `json:"bytes"`

	realization, heir artifact.RealizationID
	derivation        artifact.DerivationID
	place             string
	root              store.Root
}

// Plan is what goes, in order. After each step nothing that is left needs anything that has gone.
type Plan struct {
	Steps []Step
	// Before is the content of the store, as far as it was measured; Freed is the sum of the steps.
	Before, Freed int64
	// Left is what the plan leaves of Before. It is more than Options.MaxBytes if all else is kept.
	Left int64
}

// path is where the content of a step is.
func (s *Step) path(in *store.Store) string {
	switch s.Kind {
	case Realization:
		return in.OutPath(s.realization)
	case Drv:
		return filepath.Join(in.Root(), "builds", s.derivation.String())
	}
	return s.place
}

// New makes the plan. The snapshot is not changed; the result depends on the arguments alone.
func New(snap *Snapshot, o Options) *Plan {
	g := newGraph(snap)
	g.keepRooted()
	if !o.Since.IsZero() {
		g.keepYounger(o.Since)
	}
	p := &planner{graph: g, options: o, plan: &Plan{}, freed: make([]bool, len(g.kept)), done: map[string]bool{}}
	p.count()
	for _, r := range snap.Gone {
		p.step(Step{Kind: Link, ID: r.Name, root: r})
	}
	p.freePackages()
	for node := range p.order() {
		if p.enough() {
			break
		}
		p.free(node)
	}
	p.findHeirs()
	if o.Sources {
		for _, t := range snap.Sources {
			if p.named[t.Name] == 0 && !p.done[t.Path] && !p.enough() {
				p.freeThing(Source, t)
			}
		}
	}
	p.plan.Left = p.left
	return p.plan
}

// planner is a plan that is being made.
type planner struct {
	*graph
	options Options
	plan    *Plan
	// named counts the derivations, and leases, that name a digest; a package of which one has gone is in no tree.
	named map[string]int
	left  int64
	// freed are the nodes that go, done the paths of inputs.
	freed []bool
	done  map[string]bool
	// things are sources and packages by digest; a digest may be of one of each.
	things map[string][]thingOf
	// packages tells that no process may use any, gone that some were freed.
	packages, gone bool
}

type thingOf struct {
	Thing
	kind Kind
}

func (p *planner) count() {
	p.named, p.things = map[string]int{}, map[string][]thingOf{}
	for _, t := range p.snap.Sources {
		p.things[t.Name] = append(p.things[t.Name], thingOf{t, Source})
	}
	for _, t := range p.snap.Packages {
		p.things[t.Name] = append(p.things[t.Name], thingOf{t, Package})
	}
	for i := range p.snap.Derivations {
		d := &p.snap.Derivations[i]
		p.plan.Before += d.Bytes
		for _, digest := range d.unique() {
			p.named[digest]++
		}
	}
	for _, u := range p.snap.Uses {
		for _, digest := range u.Sources {
			p.named[digest]++
		}
	}
	for i := range p.snap.Realizations {
		p.plan.Before += p.snap.Realizations[i].Bytes
	}
	for _, list := range [][]Thing{p.snap.Sources, p.snap.Packages, p.snap.Trees} {
		for _, t := range list {
			p.plan.Before += max(t.Bytes, 0)
		}
	}
	p.left, p.packages = p.plan.Before, len(p.snap.Uses) == 0
}

// unique are the digests of a derivation, each once.
func (d *Derivation) unique() []string {
	return slices.Compact(slices.Sorted(slices.Values(d.Digests)))
}

func (p *planner) enough() bool { return p.options.MaxBytes >= 0 && p.left <= p.options.MaxBytes }

func (p *planner) step(s Step) {
	p.plan.Steps = append(p.plan.Steps, s)
	p.plan.Freed += max(s.Bytes, 0)
	p.left -= max(s.Bytes, 0)
}

// freePackages frees what the host can give again: packages that no derivation names.
func (p *planner) freePackages() {
	for _, t := range p.snap.Packages {
		if p.named[t.Name] == 0 && !p.enough() {
			p.freeThing(Package, t)
		}
	}
}

// freeThing frees an input that nothing names any more. The first package takes all composed trees along, whose files may
// be other names of its own; they are composed again when a build wants one.
func (p *planner) freeThing(kind Kind, t Thing) {
	if t.Time.After(p.options.Since) && !p.options.Since.IsZero() || kind == Package && !p.packages {
		return
	}
	if kind == Package && !p.gone {
		p.gone = true
		for _, tree := range p.snap.Trees {
			p.step(Step{Kind: Tree, ID: tree.Name, Bytes: tree.Bytes, place: tree.Path})
		}
	}
	p.done[t.Path] = true
	p.step(Step{Kind: kind, ID: t.Name, Bytes: t.Bytes, place: t.Path})
}

// free removes a realization, or a derivation after what only it has named.
func (p *planner) free(node int) {
	p.freed[node] = true
	if p.isRealization(node) {
		e := &p.snap.Realizations[node]
		s := Step{Kind: Realization, ID: e.ID.String(), Bytes: e.Bytes, realization: e.ID}
		if e.Bytes == 0 {
			s.Bytes = -1
		}
		if d, ok := p.derivations[e.Derivation]; ok {
			s.derivation, s.Name, s.Version = e.Derivation, p.derivation(d).Name, p.derivation(d).Version
		}
		p.step(s)
		return
	}
	d := p.derivation(node)
	for _, digest := range d.unique() {
		if p.named[digest]--; p.named[digest] > 0 {
			continue
		}
		for _, t := range p.things[digest] {
			p.freeThing(t.kind, t.Thing)
		}
	}
	s := Step{Kind: Drv, ID: d.ID.String(), Name: d.Name, Version: d.Version, Bytes: d.Bytes, derivation: d.ID}
	if len(p.results[node]) == 0 {
		s.Bytes = -1 // the logs of failed builds
	}
	p.step(s)
}

// findHeirs says of each realization that goes where its public path leads then.
func (p *planner) findHeirs() {
	for i := range p.plan.Steps {
		if s := &p.plan.Steps[i]; s.Kind == Realization && !s.derivation.IsZero() {
			s.heir = p.heir(p.derivations[s.derivation])
		}
	}
}

// heir is the realization that a public path leads to when another one has gone: of those that stay the one that was of use
// last.
func (p *planner) heir(derivation int) (id artifact.RealizationID) {
	var last time.Time
	for _, r := range p.results[derivation] {
		e := &p.snap.Realizations[r]
		if !p.freed[r] && (id.IsZero() || e.Used.After(last) || e.Used.Equal(last) && slices.Compare(e.ID[:], id[:]) < 0) {
			id, last = e.ID, e.Used
		}
	}
	return id
}

// order yields the nodes that may go: what needs another one before that, and of those that could be next the one that was
// not of use for the longest time, if some may stay. What something needs that stays, never comes.
func (p *planner) order() func(yield func(int) bool) {
	needed := make([]int, len(p.needs)) // by how many that are still there
	for _, needs := range p.needs {
		for _, n := range needs {
			needed[n]++
		}
	}
	next := &queue{graph: p.graph, last: make([]time.Time, len(p.needs)), unordered: p.options.MaxBytes < 0}
	for node := range p.needs {
		next.last[node] = p.used(node)
		if needed[node] == 0 && !p.kept[node] {
			next.nodes = append(next.nodes, node)
		}
	}
	next.start()
	return func(yield func(int) bool) {
		for len(next.nodes) > 0 {
			node := next.take()
			if !yield(node) {
				return
			}
			for _, n := range p.needs[node] {
				if next.last[node].After(next.last[n]) {
					next.last[n] = next.last[node] // it was of use to this one
				}
				if needed[n]--; needed[n] == 0 && !p.kept[n] {
					next.add(n)
				}
			}
		}
	}
}

// queue holds the nodes that may be next: a heap, least recently used first, ties by identity; or, as that takes longer,
// unordered.
type queue struct {
	*graph
	nodes     []int
	last      []time.Time
	unordered bool
}

func (q *queue) start() {
	if !q.unordered {
		heap.Init(q)
	}
}

func (q *queue) add(node int) {
	if q.unordered {
		q.Push(node)
		return
	}
	heap.Push(q, node)
}

func (q *queue) take() int {
	if q.unordered {
		return q.Pop().(int)
	}
	return heap.Pop(q).(int)
}

// Len implements heap.Interface.
func (q *queue) Len() int { return len(q.nodes) }

// Less implements heap.Interface.
func (q *queue) Less(i, j int) bool {
	a, b := q.nodes[i], q.nodes[j]
	if c := q.last[a].Compare(q.last[b]); c != 0 {
		return c < 0
	}
	x, y := q.identity(a), q.identity(b)
	return slices.Compare(x[:], y[:]) < 0
}

// Swap implements heap.Interface.
func (q *queue) Swap(i, j int) { q.nodes[i], q.nodes[j] = q.nodes[j], q.nodes[i] }

// Push implements heap.Interface.
func (q *queue) Push(node any) { q.nodes = append(q.nodes, node.(int)) }

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	node := q.nodes[len(q.nodes)-1]
	q.nodes = q.nodes[:len(q.nodes)-1]
	return node
}

func (g *graph) identity(node int) [20]byte {
	if g.isRealization(node) {
		return g.snap.Realizations[node].ID
	}
	return g.derivation(node).ID
}
