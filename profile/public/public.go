// Package public settles where public paths lead. What is compiled into programs is the public path of each dependency, and on
// the host one such path leads to one realization; so it may only move while no current generation of a profile needs it where
// it is. The links themselves are the store's.
package public

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"hdjail/artifact"
	"hdjail/artifact/closure"
	"hdjail/profile"
)

// Store has the links; *store.Store is one.
type Store interface {
	closure.Source
	// Public returns the realization that the public path of a derivation leads to, zero for none.
	Public(id artifact.DerivationID) (artifact.RealizationID, error)
	// MovePublic makes the public path of its derivation lead to a realization.
	MovePublic(id artifact.RealizationID) error
}

// Paths are the public paths of a store with the profiles that need them.
type Paths struct {
	Store    Store
	Profiles *profile.Profiles
}

// LiveError reports a public path that the current generation of a profile needs where it is.
type LiveError struct {
	Profile    string
	Generation int
	// Witness says how the generation uses the derivation, and how it would be.
	Witness *closure.InconsistentError
}

// Error implements error: one line.
func (e *LiveError) Error() string {
	return fmt.Sprintf("profile %q, generation %d, was built with another realization: %v", e.Profile, e.Generation, e.Witness)
}

// Unwrap returns the witness.
func (e *LiveError) Unwrap() error { return e.Witness }

// Use moves the public path of a realization's derivation to it. A profile whose current generation has another one gives
// *LiveError, and nothing moves.
func (p Paths) Use(ctx context.Context, id artifact.RealizationID) error {
	release, err := p.Profiles.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	r, err := p.Store.Manifest(id)
	if err != nil {
		return err
	}
	return p.move(ctx, "", closure.Closure{r.Derivation: {IDs: []artifact.RealizationID{id}}})
}

// Settle makes every public path in the closure of what a profile is going to link lead to the realization in it. It fits
// profile.Profiles.Publish, which holds the profiles meanwhile. Realizations that do not agree give *closure.InconsistentError,
// a path that another profile needs *LiveError; nothing moves then.
func (p Paths) Settle(ctx context.Context, name string, linked []artifact.RealizationID) error {
	c, err := closure.Of(ctx, p.Store, linked)
	if err != nil {
		return err
	}
	return p.move(ctx, name, c)
}

// move lets the public paths lead to what c uses, after the current generations of all profiles but except have agreed.
func (p Paths) move(ctx context.Context, except string, c closure.Closure) error {
	moved := closure.Closure{}
	for d, use := range c {
		if len(use.IDs) != 1 {
			continue // never on a public path
		}
		now, err := p.Store.Public(d)
		if err != nil {
			return err
		}
		if now != use.IDs[0] {
			moved[d] = use
		}
	}
	if len(moved) == 0 {
		return nil
	}
	if err := p.ask(ctx, except, moved); err != nil {
		return err
	}
	for _, use := range moved {
		if err := p.Store.MovePublic(use.IDs[0]); err != nil {
			return err
		}
	}
	return nil
}

// ask looks for a current generation that one of the moves would change.
func (p Paths) ask(ctx context.Context, except string, moved closure.Closure) error {
	entries, err := os.ReadDir(p.Profiles.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == except {
			continue
		}
		g, err := p.Profiles.Generation(e.Name(), 0)
		if none := (*profile.NotFoundError)(nil); errors.As(err, &none) {
			continue
		}
		if err != nil {
			return err
		}
		live, err := closure.Of(ctx, p.Store, g.Realizations())
		if err != nil {
			return fmt.Errorf("look at profile %q: %w", e.Name(), err)
		}
		for d, use := range moved {
			have, used := live[d]
			if !used || slices.Equal(have.IDs, use.IDs) {
				continue
			}
			err := closure.Disagree(p.Store, d, have, use)
			if witness := (*closure.InconsistentError)(nil); errors.As(err, &witness) {
				return &LiveError{filepath.Base(e.Name()), g.Number, witness}
			}
			return err
		}
	}
	return nil
}
