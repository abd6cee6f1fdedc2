// Package closure follows contexts: what a realization was built with, all the way down, and whether several realizations
// agree on that. It reads through a Source and changes nothing.
package closure

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hdjail/artifact"
)

// Source reads realizations and derivations; *store.Store is one.
type Source interface {
	// Manifest returns a realization with the run that made it.
	Manifest(id artifact.RealizationID) (artifact.Realization, error)
	Derivation(id artifact.DerivationID) (*artifact.Derivation, error)
}

// Use says which realizations of a derivation are used. Through is a realization that has them in its context, zero for a root.
type Use struct {
	IDs     []artifact.RealizationID
	Through artifact.RealizationID
}

// Closure has one Use for each derivation.
type Closure map[artifact.DerivationID]Use

// InconsistentError reports a derivation that is used in two ways by what should be used together.
type InconsistentError struct {
	Derivation artifact.DerivationID
	Name       string
	// One and Other are the two ways, with the names of what they go through; empty for a root.
	One, Other         Use
	OneName, OtherName string
}

// Error implements error: one line, which names the witness.
func (e *InconsistentError) Error() string {
	return fmt.Sprintf("%s is %s and %s", e.Name, way(e.One, e.OneName), way(e.Other, e.OtherName))
}

// way is a Use for people.
func way(u Use, name string) string {
	ids := make([]string, len(u.IDs))
	for i, id := range u.IDs {
		ids[i] = id.String()
	}
	text := strings.Join(ids, " with ")
	if name == "" {
		return text + " itself"
	}
	return text + " through " + name
}

// Of follows the roots. Two ways to use one derivation give *InconsistentError.
func Of(ctx context.Context, s Source, roots []artifact.RealizationID) (Closure, error) {
	c, seen := Closure{}, map[artifact.RealizationID]bool{}
	queue := slices.Clone(roots)
	for i := 0; i < len(queue); i++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if seen[queue[i]] {
			continue
		}
		seen[queue[i]] = true
		r, err := s.Manifest(queue[i])
		if err != nil {
			return nil, err
		}
		if i < len(roots) {
			if err := c.add(s, r.Derivation, Use{IDs: []artifact.RealizationID{r.ID}}); err != nil {
				return nil, err
			}
		}
		for _, d := range sortedKeys(r.Context) {
			if err := c.add(s, d, Use{r.Context[d], r.ID}); err != nil {
				return nil, err
			}
			queue = append(queue, r.Context[d]...)
		}
	}
	return c, nil
}

func sortedKeys(c artifact.Context) []artifact.DerivationID {
	list := make([]artifact.DerivationID, 0, len(c))
	for d := range c {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b artifact.DerivationID) int { return slices.Compare(a[:], b[:]) })
	return list
}

// add takes a use, unless there is another one.
func (c Closure) add(s Source, d artifact.DerivationID, u Use) error {
	before, known := c[d]
	if !known {
		c[d] = u
		return nil
	}
	if slices.Equal(before.IDs, u.IDs) {
		return nil
	}
	return Disagree(s, d, before, u)
}

// Disagree is the error of two uses of a derivation, with the names that a person knows.
func Disagree(s Source, d artifact.DerivationID, one, other Use) error {
	e := &InconsistentError{Derivation: d, One: one, Other: other}
	var err error
	if e.Name, err = name(s, d); err != nil {
		return err
	}
	for _, w := range []struct {
		use  Use
		name *string
	}{{one, &e.OneName}, {other, &e.OtherName}} {
		if w.use.Through.IsZero() {
			continue
		}
		r, err := s.Manifest(w.use.Through)
		if err != nil {
			return err
		}
		if *w.name, err = name(s, r.Derivation); err != nil {
			return err
		}
	}
	return e
}

func name(s Source, id artifact.DerivationID) (string, error) {
	d, err := s.Derivation(id)
	if err != nil {
		return "", err
	}
	return d.Label(), nil
}
