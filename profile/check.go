package profile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// Damage is a profile, or a generation of one, that is not as it was made. Path is relative to the directory of the profiles.
type Damage struct{ Profile, Path, Reason string }

// Check looks at the current link of each profile, and compares the links of each generation with those that its record gives. A
// record that cannot be read is for Roots to tell, and a generation whose artifacts are gone is not looked at. The error is one
// of reading the directory of the profiles.
func (p *Profiles) Check(ctx context.Context) ([]Damage, error) {
	entries, err := os.ReadDir(p.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var found []Damage
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if checkName("profile", e.Name()) != nil {
			continue
		}
		if d, err := p.open(e.Name()); err == nil {
			found = append(found, d.check()...)
			d.close()
		}
	}
	return found, nil
}

func (d *dir) check() (found []Damage) {
	report := func(name string, err error) {
		if err != nil {
			found = append(found, Damage{d.name, path.Join(d.name, name), err.Error()})
		}
	}
	numbers, _ := d.numbers()
	made := 0
	for _, n := range numbers {
		g, err := d.generation(n)
		if err != nil {
			continue
		}
		made = n
		report(treeOf(n), d.checkLinks(g))
	}
	report(current, d.checkCurrent(made))
	return found
}

// checkCurrent makes sure that a generation is current if there are any. last is the number of the last one, 0 for none.
func (d *dir) checkCurrent(last int) error {
	n, err := d.current()
	switch {
	case err != nil && !d.isLink():
		return errors.New("it is no link")
	case err != nil:
		return err
	case n > 0:
		_, err := d.generation(n)
		if missing := (*NotFoundError)(nil); errors.As(err, &missing) {
			return fmt.Errorf("it leads to generation %d, which does not exist", n)
		}
		return nil
	case last == 0, last == 1 && d.changing():
		return nil // the first one is on its way
	}
	return errors.New("it is missing, so no generation is current")
}

func (d *dir) isLink() bool {
	info, err := d.root.Lstat(current)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

func (d *dir) changing() bool {
	_, err := d.root.Lstat(lock)
	return err == nil
}

// checkLinks compares the tree of a generation with what its record gives.
func (d *dir) checkLinks(g Generation) error {
	plan, done, err := d.plan(g)
	defer done()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // an artifact is gone
	}
	if err != nil {
		return err
	}
	base := filepath.Join(d.path, treeOf(g.Number))
	want, err := plan.Links(base)
	if err != nil {
		return err
	}
	top, err := d.root.OpenRoot(treeOf(g.Number))
	if err != nil {
		return err
	}
	defer top.Close()
	err = fs.WalkDir(top.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := top.Readlink(name)
		switch goal, known := want[name]; {
		case !known:
			return fmt.Errorf("it holds %q, which its record does not give", name)
		case err != nil || text != goal:
			return fmt.Errorf("%q does not lead to %q", name, goal)
		}
		delete(want, name)
		return nil
	})
	if err != nil {
		return err
	}
	if len(want) > 0 {
		return fmt.Errorf("it lacks %d links, one of them %q", len(want), slices.Min(slices.Collect(maps.Keys(want))))
	}
	return nil
}
