package lockfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"hdjail/artifact"
)

// Format is the version of lock files that this package writes. It reads no other.
const Format = 1

// MaxBytes bounds what is read as a lock file.
const MaxBytes = 256 << 20

// File is the content of a lock file.
type File struct {
	Meta Meta `json:"_meta"`
	// Roots are what was locked, in the order in which it was asked for.
	Roots []Root `json:"roots"`
	// Derivations are the roots and all that they depend on, whole.
	Derivations map[artifact.DerivationID]*artifact.Derivation `json:"derivations"`
	// HostPackages are the closures that specs asked for.
	HostPackages []Closure `json:"host_packages"`
	// Realizations are those that were chosen, sorted by ID; none for what was not built.
	Realizations map[artifact.DerivationID][]Realization `json:"realizations"`
}

// Meta says what a lock file is of.
type Meta struct {
	Format int `json:"format"`
	// System and Prefix are those of all derivations in the file.
	System string `json:"system"`
	Prefix string `json:"prefix"`
}

// Root is one target. Spec is the path of its spec relative to the directory of the lock file, empty for a derivation that was
// named by ID.
type Root struct {
	Spec       string                `json:"spec,omitempty"`
	Name       string                `json:"name"`
	Derivation artifact.DerivationID `json:"derivation"`
}

// Closure is what a list of host packages stood for. Requested is sorted.
type Closure struct {
	Requested []string               `json:"requested"`
	Packages  []artifact.HostPackage `json:"packages"`
}

// Realization is a chosen result.
type Realization struct {
	ID      artifact.RealizationID `json:"id"`
	Tree    artifact.TreeDigest    `json:"tree"`
	Context artifact.Context       `json:"context,omitempty"`
}

// VersionError reports a lock file of another format.
type VersionError struct{ Found int }

// Error implements error.
func (e *VersionError) Error() string {
	return fmt.Sprintf("read lock file: its format is %d, and this program knows format %d", e.Found, Format)
}

// MalformedError reports text that is no lock file, or one that contradicts itself.
type MalformedError struct{ Reason string }

// Error implements error.
func (e *MalformedError) Error() string { return "read lock file: " + e.Reason }

// Encode returns the text of a lock file. Equal files give equal bytes.
func (f *File) Encode() ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(f); err != nil {
		return nil, fmt.Errorf("write lock file: %w", err)
	}
	return b.Bytes(), nil
}

// Parse reads a lock file. One of another format gives *VersionError, anything else that Encode does not write
// *MalformedError: every identity is computed again, and what is named has to be there.
func Parse(data []byte) (*File, error) {
	if len(data) > MaxBytes {
		return nil, malformed("it has more than %d bytes", MaxBytes)
	}
	var head struct {
		Meta *struct {
			Format int `json:"format"`
		} `json:"_meta"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, unreadable(data, err)
	}
	switch {
	case head.Meta == nil:
		return nil, malformed("it has no _meta")
	case head.Meta.Format != Format:
		return nil, &VersionError{head.Meta.Format}
	}
	f := &File{}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(f); err != nil {
		return nil, unreadable(data, err)
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return f, nil
}

func malformed(format string, args ...any) error {
	return &MalformedError{fmt.Sprintf(format, args...)}
}

// endsEarly is what encoding/json says of a text that is cut off.
const endsEarly = "unexpected end of JSON input"

// unreadable says where a text stops being JSON of the form.
func unreadable(data []byte, err error) error {
	at := int64(-1)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return malformed("it ends early")
	case errors.As(err, &syntax):
		if at = syntax.Offset; syntax.Error() == endsEarly {
			return malformed("it ends early")
		}
	case errors.As(err, &kind):
		at = kind.Offset
	}
	if at < 0 || at > int64(len(data)) {
		return malformed("%v", err)
	}
	return malformed("line %d: %v", 1+bytes.Count(data[:at], []byte("\n")), err)
}

// check makes sure that a file says what it may say.
func (f *File) check() error {
	if len(f.Roots) == 0 {
		return malformed("it has no roots")
	}
	for _, r := range f.Roots {
		if f.Derivations[r.Derivation] == nil {
			return malformed("derivations lacks the root %s", r.Derivation)
		}
	}
	for _, id := range sortedIDs(f.Derivations) {
		if err := f.checkDerivation(id, f.Derivations[id]); err != nil {
			return err
		}
	}
	for i, c := range f.HostPackages {
		if len(c.Requested) == 0 || !slices.IsSorted(c.Requested) {
			return malformed("host_packages %d: what was requested is empty or not sorted", i)
		}
	}
	for _, id := range sortedIDs(f.Realizations) {
		if err := f.checkRealizations(id, f.Realizations[id]); err != nil {
			return err
		}
	}
	return nil
}

func sortedIDs[T any](m map[artifact.DerivationID]T) []artifact.DerivationID {
	return slices.SortedFunc(maps.Keys(m), func(a, b artifact.DerivationID) int { return bytes.Compare(a[:], b[:]) })
}

func (f *File) checkDerivation(id artifact.DerivationID, d *artifact.Derivation) error {
	if d == nil {
		return malformed("derivation %s is null", id)
	}
	if err := d.Check(); err != nil {
		return malformed("%v", err)
	}
	switch found := d.ID(); {
	case found != id:
		return malformed("derivation %s has the content of %s", id, found)
	case d.System != f.Meta.System || d.Prefix != f.Meta.Prefix:
		return malformed("derivation %s is of another system or prefix", id)
	}
	for _, dep := range d.Dependencies {
		if f.Derivations[dep.ID] == nil {
			return malformed("derivations lacks %s, a dependency of %s", dep.ID, d.Name)
		}
	}
	return nil
}

func (f *File) checkRealizations(id artifact.DerivationID, list []Realization) error {
	d := f.Derivations[id]
	if d == nil || len(list) == 0 {
		return malformed("the realizations of %s belong to no derivation, or there are none", id)
	}
	for i, r := range list {
		switch {
		case i > 0 && bytes.Compare(list[i-1].ID[:], r.ID[:]) >= 0:
			return malformed("the realizations of %s are not sorted", id)
		case r.Context.Check() != nil:
			return malformed("realization %s: %v", r.ID, r.Context.Check())
		case artifact.NewRealizationID(id, r.Context, r.Tree) != r.ID:
			return malformed("realization %s has other content", r.ID)
		case i > 0 && !r.Context.Equal(list[0].Context):
			return malformed("the realizations of %s have different contexts", id)
		}
	}
	return f.checkContext(d, list[0].Context)
}

// checkContext makes sure that a context is the file's choice for the dependencies.
func (f *File) checkContext(d *artifact.Derivation, context artifact.Context) error {
	for _, dep := range d.Dependencies {
		chosen := f.Realizations[dep.ID]
		if len(chosen) == 0 || !slices.EqualFunc(context[dep.ID], chosen, func(a artifact.RealizationID, b Realization) bool { return a == b.ID }) {
			return malformed("%s was built with realizations of %s that are not those of the file", d.Name, dep.ID)
		}
	}
	for id := range context {
		if !slices.ContainsFunc(d.Dependencies, func(dep artifact.Dependency) bool { return dep.ID == id }) {
			return malformed("%s was built with %s, which is no dependency of it", d.Name, id)
		}
	}
	return nil
}
