package profile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"time"

	"hdjail/artifact"
	"hdjail/profile/links"
)

// Artifact is one output tree as a generation links it. Out is the absolute path realizations/<rid>/out, which never
// changes; Public is the path that programs know it by. Links is nil for everything (links.Everything), empty for nothing.
type Artifact struct {
	Name        string                 `json:"name"`
	Version     string                 `json:"version,omitempty"`
	Derivation  artifact.DerivationID  `json:"derivation"`
	Realization artifact.RealizationID `json:"realization"`
	Out         string                 `json:"out"`
	Public      string                 `json:"public,omitempty"`
	Links       []links.Rule           `json:"links,omitzero"`
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

// Changes is the way from one generation to another. Its lists are empty, never nil.
type Changes struct {
	From    int        `json:"from"`
	To      int        `json:"to"`
	Added   []Artifact `json:"added"`
	Removed []Artifact `json:"removed"`
	Changed []Change   `json:"changed"`
}

// NameError reports a name that is not of the form [A-Za-z0-9_+-][A-Za-z0-9_+.-]* or has more than 200 characters. Kind is
// "profile" or "artifact".
type NameError struct{ Kind, Name string }

// Error implements error, in one line.
func (e *NameError) Error() string {
	return fmt.Sprintf("read %s name %q: only letters, digits and _ + - . are allowed, and no dot first", e.Kind, e.Name)
}

const (
	format     = 1
	recordSize = 64 << 20
)

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_+-][A-Za-z0-9_+.-]*$`)

// maxName keeps a name's directory within NAME_MAX. A repetition in the pattern would be compiled at every start.
const maxName = 200

func checkName(kind, name string) error {
	if len(name) > maxName || !nameForm.MatchString(name) {
		return &NameError{kind, name}
	}
	return nil
}

// readGeneration reads what encode writes, and nothing that makes no sense.
func readGeneration(r io.Reader) (g Generation, err error) {
	data, err := io.ReadAll(io.LimitReader(r, recordSize))
	if err != nil {
		return Generation{}, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&g); err != nil {
		return Generation{}, err
	}
	switch _, err := dec.Token(); {
	case err != io.EOF:
		return Generation{}, fmt.Errorf("there is more after its end")
	case g.Format != format:
		return Generation{}, fmt.Errorf("format is %d, not %d", g.Format, format)
	case g.Number < 1 || g.Previous < 0 || g.Previous >= g.Number:
		return Generation{}, fmt.Errorf("number %d after %d makes no sense", g.Number, g.Previous)
	}
	return g, checkArtifacts(g.Artifacts)
}

// checkArtifacts refuses what cannot be recorded, and one name twice.
func checkArtifacts(artifacts []Artifact) error {
	seen := map[string]bool{}
	for _, a := range artifacts {
		if err := checkName("artifact", a.Name); err != nil {
			return err
		}
		err := links.Check(a.Links)
		switch {
		case seen[a.Name]:
			err = fmt.Errorf("two artifacts of this name are given")
		case a.Derivation.IsZero() || a.Realization.IsZero():
			err = fmt.Errorf("it has no identity")
		case !path.IsAbs(a.Out) || path.Clean(a.Out) != a.Out:
			err = fmt.Errorf("%q is not an absolute, clean path", a.Out)
		}
		if err != nil {
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

// Realizations lists what the links of g lead to, in the order of its artifacts.
func (g Generation) Realizations() []artifact.RealizationID {
	ids := make([]artifact.RealizationID, len(g.Artifacts))
	for i, a := range g.Artifacts {
		ids[i] = a.Realization
	}
	return ids
}

// Diff compares two generations by the names of their artifacts.
func Diff(from, to Generation) Changes {
	c := Changes{From: from.Number, To: to.Number, Added: []Artifact{}, Removed: []Artifact{}, Changed: []Change{}}
	for _, a := range from.Artifacts {
		if find(to.Artifacts, a.Name) < 0 {
			c.Removed = append(c.Removed, a)
		}
	}
	for _, a := range to.Artifacts {
		switch i := find(from.Artifacts, a.Name); {
		case i < 0:
			c.Added = append(c.Added, a)
		case !same(from.Artifacts[i], a):
			c.Changed = append(c.Changed, Change{a.Name, from.Artifacts[i], a})
		}
	}
	return c
}

func find(artifacts []Artifact, name string) int {
	return slices.IndexFunc(artifacts, func(a Artifact) bool { return a.Name == name })
}

// same compares what is recorded of two artifacts.
func same(a, b Artifact) bool {
	one, errOne := json.Marshal(a)
	two, errTwo := json.Marshal(b)
	return errOne == nil && errTwo == nil && bytes.Equal(one, two)
}
