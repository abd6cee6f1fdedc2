package lens

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hdjail/artifact"
)

// Store is where a Question looks things up; *store.Store is one.
type Store interface {
	Derivation(id artifact.DerivationID) (*artifact.Derivation, error)
	Realization(id artifact.RealizationID) (artifact.Realization, error)
	// OutPath is the tree of a realization on the host.
	OutPath(id artifact.RealizationID) string
}

// Question says which build of a store is asked.
type Question struct {
	Store Store
	// Planned are derivations that the store may lack; nil for none.
	Planned    map[artifact.DerivationID]*artifact.Derivation
	Derivation artifact.DerivationID
	// Realization is the one that is asked, zero when only the derivation is.
	Realization artifact.RealizationID
}

// Answer is what an expression stands for.
type Answer struct {
	Expression string `json:"expression"`
	// Derivation and Realization are those that the expression leads to; Realization is zero where a derivation answers.
	Derivation  artifact.DerivationID  `json:"derivation"`
	Realization artifact.RealizationID `json:"realization,omitzero"`
	// Kind is "path", one on this host, "value", or "id" for a whole build.
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

// Ask answers an expression, with or without `${` and `}`. In place of a spec's own `self.out` the build that is asked
// answers every `self.…`. A realization answers with paths on this host; a derivation answers fields only. What leads
// nowhere is an *Error.
func (q Question) Ask(expression string) (Answer, error) {
	if inner, found := strings.CutPrefix(expression, "${"); found && strings.HasSuffix(inner, "}") {
		expression = inner[:len(inner)-1]
	}
	e, err := ParseExpr(expression)
	if err != nil {
		return Answer{}, err
	}
	from := stored{Question: q}
	if from.derivation, err = q.derivation(q.Derivation); err != nil {
		return Answer{}, err
	}
	if !q.Realization.IsZero() {
		from.chosen = []artifact.RealizationID{q.Realization}
	}
	to, _, err := Follow(from, e)
	if err != nil {
		return Answer{}, err
	}
	return to.(stored).answer(e)
}

func (q Question) derivation(id artifact.DerivationID) (*artifact.Derivation, error) {
	if d, known := q.Planned[id]; known {
		return d, nil
	}
	return q.Store.Derivation(id)
}

// stored is a derivation with what was chosen for it: nothing when a derivation was asked, several where a build used many.
type stored struct {
	Question
	derivation *artifact.Derivation
	chosen     []artifact.RealizationID
}

// Derivation implements Build.
func (s stored) Derivation() *artifact.Derivation { return s.derivation }

// Dependency implements Build.
func (s stored) Dependency(i int) (Build, error) {
	id := s.derivation.Dependencies[i].ID
	to := stored{Question: s.Question}
	var err error
	if to.derivation, err = s.Question.derivation(id); err != nil {
		return nil, err
	}
	for _, from := range s.chosen {
		r, err := s.Store.Realization(from)
		if err != nil {
			return nil, err
		}
		for _, chosen := range r.Context[id] {
			if !slices.Contains(to.chosen, chosen) {
				to.chosen = append(to.chosen, chosen)
			}
		}
	}
	return to, nil
}

func (s stored) answer(e Expr) (a Answer, err error) {
	a = Answer{Expression: e.Source, Derivation: s.derivation.ID(), Kind: "value"}
	if len(s.chosen) == 1 {
		a.Realization = s.chosen[0]
	}
	if e.Kind == Field {
		a.Value, err = Value(s.derivation, e)
		return a, err
	}
	if len(s.chosen) > 1 {
		return a, e.Fail("", "%d realizations of %s were used, so there is no one answer", len(s.chosen), s.derivation.Name)
	}
	if e.Kind == Whole {
		a.Kind, a.Value = "id", a.Derivation.String()
		if !a.Realization.IsZero() {
			a.Value = a.Realization.String()
		}
		return a, nil
	}
	if len(s.chosen) == 0 {
		return a, e.Fail("ask a realization: hdjail build prints its path, hdjail list its ID", "a derivation answers fields only, and this needs files")
	}
	dir := s.Store.OutPath(a.Realization)
	if e.Kind.Content() {
		a.Value, err = Read(dir, e)
		return a, err
	}
	a.Kind, a.Value = "path", dir
	if e.Kind == Promise {
		if e.Path, err = Promised(s.derivation, e); err == nil {
			err = exists(dir, e)
		}
		a.Value = filepath.Join(dir, e.Path)
	}
	return a, err
}

// exists looks for a promised path; a link counts wherever it leads, because the promise was checked when it was built.
func exists(dir string, e Expr) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := root.Lstat(e.Path); err != nil {
		return e.Fail("hdjail build --help tells how to build it again", "the output has lost %q: %v", e.Path, cause(err))
	}
	return nil
}
