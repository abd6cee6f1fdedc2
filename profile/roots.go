package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"

	"hdjail/artifact/lease"
	"hdjail/artifact/store"
)

// Roots returns what all generations of all profiles link, for a collection: also those of a profile of which none is
// current. One that cannot be read is *store.RootError, joined, beside the others.
func (p *Profiles) Roots() ([]store.Root, error) {
	entries, err := os.ReadDir(p.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &store.RootError{Name: "profiles", Err: err}
	}
	var roots []store.Root
	var failed []error
	for _, e := range entries {
		if checkName("profile", e.Name()) != nil || lease.IsTempName(e.Name()) { // a lock that is being taken
			continue
		}
		d, err := p.open(e.Name())
		if missing := (*NotFoundError)(nil); errors.As(err, &missing) {
			continue // removed meanwhile
		}
		if err == nil {
			roots, err = d.roots(roots)
			d.close()
		}
		if err != nil {
			failed = append(failed, &store.RootError{Name: "profile " + e.Name(), Err: err})
		}
	}
	return roots, errors.Join(failed...)
}

// roots appends those of one profile. A generation that was deleted has left an empty directory.
func (d *dir) roots(roots []store.Root) ([]store.Root, error) {
	numbers, err := d.numbers()
	if errors.Is(err, fs.ErrNotExist) {
		return roots, nil // it was not used yet
	}
	if err != nil {
		return roots, err
	}
	var failed []error
	for _, n := range numbers {
		g, err := d.generation(n)
		if missing := (*NotFoundError)(nil); errors.As(err, &missing) {
			left, err := fs.ReadDir(d.root.FS(), path.Join(generations, strconv.Itoa(n)))
			if err == nil && len(left) == 0 || errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		for _, a := range g.Artifacts {
			roots = append(roots, store.Root{Kind: "profile", Name: fmt.Sprintf("%s/%d", d.name, n), Derivation: a.Derivation,
				Realization: a.Realization, Time: g.Time})
		}
	}
	return roots, errors.Join(failed...)
}
