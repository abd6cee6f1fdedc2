package profile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"time"

	"hdjail/artifact"
)

// Profiles is all profiles of one store. Its methods may be called from several goroutines and processes at once: those
// that change one profile wait for each other.
type Profiles struct {
	// Dir is <root>/profiles, absolute and clean. It is made when the first profile is.
	Dir string
	// Now is the clock that generations are dated by.
	Now func() time.Time
	// Holder is what others read in a BusyError, like "hdjail 4711 on login1".
	Holder string
	// Wait is how long to wait for another's change before *BusyError.
	Wait time.Duration
	// Publish is called before a generation becomes current, with all realizations that it links. When it returns nil, every
	// public path of their closure leads to the realization in it. An error leaves the profile as it was. Nil is allowed.
	Publish func(ctx context.Context, linked []artifact.RealizationID) error
}

// Profile is what Get and List tell of one. Current is 0 while no generation is.
type Profile struct {
	Name        string       `json:"name"`
	Path        string       `json:"path"`
	Current     int          `json:"current"`
	Generations []Generation `json:"generations"`
}

// Edit is how a new generation differs from the current one.
type Edit struct {
	// Add is linked; an artifact of the same name gives way to it, in its place.
	Add []Artifact
	// Remove names artifacts that go; each must be there.
	Remove []string
	// Set drops everything that was linked before.
	Set bool
}

// BusyError reports that another process or goroutine was changing the profile all the time.
type BusyError struct{ Profile, Holder string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("change profile %q: it is being changed by %s", e.Profile, e.Holder)
}

// NotFoundError reports a profile, or a generation or artifact of it, that does not exist. What is "profile",
// "generation 3" or "artifact zlib".
type NotFoundError struct{ Profile, What string }

func (e *NotFoundError) Error() string {
	if e.What == "profile" {
		return fmt.Sprintf("find profile %q: there is none", e.Profile)
	}
	return fmt.Sprintf("find %s in profile %q: there is none", e.What, e.Profile)
}

// DuplicateError reports two artifacts of one name for one generation.
type DuplicateError struct{ Name string }

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("link %q: two artifacts of this name are given", e.Name)
}

// OwnerError reports a directory of a profile that belongs to another user.
type OwnerError struct {
	Path string
	UID  int
}

func (e *OwnerError) Error() string {
	return fmt.Sprintf("change %q: it belongs to user %d", e.Path, e.UID)
}

// Path is where the current generation of a profile is found.
func (p *Profiles) Path(name string) string { return filepath.Join(p.Dir, name, current) }

// Link makes a generation that differs from the current one by edit, and makes it current. When it would not differ, the
// current one stays and is returned. The profile is made when there is none. Paths that two artifacts want give
// *links.ConflictError; then, and after any error, the profile is what it was.
func (p *Profiles) Link(ctx context.Context, name string, edit Edit) (Generation, error) {
	if err := checkArtifacts(edit.Add); err != nil {
		return Generation{}, err
	}
	d, err := p.change(ctx, name, len(edit.Remove) == 0)
	if err != nil {
		return Generation{}, err
	}
	defer d.close()
	before, err := d.currentGeneration()
	if err != nil {
		return Generation{}, err
	}
	artifacts, err := edit.apply(name, before.Artifacts)
	if err != nil {
		return Generation{}, err
	}
	if before.Number > 0 && slices.EqualFunc(before.Artifacts, artifacts, same) {
		return before, p.publish(ctx, before)
	}
	number, err := d.next(before.Number)
	if err != nil {
		return Generation{}, err
	}
	g := Generation{Format: format, Number: number, Time: p.Now().UTC(), Previous: before.Number, Artifacts: artifacts}
	if err := d.build(ctx, g); err != nil {
		return Generation{}, err
	}
	if err := p.publish(ctx, g); err != nil {
		return Generation{}, errors.Join(err, d.sweep())
	}
	if err := d.register(g.Number); err != nil {
		return Generation{}, err
	}
	return g, d.point(g.Number)
}

