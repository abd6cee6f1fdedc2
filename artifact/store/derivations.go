package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
)

// PutDerivation stores d and returns its ID. A derivation that does not fit a store gives *artifact.MalformedError. It is
// on disk when a realization of it is registered.
func (s *Store) PutDerivation(d *artifact.Derivation) (artifact.DerivationID, error) {
	if err := s.writable(); err != nil {
		return artifact.DerivationID{}, err
	}
	if err := d.Check(); err != nil {
		return artifact.DerivationID{}, err
	}
	id := d.ID()
	if _, ok := s.names.Load(id); ok && unix.Access(s.derivationFile(id), unix.F_OK) == nil {
		return id, nil
	}
	data, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return id, fmt.Errorf("encode derivation %q: %w", d.Name, err)
	}
	data = append(data, '\n')
	file := s.derivationFile(id)
	if there, err := readFile(file); err != nil || !bytes.Equal(there, data) {
		// A file that says the same in another way stays; one that a crash of the machine cut off is replaced.
		if err != nil || decodeDerivationFile(id, there, new(artifact.Derivation)) != nil {
			if err := s.writeFile(file, data); err != nil {
				return id, err
			}
		}
	}
	s.names.Store(id, id.StoreName(d.Name, d.Version))
	return id, nil
}

// Derivation reads a derivation. One that the store lacks gives *NotFoundError, one whose content does not have its ID
// *artifact.MalformedError.
func (s *Store) Derivation(id artifact.DerivationID) (*artifact.Derivation, error) {
	data, err := readFile(s.derivationFile(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{"derivation", id.String()}
	}
	if err != nil {
		return nil, err
	}
	d := new(artifact.Derivation)
	if err := decodeDerivationFile(id, data, d); err != nil {
		return nil, err
	}
	s.names.Store(id, id.StoreName(d.Name, d.Version))
	return d, nil
}

// LacksDerivation reports whether the store has build records of a derivation, but not the derivation itself.
func (s *Store) LacksDerivation(id artifact.DerivationID) bool {
	return unix.Access(s.derivationFile(id), unix.F_OK) != nil && unix.Access(s.path("builds", id.String()), unix.F_OK) == nil
}

func decodeDerivationFile(id artifact.DerivationID, data []byte, d *artifact.Derivation) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(d); err != nil {
		return &artifact.MalformedError{What: "derivation", Name: id.String(), Reason: err.Error()}
	}
	if found := d.ID(); found != id {
		return &artifact.MalformedError{What: "derivation", Name: id.String(), Reason: "its content has the ID " + found.String()}
	}
	return d.Check()
}

// publicName is the name of a stored derivation below store/.
func (s *Store) publicName(id artifact.DerivationID) (string, error) {
	if name, ok := s.names.Load(id); ok {
		return name.(string), nil
	}
	d, err := s.Derivation(id)
	if err != nil {
		return "", err
	}
	return id.StoreName(d.Name, d.Version), nil
}

func (s *Store) derivationFile(id artifact.DerivationID) string {
	return s.path("derivations", id.String()+".json")
}

// Ref is what a text names: a derivation, or a realization of it when that is not zero.
type Ref struct {
	Derivation  artifact.DerivationID
	Realization artifact.RealizationID
}

// ResolveID finds what the text names: a public path or its last part, an ID, or the beginning of exactly one. Several
// give *AmbiguousError, none *NotFoundError.
func (s *Store) ResolveID(text string) (Ref, error) {
	short := filepath.Base(text)
	if len(short) > artifact.IDLength && short[artifact.IDLength] == '-' {
		short = short[:artifact.IDLength]
	}
	if short == "" || strings.Trim(short, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return Ref{}, &NotFoundError{"derivation or realization", text}
	}
	derivations, err := s.begin("derivations", short, ".json")
	if err != nil {
		return Ref{}, err
	}
	realizations, err := s.begin("realizations", short, "")
	if err != nil {
		return Ref{}, err
	}
	switch matches := slices.Concat(derivations, realizations); {
	case len(matches) == 0:
		return Ref{}, &NotFoundError{"derivation or realization", text}
	case len(matches) > 1:
		slices.Sort(matches)
		return Ref{}, &AmbiguousError{text, matches}
	case len(derivations) == 1:
		id, err := artifact.ParseDerivationID(derivations[0])
		return Ref{Derivation: id}, err
	}
	id, err := artifact.ParseRealizationID(realizations[0])
	if err != nil {
		return Ref{}, err
	}
	m, err := s.manifest(id)
	return Ref{m.Derivation, id}, err
}

// begin lists the IDs in a directory of the store that begin with the text.
func (s *Store) begin(dir, text, suffix string) ([]string, error) {
	if len(text) == artifact.IDLength {
		if _, err := os.Lstat(s.path(dir, text+suffix)); err != nil {
			return nil, nil
		}
		return []string{text}, nil
	}
	names, err := namesIn(s.path(dir))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, name := range names {
		id, ok := strings.CutSuffix(name, suffix)
		if ok && len(id) == artifact.IDLength && strings.HasPrefix(id, text) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
