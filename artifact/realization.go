package artifact

import (
	"bytes"
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
