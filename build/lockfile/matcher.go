package lockfile

import (
	"fmt"
	"slices"
	"strings"

	"hdjail/artifact"
	"hdjail/artifact/match"
)

// DifferError reports a derivation whose locked result the store lacks, and whose builds gave another.
type DifferError struct {
	Name   string
	Locked Realization
	// There are the results in the store, sorted.
	There []artifact.Realization
}

// Error implements error.
func (e *DifferError) Error() string {
	texts := make([]string, len(e.There))
	for i, r := range e.There {
		texts[i] = fmt.Sprintf("%s with the tree %s", r.ID, r.Tree)
	}
	return fmt.Sprintf("match lock file: realization %s of %s, with the tree %s, is not in the store, which has %s", e.Locked.ID, e.Name,
		e.Locked.Tree, strings.Join(texts, ", "))
}

// matcher selects locked realizations. If the store has nothing in that context it asks for a build, which gives the locked one
// where the build is deterministic; if it has others only, that is *DifferError. In another context than the locked one, which
// a stronger matcher has brought about, nothing is locked, and it acts like "only".
type matcher struct {
	name   string
	locked []Realization
}

// Matcher selects what is locked of the derivation called name, one realization at least.
func Matcher(name string, locked []Realization) match.Matcher { return matcher{name, locked} }

// Locked are the realizations that a Matcher of this package selects, nil for any other one.
func Locked(m match.Matcher) []Realization {
	locked, _ := m.(matcher)
	return locked.locked
}

// String implements match.Matcher.
func (m matcher) String() string {
	ids := make([]string, len(m.locked))
	for i, r := range m.locked {
		ids[i] = r.ID.String()
	}
	return "exact:" + strings.Join(ids, ",")
}

// Match implements match.Matcher.
func (m matcher) Match(candidates []artifact.Realization, facts match.Facts) (match.Answer, error) {
	if len(candidates) > 0 && !candidates[0].Context.Equal(m.locked[0].Context) {
		only, err := match.Parse("only")
		if err != nil {
			return match.Answer{}, err
		}
		return only.Match(candidates, facts)
	}
	var ids []artifact.RealizationID
	for _, want := range m.locked {
		switch {
		case slices.ContainsFunc(candidates, func(c artifact.Realization) bool { return c.ID == want.ID }):
			ids = append(ids, want.ID)
		case len(candidates) == 0:
			return match.Answer{Need: 1}, nil
		default:
			there := slices.SortedFunc(slices.Values(candidates), func(a, b artifact.Realization) int { return slices.Compare(a.ID[:], b.ID[:]) })
			return match.Answer{}, &DifferError{m.name, want, there}
		}
	}
	return match.Answer{Select: ids}, nil
}
