package gc

import (
	"maps"
	"slices"

	"hdjail/artifact/store"
)

// LeaseRoots returns what the leases of living processes keep, for people, also beside an error.
func LeaseRoots(s *store.Store) ([]store.Root, error) {
	uses, err := s.Leases()
	var roots []store.Root
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		u := uses[name]
		for _, id := range u.Derivations {
			roots = append(roots, store.Root{Kind: "lease", Name: u.Purpose, Derivation: id})
		}
		for _, id := range u.Realizations {
			roots = append(roots, store.Root{Kind: "lease", Name: u.Purpose, Realization: id})
		}
	}
	return roots, err
}
