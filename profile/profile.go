package profile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"hdjail/artifact"
	"hdjail/artifact/lease"
)

// Profiles is all profiles of one store. Its methods may be called from several goroutines and processes at once: those
// that change one profile wait for each other.
type Profiles struct {
	// Dir is <root>/profiles, absolute and clean. It is made when the first profile is.
	Dir string
	// Now is the clock that generations are dated by.
	Now func() time.Time
	// Lock says who we are and how long to wait for another's change; then it is *lease.LockedError.
	Lock lease.Options
	// Publish is called before a generation of the named profile becomes current, with all realizations that it links. When it
	// returns nil, every public path of their closure leads to the realization in it. No profile changes until the generation
	// is current; see Hold. An error leaves the profile as it was. Nil is allowed.
	Publish func(ctx context.Context, name string, linked []artifact.RealizationID) error
}

// Profile is all of one profile. Current is 0 while no generation is; Generations ascend.
type Profile struct {
	Name        string       `json:"name"`
	Path        string       `json:"path"`
	Current     int          `json:"current"`
	Generations []Generation `json:"generations"`
}

// Edit is how a new generation differs from the current one: first Set, then Remove, then Add.
type Edit struct {
	// Set drops everything that was linked before.
	Set bool
	// Remove names artifacts that go; each must be there.
	Remove []string
	// Add is linked; an artifact of the same name gives way to it, in its place.
	Add []Artifact
}

// NotFoundError reports what does not exist. What is "any generation", or begins with "generation " or "artifact "; it is
// empty when there is no such profile.
type NotFoundError struct{ Profile, What string }

// Error implements error, in one line.
func (e *NotFoundError) Error() string {
	if e.What == "" {
		return fmt.Sprintf("find profile %q: there is none", e.Profile)
	}
	return fmt.Sprintf("find %s in profile %q: there is none", e.What, e.Profile)
}

// Path is where the current generation of a profile is found.
func (p *Profiles) Path(name string) string { return filepath.Join(p.Dir, name, current) }

// Link makes a generation that differs from the current one by edit, and makes it current. When it would not differ, the
// current one stays and is returned. The profile is made when there is none. Paths that two artifacts want give
// *links.ConflictError; then, and after any other error, current is what it was, and a profile without any generation is gone.
func (p *Profiles) Link(ctx context.Context, name string, edit Edit) (Generation, error) {
	if err := checkArtifacts(edit.Add); err != nil {
		return Generation{}, err
	}
	d, err := p.change(ctx, name, len(edit.Remove) == 0)
	if err != nil {
		return Generation{}, err
	}
	g, err := p.link(ctx, d, edit)
	if err != nil {
		d.discard()
		return Generation{}, err
	}
	d.close()
	return g, nil
}

func (p *Profiles) link(ctx context.Context, d *dir, edit Edit) (Generation, error) {
	before, err := d.generation(0)
	if missing := (*NotFoundError)(nil); err != nil && !errors.As(err, &missing) {
		return Generation{}, err
	}
	artifacts, err := edit.apply(d.name, before.Artifacts)
	if err != nil {
		return Generation{}, err
	}
	if before.Number > 0 && slices.EqualFunc(before.Artifacts, artifacts, same) {
		release, err := p.publish(ctx, d.name, before)
		release()
		return before, err
	}
	numbers, err := d.numbers()
	if err != nil {
		return Generation{}, err
	}
	g := Generation{
		Format: format, Number: slices.Max(append(numbers, 0)) + 1, Time: p.Now().UTC().Truncate(time.Second),
		Previous: before.Number, Artifacts: artifacts,
	}
	release := func() {}
	if err = d.build(ctx, g); err == nil {
		release, err = p.publish(ctx, d.name, g)
	}
	defer func() { release() }()
	if err == nil {
		err = d.register(g.Number)
	}
	if err != nil {
		return Generation{}, errors.Join(err, d.sweep())
	}
	return g, d.point(g.Number)
}

