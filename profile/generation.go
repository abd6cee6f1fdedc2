package profile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"
	"time"

	"hdjail/artifact"
	"hdjail/profile/links"
)

// Artifact is one output tree as a generation links it. Out is the absolute path realizations/<rid>/out, which never
// changes; Public is the path that programs know it by. Links is nil for everything, see links.Everything.
type Artifact struct {
	Name        string                 `json:"name"`
	Version     string                 `json:"version,omitempty"`
	Derivation  artifact.DerivationID  `json:"derivation"`
	Realization artifact.RealizationID `json:"realization"`
	Out         string                 `json:"out"`
	Public      string                 `json:"public,omitempty"`
	Links       []links.Rule           `json:"links,omitempty"`
}

// Generation is one state of a profile. Artifacts are in the order in which they were linked, each name once.
type Generation struct {
	Format int `json:"format"`
	// Number counts from 1.
	Number int       `json:"number"`
	Time   time.Time `json:"time"`
	// Previous is the generation that was current when this one was made, 0 for none.
	Previous  int        `json:"previous,omitempty"`
	Artifacts []Artifact `json:"artifacts"`
}

// Change is an artifact that two generations have in different realizations or with different rules.
type Change struct {
	Name string   `json:"name"`
	From Artifact `json:"from"`
	To   Artifact `json:"to"`
}

// Changes is the way from one generation to another. Lists are in the order of the generations.
type Changes struct {
	From    int        `json:"from"`
	To      int        `json:"to"`
	Added   []Artifact `json:"added"`
	Removed []Artifact `json:"removed"`
	Changed []Change   `json:"changed"`
}

// NameError reports a name of a profile or artifact that is not of the form [A-Za-z0-9_+-][A-Za-z0-9_+.-]*.
type NameError struct{ Kind, Name string }

func (e *NameError) Error() string {
	return fmt.Sprintf("read %s name %q: letters, digits and _ + - . are allowed, no dot first", e.Kind, e.Name)
}

// RecordError reports a generation.json that cannot be believed.
type RecordError struct{ Reason string }

func (e *RecordError) Error() string { return "read generation.json: " + e.Reason }

const (
	format     = 1
	recordSize = 64 << 20
)

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_+-][A-Za-z0-9_+.-]{0,199}$`)

func checkName(kind, name string) error {
	if !nameForm.MatchString(name) {
		return &NameError{kind, name}
	}
	return nil
}

// readGeneration reads a generation.json; anything but what encode writes gives *RecordError.
func readGeneration(r io.Reader) (Generation, error) {
	data, err := io.ReadAll(io.LimitReader(r, recordSize+1))
	if err != nil {
		return Generation{}, err
	}
	var g Generation
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if len(data) > recordSize {
		return Generation{}, &RecordError{"it is too large"}
	}
	if err := dec.Decode(&g); err != nil {
		return Generation{}, &RecordError{err.Error()}
	}
	if _, err := dec.Token(); err != io.EOF {
		return Generation{}, &RecordError{"there is more after its end"}
	}
	if err := g.check(); err != nil {
		return Generation{}, &RecordError{err.Error()}
	}
	return g, nil
}

func (g Generation) check() error {
	switch {
	case g.Format != format:
		return fmt.Errorf("format is %d, not %d", g.Format, format)
	case g.Number < 1 || g.Previous < 0 || g.Previous >= g.Number:
		return fmt.Errorf("number %d after %d makes no sense", g.Number, g.Previous)
	}
	return checkArtifacts(g.Artifacts)
}

// checkArtifacts refuses what cannot be recorded, and one name twice.
func checkArtifacts(artifacts []Artifact) error {
	seen := map[string]bool{}
	for _, a := range artifacts {
		if err := checkName("artifact", a.Name); err != nil {
			return err
		}
		switch {
		case seen[a.Name]:
			return &DuplicateError{a.Name}
		case a.Derivation.IsZero() || a.Realization.IsZero():
			return fmt.Errorf("link %q: it has no identity", a.Name)
		case !path.IsAbs(a.Out) || path.Clean(a.Out) != a.Out:
			return fmt.Errorf("link %q: %q is not an absolute, clean path", a.Name, a.Out)
		}
		if err := links.Check(a.Links); err != nil {
			return fmt.Errorf("link %q: %w", a.Name, err)
		}
		seen[a.Name] = true
	}
	return nil
}

func (g Generation) encode() ([]byte, error) {
	data, err := json.MarshalIndent(g, "", "  ")
	return append(data, '\n'), err
}

// Realizations lists what the generation's links lead to, in the order of its artifacts.
func (g Generation) Realizations() []artifact.RealizationID {
	ids := make([]artifact.RealizationID, len(g.Artifacts))
	for i, a := range g.Artifacts {
		ids[i] = a.Realization
	}
	return ids
}

// Diff compares two generations by the names of their artifacts. Its lists are empty, never nil.
func Diff(from, to Generation) Changes {
	c := Changes{From: from.Number, To: to.Number, Added: []Artifact{}, Removed: []Artifact{}, Changed: []Change{}}
	old, left := byName(from.Artifacts), byName(to.Artifacts)
	for _, a := range from.Artifacts {
		if _, ok := left[a.Name]; !ok {
			c.Removed = append(c.Removed, a)
		}
	}
	for _, a := range to.Artifacts {
		switch before, ok := old[a.Name]; {
		case !ok:
			c.Added = append(c.Added, a)
		case !same(before, a):
			c.Changed = append(c.Changed, Change{a.Name, before, a})
		}
	}
	return c
}

func byName(artifacts []Artifact) map[string]Artifact {
	m := make(map[string]Artifact, len(artifacts))
	for _, a := range artifacts {
		m[a.Name] = a
	}
	return m
}
