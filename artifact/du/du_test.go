package du

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"hdjail/artifact"
	"hdjail/artifact/gc"
	"hdjail/artifact/store"
)

func id(n int) artifact.RealizationID { return artifact.RealizationID{byte(n + 1)} }

// entry is a realization of n bytes that was built with the others.
func entry(n int, bytes int64, used ...int) store.Entry {
	e := store.Entry{ID: id(n), Derivation: artifact.DerivationID{byte(n + 1)}, Bytes: bytes, Context: artifact.Context{}}
	for _, u := range used {
		e.Context[artifact.DerivationID{byte(u + 1)}] = []artifact.RealizationID{id(u)}
	}
	return e
}

func TestRows(t *testing.T) {
	snap := &gc.Snapshot{Realizations: []store.Entry{entry(0, 1), entry(1, 10, 0), entry(2, 100, 1, 0), entry(3, 1000, 0)}}
	rows := Rows(snap, []Target{{"two", []artifact.RealizationID{id(2)}}, {"three", []artifact.RealizationID{id(3)}}, {"none", []artifact.RealizationID{id(9)}}})
	for i, want := range []string{"three 1000 1001 1000 1 2", "two 100 111 110 1 3", "none 0 0 0 0 0"} {
		r := rows[i]
		if got := fmt.Sprint(r.Name, " ", r.Own, r.Closure, r.Unique, r.Shared, r.Members); got != want {
			t.Errorf("row %d is %s, want %s", i, got, want)
		}
	}
	if tops := Every(snap, true); len(tops) != 2 || len(Every(snap, false)) != 4 {
		t.Errorf("tops are %v", tops)
	}
}

// TestRandomRows: own and shared parts add up, and what all rows have alone and what they share is what their closures hold.
func TestRandomRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		snap := &gc.Snapshot{}
		for n := range rapid.IntRange(0, 10).Draw(t, "n") {
			var used []int
			for u := range n {
				if rapid.IntRange(0, 2).Draw(t, "used") == 0 {
					used = append(used, u)
				}
			}
			snap.Realizations = append(snap.Realizations, entry(n, rapid.Int64Range(0, 9).Draw(t, "bytes"), used...))
		}
		var unique, total int64
		rows := Rows(snap, Every(snap, true))
		for i, r := range rows {
			if r.Unique+r.Shared != r.Closure || r.Own > r.Closure || r.Own > r.Unique {
				t.Fatalf("%+v does not add up", r)
			}
			if i > 0 && rows[i-1].Closure < r.Closure {
				t.Fatal("not sorted")
			}
			unique += r.Unique
		}
		for i := range snap.Realizations {
			total += snap.Realizations[i].Bytes
		}
		if unique > total || len(rows) == 1 && unique != total {
			t.Fatalf("%d of %d bytes are unique", unique, total)
		}
	})
}