// Switch makes generation n current, and 0 stands for the one that the current one was made from.
func (p *Profiles) Switch(ctx context.Context, name string, n int) (Generation, error) {
	d, err := p.change(ctx, name, false)
	if err != nil {
		return Generation{}, err
	}
	defer d.close()
	if n == 0 {
		now, err := d.generation(0)
		if err != nil {
			return Generation{}, err
		}
		if n = now.Previous; n == 0 {
			return Generation{}, &NotFoundError{name, fmt.Sprintf("generation before %d", now.Number)}
		}
	}
	g, err := d.generation(n)
	if err != nil {
		return Generation{}, err
	}
	release, err := p.publish(ctx, name, g)
	defer release()
	if err != nil {
		return Generation{}, err
	}
	return g, d.point(n)
}

// Rollback makes the generation current that the current one was made from.
func (p *Profiles) Rollback(ctx context.Context, name string) (Generation, error) {
	return p.Switch(ctx, name, 0)
}

// Generation returns generation n of a profile, and 0 stands for the current one.
func (p *Profiles) Generation(name string, n int) (Generation, error) {
	d, err := p.open(name)
	if err != nil {
		return Generation{}, err
	}
	defer d.close()
	return d.generation(n)
}

// Get returns all of one profile.
func (p *Profiles) Get(name string) (Profile, error) {
	d, err := p.open(name)
	if err != nil {
		return Profile{}, err
	}
	defer d.close()
	profile := Profile{Name: name, Path: p.Path(name), Generations: []Generation{}}
	if profile.Current, err = d.current(); err != nil {
		return Profile{}, err
	}
	numbers, err := d.numbers()
	for _, n := range numbers {
		g, err := d.generation(n)
		if missing := (*NotFoundError)(nil); errors.As(err, &missing) {
			continue
		}
		if err != nil {
			return Profile{}, err
		}
		profile.Generations = append(profile.Generations, g)
	}
	return profile, err
}

// List returns all profiles that have a current generation, sorted by name. None is no error.
func (p *Profiles) List() ([]Profile, error) {
	profiles := []Profile{}
	entries, err := os.ReadDir(p.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if checkName("profile", e.Name()) != nil {
			continue
		}
		profile, err := p.Get(e.Name())
		if missing := (*NotFoundError)(nil); errors.As(err, &missing) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if profile.Current > 0 {
			profiles = append(profiles, profile)
		}
	}
	return profiles, nil
}

// publish calls Publish. The profiles are held until release, which is never nil, is called.
func (p *Profiles) publish(ctx context.Context, name string, g Generation) (release func(), err error) {
	if p.Publish == nil {
		return func() {}, nil
	}
	if release, err = p.Hold(ctx); err != nil {
		return func() {}, err
	}
	if err := p.Publish(ctx, name, g.Realizations()); err != nil {
		return release, fmt.Errorf("publish generation %d: %w", g.Number, err)
	}
	return release, nil
}

// Hold waits until no profile is about to change which generation is current, and keeps it so until release is called.
func (p *Profiles) Hold(ctx context.Context) (release func(), err error) {
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return nil, err
	}
	held, err := lease.Take(ctx, filepath.Join(p.Dir, holdLock), p.Lock)
	if err != nil {
		return nil, fmt.Errorf("hold the profiles: %w", err)
	}
	return func() { _ = held.Release() }, nil // a lock that stays is stale as soon as this process ends
}

// apply returns what the generation after one with the given artifacts holds.
func (e Edit) apply(profile string, before []Artifact) ([]Artifact, error) {
	after := []Artifact{}
	if !e.Set {
		after = append(after, before...)
	}
	for _, name := range e.Remove {
		at := find(after, name)
		if at < 0 {
			return nil, &NotFoundError{profile, "artifact " + name}
		}
		after = slices.Delete(after, at, at+1)
	}
	for _, add := range e.Add {
		if at := find(after, add.Name); at >= 0 {
			after[at] = add
		} else {
			after = append(after, add)
		}
	}
	return after, nil
}
