package usage

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"hdjail/artifact"
	"hdjail/build/learn"
	"hdjail/hostpkgs"
)

// Reader is an artifact that used what was asked for. Files counts the paths, and First is the first of them by name; both are
// empty where a package was asked for.
type Reader struct {
	Artifact
	Files int    `json:"files,omitempty"`
	First string `json:"first,omitempty"`
}

// Readers returns the artifacts built at or after since that used one of the paths, or a file below it, by name and time.
// Paths are absolute and clean.
func (x *Index) Readers(paths []string, since time.Time) []Reader {
	var list []Reader
	for _, s := range x.segments {
		t, marked := &s.tables[pathTable], map[int]bool{} // keys that two of the paths have in common count once
		for _, p := range paths {
			p = strings.TrimSuffix(p, "/")
			if i := t.search(p); i < t.n && t.key(i) == p {
				marked[i] = true
			}
			for i := t.search(p + "/"); i < t.n && strings.HasPrefix(t.key(i), p+"/"); i++ {
				marked[i] = true
			}
		}
		list = append(list, x.readers(s, t, slices.Sorted(maps.Keys(marked)))...)
	}
	return after(list, since)
}

// PackageReaders returns the artifacts built at or after since that used a file of the package, named with or without its
// architecture.
func (x *Index) PackageReaders(name string, since time.Time) []Reader {
	var list []Reader
	for _, s := range x.segments {
		t, marked := &s.tables[packageTable], []int{}
		for i := t.search(name); i < t.n && strings.HasPrefix(t.key(i), name); i++ {
			if bare, _, _ := strings.Cut(t.key(i), ":"); bare == name || t.key(i) == name {
				marked = append(marked, i)
			}
		}
		list = append(list, x.readers(s, t, marked)...)
	}
	for i := range list {
		list[i].Files, list[i].First = 0, ""
	}
	return after(list, since)
}

// readers are the artifacts that have any of the keys, by their numbers in ascending order.
func (x *Index) readers(s *segment, t *table, keys []int) (list []Reader) {
	counts, first := make([]int, len(s.artifacts)), make([]int, len(s.artifacts))
	for _, i := range keys {
		s.each(t, i, func(number int) {
			if counts[number] == 0 {
				first[number] = i
			}
			counts[number]++
		})
	}
	for number, count := range counts {
		if a := s.artifacts[number]; count > 0 && x.home[a.Realization] == s {
			list = append(list, Reader{a, count, t.key(first[number])})
		}
	}
	return list
}

func after(all []Reader, since time.Time) []Reader {
	list := slices.DeleteFunc(append([]Reader{}, all...), func(r Reader) bool { return r.Built.Before(since) })
	slices.SortFunc(list, func(a, b Reader) int { return compare(a.Artifact, b.Artifact) })
	return list
}

func compare(a, b Artifact) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), a.Built.Compare(b.Built), slices.Compare(a.Realization[:], b.Realization[:]))
}

// Changed tells for each pin from which the host differs now how it does; see hostpkgs.Host.Changed.
type Changed func(ctx context.Context, pins []hostpkgs.Pin) (map[hostpkgs.Pin]hostpkgs.Change, error)

// Stale is an artifact with the packages that have changed since it was built.
type Stale struct {
	Artifact
	Changes []PackageChange `json:"changes"`
}

// PackageChange is a package that has changed. Read tells that the artifact's build used a file of it; it is false where
// nothing was recorded.
type PackageChange struct {
	Package      string `json:"package"`
	Architecture string `json:"architecture,omitempty"`
	Pinned       string `json:"pinned"`
	hostpkgs.Change
	Read bool `json:"read"`
}

// Stale returns the artifacts of which a pinned package has changed, by name and time.
func (x *Index) Stale(ctx context.Context, changed Changed) ([]Stale, error) {
	var pins []hostpkgs.Pin
	for _, s := range x.segments {
		for i := range s.tables[pinTable].n {
			if pin, ok := pinOf(s.tables[pinTable].key(i)); ok {
				pins = append(pins, pin)
			}
		}
	}
	slices.SortFunc(pins, func(a, b hostpkgs.Pin) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Architecture, b.Architecture), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Digest, b.Digest))
	})
	changes, err := changed(ctx, slices.Compact(pins))
	if err != nil {
		return nil, err
	}
	found := map[artifact.RealizationID]*Stale{}
	for _, s := range x.segments {
		for i := range s.tables[pinTable].n {
			pin, _ := pinOf(s.tables[pinTable].key(i))
			change, ok := changes[pin]
			if !ok {
				continue
			}
			readers := s.usersOf(pin)
			s.each(&s.tables[pinTable], i, func(number int) {
				a := s.artifacts[number]
				if x.home[a.Realization] != s {
					return
				}
				if found[a.Realization] == nil {
					found[a.Realization] = &Stale{Artifact: a}
				}
				found[a.Realization].Changes = append(found[a.Realization].Changes,
					PackageChange{pin.Name, pin.Architecture, pin.Version, change, readers[number]})
			})
		}
	}
	list := []Stale{}
	for _, s := range found {
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b Stale) int { return compare(a.Artifact, b.Artifact) })
	return list, nil
}

// usersOf are the numbers of the artifacts that used a file of a package.
func (s *segment) usersOf(p hostpkgs.Pin) map[int]bool {
	users := map[int]bool{}
	t := &s.tables[packageTable]
	for _, name := range []string{p.Name, p.Name + ":" + p.Architecture} {
		if i := t.search(name); i < t.n && t.key(i) == name {
			s.each(t, i, func(number int) { users[number] = true })
		}
	}
	return users
}

// Idle is an artifact with the entries of its whitelist that its build never used.
type Idle struct {
	Artifact
	Unused []learn.Unused `json:"unused"`
}

// Idle returns the artifacts with unused entries, by name and time.
func (x *Index) Idle() []Idle {
	found := map[artifact.RealizationID]*Idle{}
	for _, s := range x.segments {
		t := &s.tables[unusedTable]
		for i := range t.n {
			u := unusedOf(t.key(i))
			s.each(t, i, func(number int) {
				a := s.artifacts[number]
				if x.home[a.Realization] != s {
					return
				}
				if found[a.Realization] == nil {
					found[a.Realization] = &Idle{Artifact: a}
				}
				found[a.Realization].Unused = append(found[a.Realization].Unused, u)
			})
		}
	}
	list := []Idle{}
	for _, i := range found {
		list = append(list, *i)
	}
	slices.SortFunc(list, func(a, b Idle) int { return compare(a.Artifact, b.Artifact) })
	return list
}

// Coverage returns how many of the artifacts have an audit, and how many there are.
func (x *Index) Coverage() (recorded, all int) {
	for _, s := range x.segments {
		for _, a := range s.artifacts {
			if x.home[a.Realization] != s {
				continue
			}
			all++
			if a.Recorded {
				recorded++
			}
		}
	}
	return recorded, all
}
