package artifact

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Context maps each direct dependency of a derivation to the realizations of it that a build used: a sorted list,
// non-empty, without duplicates. No dependencies: the empty map, or nil. Deeper ones follow, because a RealizationID
// binds the context below it.
type Context map[DerivationID][]RealizationID

// NewContext returns the canonical form of chosen: lists sorted, without duplicates. An empty list gives *MalformedError.
func NewContext(chosen map[DerivationID][]RealizationID) (Context, error) {
	c := make(Context, len(chosen))
	for d, list := range chosen {
		if len(list) == 0 {
			return nil, &MalformedError{What: "context", Name: d.String(), Reason: "no realization is chosen"}
		}
		c[d] = slices.Compact(sorted(slices.Clone(list), compareRealizationIDs))
	}
	return c, nil
}

// Check reports a list that is empty, unsorted or has duplicates, as *MalformedError.
func (c Context) Check() error {
	for d, list := range c {
		for i := range list {
			if i > 0 && compareRealizationIDs(list[i-1], list[i]) >= 0 {
				return &MalformedError{What: "context", Name: d.String(), Reason: "its realizations are not sorted"}
			}
		}
		if len(list) == 0 {
			return &MalformedError{What: "context", Name: d.String(), Reason: "no realization is chosen"}
		}
	}
	return nil
}

// Fits makes sure that c is a context of d: it is canonical and has realizations of each direct dependency and of nothing
// else, several only where d says many. What does not fit gives *MalformedError. The function tells which derivation a
// realization is of; its error is returned as it is.
func (c Context) Fits(d *Derivation, of func(RealizationID) (DerivationID, error)) error {
	if err := c.Check(); err != nil {
		return err
	}
	malformed := func(format string, args ...any) error {
		return &MalformedError{What: "context", Name: d.Name, Reason: fmt.Sprintf(format, args...)}
	}
	many := map[DerivationID]bool{}
	for _, dep := range d.Dependencies {
		many[dep.ID] = many[dep.ID] || dep.Many
		if _, ok := c[dep.ID]; !ok {
			return malformed("the dependency %s has no realization", dep.ID)
		}
	}
	for id, chosen := range c {
		many, ok := many[id]
		if !ok {
			return malformed("%s is no dependency", id)
		}
		if len(chosen) > 1 && !many {
			return malformed("the dependency %s has %d realizations, and does not say many", id, len(chosen))
		}
		for _, r := range chosen {
			found, err := of(r)
			if err != nil {
				return err
			}
			if found != id {
				return malformed("%s is a realization of %s, not of %s", r, found, id)
			}
		}
	}
	return nil
}

// Equal reports whether both contexts, canonical ones, are the same.
func (c Context) Equal(other Context) bool {
	return maps.EqualFunc(c, other, func(a, b []RealizationID) bool { return slices.Equal(a, b) })
}

// NewRealizationID returns the identity of the tree as a result of drv in the context ctx, which is canonical.
func NewRealizationID(drv DerivationID, ctx Context, tree TreeDigest) RealizationID {
	w := writer{}
	w.buf = append(w.buf, drv[:]...)
	w.int(len(ctx))
	for _, d := range slices.SortedFunc(maps.Keys(ctx), func(a, b DerivationID) int { return bytes.Compare(a[:], b[:]) }) {
		w.buf = append(w.buf, d[:]...)
		w.int(len(ctx[d]))
		for _, r := range ctx[d] {
			w.buf = append(w.buf, r[:]...)
		}
	}
	w.buf = append(w.buf, tree[:]...)
	return RealizationID(sum20(realizationHashers, w.buf))
}

func compareRealizationIDs(a, b RealizationID) int { return bytes.Compare(a[:], b[:]) }

// Realization is one result of a derivation, as the store knows it.
type Realization struct {
	ID         RealizationID `json:"id"`
	Derivation DerivationID  `json:"derivation"`
	Context    Context       `json:"context"`
	Tree       TreeDigest    `json:"tree"`
	// Records are the runs that gave this tree in this context, oldest first. There is at least one.
	Records []BuildRecord `json:"records"`
}

// BuildRecord tells one run of a build, good or bad.
type BuildRecord struct {
	// Number counts the runs of one derivation in one store, from 1. It is the name of the record's directory.
	Number     int          `json:"-"`
	Derivation DerivationID `json:"derivation"`
	// Purpose is "build", "check", "shell" or "import".
	Purpose string `json:"purpose"`
	// Mode is the mode of the jail: "off", "log", "hide" or "fail".
	Mode    string    `json:"mode,omitempty"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Builder Builder   `json:"builder"`
	Context Context   `json:"context,omitempty"`
	// Failure is empty for a run that gave a realization, else "exit", "illegal-access", "promise", "output", "timeout",
	// "limits", "cancelled" or "error".
	Failure string `json:"failure,omitempty"`
	// Message is the error of a failure, one line.
	Message string `json:"message,omitempty"`
	// Exit is the exit status of the script, 128+n when signal n ended it.
	Exit int `json:"exit"`
	// Realization and Tree are zero for a failure.
	Realization RealizationID `json:"realization,omitzero"`
	Tree        TreeDigest    `json:"tree,omitzero"`
	// Jobs is what $JOBS was, 0 where that is not known.
	Jobs int `json:"jobs,omitempty"`
	// Limits are those in force, by name: bytes, processes, processors or nanoseconds.
	Limits map[string]float64 `json:"limits,omitempty"`
	// PeakMemory is in bytes, 0 where nobody counted.
	PeakMemory int64 `json:"peak_memory,omitempty"`
	// Complete tells whether the record of accesses is whole; nil where none was made. Verdicts counts its accesses by verdict.
	Complete *bool            `json:"complete,omitempty"`
	Verdicts map[string]int64 `json:"verdicts,omitempty"`
	// LogBytes is the length of the log before compression.
	LogBytes int64 `json:"log_bytes"`
	// Kept is the path of the tree of a failed build that was kept, empty for none.
	Kept string `json:"kept,omitempty"`
}

// Builder is who made a build record.
type Builder struct {
	Host string `json:"host"`
	UID  int    `json:"uid"`
}
