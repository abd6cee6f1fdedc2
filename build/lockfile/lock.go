package lockfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"hdjail/artifact"
	"hdjail/artifact/compare"
	"hdjail/artifact/match"
	"hdjail/build/plan"
)

// Chosen is what a plan selected for each derivation; nothing for what is not built.
type Chosen map[artifact.DerivationID][]artifact.Realization

// Names returns what lock files call a target: the path of its spec relative to their directory, "" for one without a spec.
type Names func(target *plan.Step) string

// New makes the lock file of a plan. closures are those that were pinned for it, in any order.
func New(p *plan.Plan, names Names, closures []Closure, chosen Chosen) *File {
	f := &File{Derivations: map[artifact.DerivationID]*artifact.Derivation{}, HostPackages: []Closure{},
		Realizations: map[artifact.DerivationID][]Realization{}}
	f.Meta.Format = Format
	for _, t := range p.Targets {
		f.Roots = append(f.Roots, Root{names(t), t.Derivation.Name, t.ID})
		f.Meta.System, f.Meta.Prefix = t.Derivation.System, t.Derivation.Prefix
	}
	for _, step := range p.Steps {
		f.Derivations[step.ID] = &step.Derivation
		for _, r := range chosen[step.ID] {
			f.Realizations[step.ID] = append(f.Realizations[step.ID], Realization{r.ID, r.Tree, r.Context})
		}
		slices.SortFunc(f.Realizations[step.ID], func(a, b Realization) int { return slices.Compare(a.ID[:], b.ID[:]) })
	}
	f.HostPackages = append(f.HostPackages, closures...)
	slices.SortFunc(f.HostPackages, func(a, b Closure) int { return slices.Compare(a.Requested, b.Requested) })
	return f
}

// MismatchError reports a spec that no longer resolves to what is locked.
type MismatchError struct {
	// Spec is the file, or the name of a derivation without one.
	Spec          string
	Locked, Found artifact.DerivationID
	// Why has the differences, from what is locked to what was found.
	Why *compare.Derivations
}

// Error implements error.
func (e *MismatchError) Error() string {
	what := "it"
	if len(e.Why.Causes) > 0 && len(e.Why.Causes[0].Changes) > 0 {
		c := e.Why.Causes[0].Changes[0]
		what = strings.TrimSuffix("the "+c.Field+" "+c.Key, " ") + " of " + e.Why.Causes[0].Name
	}
	return fmt.Sprintf("hold %q to the lock file: %s differs", e.Spec, what)
}

// UnlockedError reports a target that a lock file knows nothing of.
type UnlockedError struct{ Name string }

// Error implements error.
func (e *UnlockedError) Error() string {
	return fmt.Sprintf("hold %q to the lock file: it is not locked", e.Name)
}

// Hold makes sure that all targets of a plan are locked as they are. One that differs gives *MismatchError, one that is not
// there *UnlockedError.
func (f *File) Hold(p *plan.Plan, names Names) error {
	for _, t := range p.Targets {
		if f.Derivations[t.ID] != nil {
			continue
		}
		locked, found := f.expected(names(t), t.Derivation.Name)
		if !found {
			return &UnlockedError{t.Name()}
		}
		why, err := compare.Compare(both{f, p}, locked, t.ID)
		if err != nil {
			return err
		}
		return &MismatchError{Spec: cmp.Or(names(t), t.Name()), Locked: locked, Found: t.ID, Why: why}
	}
	return nil
}

// expected is the derivation that a spec was locked as: of the same path, or the only one of the name.
func (f *File) expected(spec, name string) (found artifact.DerivationID, ok bool) {
	for _, r := range f.Roots {
		if spec != "" && r.Spec == spec {
			return r.Derivation, true
		}
	}
	for id, d := range f.Derivations {
		switch {
		case d.Name != name:
		case ok:
			return id, false
		default:
			found, ok = id, true
		}
	}
	return found, ok
}

// both looks derivations up in a file, then in a plan.
type both struct {
	file *File
	plan *plan.Plan
}

// Derivation implements compare.Lookup.
func (b both) Derivation(id artifact.DerivationID) (*artifact.Derivation, error) {
	if d := b.file.Derivations[id]; d != nil {
		return d, nil
	}
	for _, step := range b.plan.Steps {
		if step.ID == id {
			return &step.Derivation, nil
		}
	}
	return nil, fmt.Errorf("find derivation %s: neither locked nor planned", id)
}

// Matchers returns, for each derivation with locked realizations, the matcher that selects these.
func (f *File) Matchers() map[artifact.DerivationID]match.Matcher {
	matchers := make(map[artifact.DerivationID]match.Matcher, len(f.Realizations))
	for id, list := range f.Realizations {
		matchers[id] = matcher{f.Derivations[id].Name, list}
	}
	return matchers
}
