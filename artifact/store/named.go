package store

import (
	"errors"
	"fmt"
	"strings"

	"hdjail/artifact"
	"hdjail/artifact/tree"
)

// Named lists the derivations of a name, in no order, that have a public path, as all have that were realized and not collected.
func (s *Store) Named(name string) ([]artifact.DerivationID, error) {
	entries, err := tree.List(s.path("store"))
	if err != nil {
		return nil, fmt.Errorf("list public paths: %w", err)
	}
	var ids []artifact.DerivationID
	for _, entry := range entries {
		if len(entry) <= artifact.IDLength || !strings.HasPrefix(entry[artifact.IDLength:]+"-", "-"+name+"-") {
			continue
		}
		id, err := artifact.ParseDerivationID(entry[:artifact.IDLength])
		if err != nil {
			continue
		}
		d, err := s.Derivation(id)
		if errors.As(err, new(*NotFoundError)) {
			continue // collected meanwhile
		}
		if err != nil {
			return nil, err
		}
		if d.Name == name { // "a-1" may be a name, or a name and a version
			ids = append(ids, id)
		}
	}
	return ids, nil
}
