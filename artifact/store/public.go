package store

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
)

// Public returns the realization that the public path of a derivation leads to, zero when it leads nowhere.
func (s *Store) Public(id artifact.DerivationID) (artifact.RealizationID, error) {
	none := artifact.RealizationID{}
	name, err := s.publicName(id)
	if err != nil {
		return none, err
	}
	target, err := os.Readlink(s.path("store", name))
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	text, isOut := strings.CutSuffix(strings.TrimPrefix(target, "../realizations/"), "/out")
	found, err := artifact.ParseRealizationID(text)
	if err != nil || !isOut || unix.Access(s.path("realizations", text), unix.F_OK) != nil {
		return none, nil
	}
	return found, nil
}

// MovePublic makes the public path of its derivation lead to a realization, by one rename. Who still uses the path for another
// one is the caller's to know.
func (s *Store) MovePublic(id artifact.RealizationID) error {
	if err := s.writable(); err != nil {
		return err
	}
	m, err := s.manifest(id)
	if err != nil {
		return err
	}
	name, err := s.publicName(m.Derivation)
	if err != nil {
		return err
	}
	if err := s.writeLink(s.path("store", name), "../realizations/"+id.String()+"/out"); err != nil {
		return err
	}
	return s.denied(s.path("store"), syncDir(s.path("store")))
}
