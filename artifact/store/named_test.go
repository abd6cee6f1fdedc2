package store

import (
	"slices"
	"testing"

	"hdjail/artifact"
)

// TestNamed: a name is neither the beginning of another one nor of a version, and what was only planned is left out.
func TestNamed(t *testing.T) {
	s := open(t, Options{})
	want := map[string][]artifact.DerivationID{"lib": nil, "lib-1": nil, "1": nil, "li": nil}
	for i, name := range []string{"lib", "lib", "lib-1"} {
		d := sample(name)
		d.Script = string(rune('a' + i))
		r, err := run(s, d, map[string]string{"x": name})
		must(t, err)
		want[name] = append(want[name], r.Derivation)
	}
	_, err := s.PutDerivation(&artifact.Derivation{Layout: 1, Name: "lib", Prefix: "/hdjail"})
	must(t, err)
	compare := func(a, b artifact.DerivationID) int { return slices.Compare(a[:], b[:]) }
	for name, ids := range want {
		found, err := s.Named(name)
		must(t, err)
		slices.SortFunc(found, compare)
		slices.SortFunc(ids, compare)
		if !slices.Equal(found, ids) {
			t.Errorf("%q: %v; want %v", name, found, ids)
		}
	}
}