// Remove is Link with an edit that only removes.
func (p *Profiles) Remove(ctx context.Context, name string, artifacts ...string) (Generation, error) {
	return p.Link(ctx, name, Edit{Remove: artifacts})
}

// Switch makes generation n current.
func (p *Profiles) Switch(ctx context.Context, name string, n int) (Generation, error) {
	return p.to(ctx, name, func(Generation) int { return n })
}

// Rollback makes the generation current that the current one was made from.
func (p *Profiles) Rollback(ctx context.Context, name string) (Generation, error) {
	return p.to(ctx, name, func(now Generation) int { return now.Previous })
}

func (p *Profiles) to(ctx context.Context, name string, choose func(now Generation) int) (Generation, error) {
	d, err := p.change(ctx, name, false)
	if err != nil {
		return Generation{}, err
	}
	defer d.close()
	now, err := d.currentGeneration()
	if err != nil {
		return Generation{}, err
	}
	g, err := d.generation(choose(now))
	if err != nil {
		return Generation{}, err
	}
	if err := p.publish(ctx, g); err != nil {
		return Generation{}, err
	}
	return g, d.point(g.Number)
}

// Current returns the current generation; *NotFoundError if there is none.
func (p *Profiles) Current(name string) (Generation, error) {
	return p.read(name, func(d *dir) (Generation, error) {
		g, err := d.currentGeneration()
		if err == nil && g.Number == 0 {
			err = &NotFoundError{name, "current generation"}
		}
		return g, err
	})
}

// Generation returns generation n of a profile; *NotFoundError if there is none.
func (p *Profiles) Generation(name string, n int) (Generation, error) {
	return p.read(name, func(d *dir) (Generation, error) { return d.generation(n) })
}

// Get tells all of one profile; *NotFoundError if there is none.
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
	if err != nil {
		return Profile{}, err
	}
	for _, n := range numbers {
		g, err := d.generation(n)
		if err != nil {
			return Profile{}, err
		}
		profile.Generations = append(profile.Generations, g)
	}
	return profile, nil
}

// List tells all of all profiles, sorted by name. None is no error.
func (p *Profiles) List() ([]Profile, error) {
	entries, err := os.ReadDir(p.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	profiles := []Profile{}
	for _, e := range entries {
		if !e.IsDir() || checkName("profile", e.Name()) != nil {
			continue
		}
		profile, err := p.Get(e.Name())
		if err != nil {
			return nil, err
		}
		profiles = append(profiles, profile)
	}
	return profiles, nil
}

func (p *Profiles) read(name string, get func(*dir) (Generation, error)) (Generation, error) {
	d, err := p.open(name)
	if err != nil {
		return Generation{}, err
	}
	defer d.close()
	return get(d)
}

func (p *Profiles) publish(ctx context.Context, g Generation) error {
	if p.Publish == nil {
		return nil
	}
	if err := p.Publish(ctx, g.Realizations()); err != nil {
		return fmt.Errorf("publish generation %s: %w", strconv.Itoa(g.Number), err)
	}
	return nil
}

// apply returns what a generation after one with the given artifacts holds.
func (e Edit) apply(profile string, before []Artifact) ([]Artifact, error) {
	after := []Artifact{}
	if !e.Set {
		after = append(after, before...)
	}
	for _, name := range e.Remove {
		at := slices.IndexFunc(after, func(a Artifact) bool { return a.Name == name })
		if at < 0 {
			return nil, &NotFoundError{profile, "artifact " + name}
		}
		after = slices.Delete(after, at, at+1)
	}
	for _, add := range e.Add {
		if at := slices.IndexFunc(after, func(a Artifact) bool { return a.Name == add.Name }); at >= 0 {
			after[at] = add
		} else {
			after = append(after, add)
		}
	}
	return after, nil
}

func same(a, b Artifact) bool { return reflect.DeepEqual(a, b) }
