// Package du adds up what realizations take of a store, with what they were built with: of that, what is theirs alone and
// what they share. It is pure; artifact/gc reads the store.
package du

import (
	"cmp"
	"slices"

	"hdjail/artifact"
	"hdjail/artifact/gc"
	"hdjail/artifact/store"
)

// Target is what a row is about: one or several realizations under one name.
type Target struct {
	Name         string
	Realizations []artifact.RealizationID
}

// Row adds up one target. Sizes are in bytes of content.
type Row struct {
	Name string `json:"name"`
	// Own is the size of the realizations themselves, Closure that of all that they were built with, too.
	Own     int64 `json:"own"`
	Closure int64 `json:"closure"`
	// Unique is the part of the closure that is in that of no other row, Shared the rest.
	Unique int64 `json:"unique"`
	Shared int64 `json:"shared"`
	// Realizations are those of the target, Members counts those of its closure.
	Realizations []artifact.RealizationID `json:"realizations"`
	Members      int                      `json:"members"`
}

// Rows adds up the targets, those with the largest closure first. Members of a closure that the snapshot lacks count nothing.
func Rows(snap *gc.Snapshot, targets []Target) []Row {
	entries := make(map[artifact.RealizationID]*store.Entry, len(snap.Realizations))
	for i := range snap.Realizations {
		entries[snap.Realizations[i].ID] = &snap.Realizations[i]
	}
	users := map[artifact.RealizationID]int{}
	closures := make([][]*store.Entry, len(targets))
	for i, t := range targets {
		closures[i] = closure(entries, t.Realizations)
		for _, e := range closures[i] {
			users[e.ID]++
		}
	}
	rows := make([]Row, len(targets))
	for i, t := range targets {
		row := Row{Name: t.Name, Realizations: t.Realizations, Members: len(closures[i])}
		for _, id := range t.Realizations {
			if e := entries[id]; e != nil {
				row.Own += e.Bytes
			}
		}
		for _, e := range closures[i] {
			row.Closure += e.Bytes
			if users[e.ID] == 1 {
				row.Unique += e.Bytes
			}
		}
		row.Shared = row.Closure - row.Unique
		rows[i] = row
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Or(cmp.Compare(b.Closure, a.Closure), cmp.Compare(a.Name, b.Name)) })
	return rows
}

// closure lists the realizations and everything in their contexts, each once.
func closure(entries map[artifact.RealizationID]*store.Entry, ids []artifact.RealizationID) (list []*store.Entry) {
	seen := map[artifact.RealizationID]bool{}
	for queue := slices.Clone(ids); len(queue) > 0; {
		id := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		e := entries[id]
		if e == nil || seen[id] {
			continue
		}
		seen[id] = true
		list = append(list, e)
		for _, used := range e.Context {
			queue = append(queue, used...)
		}
	}
	return list
}

// Every makes a target of each realization, or, with tops, of those that no other was built with.
func Every(snap *gc.Snapshot, tops bool) []Target {
	names := make(map[artifact.DerivationID]string, len(snap.Derivations))
	for i := range snap.Derivations {
		d := &snap.Derivations[i]
		names[d.ID] = d.Name
		if d.Version != "" {
			names[d.ID] += "-" + d.Version
		}
	}
	needed := map[artifact.RealizationID]bool{}
	for i := range snap.Realizations {
		for _, used := range snap.Realizations[i].Context {
			for _, id := range used {
				needed[id] = true
			}
		}
	}
	targets := []Target{}
	for i := range snap.Realizations {
		e := &snap.Realizations[i]
		if !tops || !needed[e.ID] {
			targets = append(targets, Target{names[e.Derivation], []artifact.RealizationID{e.ID}})
		}
	}
	return targets
}

// Totals is the content of a store by what it is.
type Totals struct {
	Realizations int64 `json:"realizations"`
	Sources      int64 `json:"sources"`
	HostPackages int64 `json:"host_packages"`
}

// Total adds up a snapshot that was measured.
func Total(snap *gc.Snapshot) (t Totals) {
	for i := range snap.Realizations {
		t.Realizations += snap.Realizations[i].Bytes
	}
	for _, source := range snap.Sources {
		t.Sources += max(source.Bytes, 0)
	}
	for _, list := range [][]gc.Thing{snap.Packages, snap.Trees} {
		for _, p := range list {
			t.HostPackages += max(p.Bytes, 0)
		}
	}
	return t
}
