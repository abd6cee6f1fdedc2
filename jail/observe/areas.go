package observe

import (
	"path"
	"slices"

	"hdjail/mounts"
	"hdjail/policies"
)

// areaKind says what a place in the jail is.
type areaKind int

const (
	areaSkeleton areaKind = iota // directories that only lead somewhere
	areaOwn                      // the jail's own: scratch, devices, processes, generated files
	areaListed                   // shown because the whitelist says so
	areaHost                     // shown because the mode shows the host
	areaCovered                  // in place of something that the policy hides
)

// area is what one mount of the jail, or an entry of its skeleton, shows.
type area struct {
	kind     areaKind
	target   string // of the mount
	writable bool
	proc     bool
	// host tells that the place is the host's own, shown where it is: what is missing there is missing on the host, too.
	host bool
}

// areas finds the area of a path. It is made once and then only read.
type areas struct {
	byTarget  map[string]area
	ancestors map[string]bool
}

// newAreas reads a mount table. paths are the host paths that were asked for, never those that the policy covers.
func newAreas(table mounts.Table, mode policies.Mode, paths []string) areas {
	a := areas{byTarget: map[string]area{}, ancestors: map[string]bool{"/": true}}
	for _, e := range table.Entries {
		kind := areaOwn
		switch {
		case e.Kind == mounts.Symlink && mounts.Below("/dev", e.Target):
		case e.Kind == mounts.Symlink && mode.Contains():
			kind = areaListed
		case e.Kind == mounts.Symlink:
			kind = areaHost
		case e.Kind == mounts.Skeleton && e.Covers:
			kind = areaCovered
		case e.Kind == mounts.Dir || e.Kind == mounts.Skeleton:
			kind = areaSkeleton
		case e.Kind == mounts.Bind && e.Covers:
			kind = areaCovered
		case e.Kind == mounts.Bind && e.Source == e.Target && !e.Device:
			kind = areaHost
			if mode.Contains() || slices.Contains(paths, e.Target) {
				kind = areaListed
			}
		case e.Kind == mounts.Bind && !e.Writable:
			kind = areaListed
		}
		a.byTarget[e.Target] = area{kind: kind, target: e.Target, writable: e.Writable, proc: e.Kind == mounts.Proc,
			host: e.Kind == mounts.Bind && e.Source == e.Target}
		if kind == areaOwn || kind == areaListed {
			for dir := path.Dir(e.Target); !a.ancestors[dir]; dir = path.Dir(dir) {
				a.ancestors[dir] = true
			}
		}
	}
	return a
}

// of returns the area of a path, absolute and clean.
func (a areas) of(p string) area {
	for {
		if found, ok := a.byTarget[p]; ok {
			return found
		}
		if p == "/" || p == "." || p == "" {
			return area{}
		}
		p = path.Dir(p)
	}
}

// leads reports whether p is a directory on the way to something whitelisted.
func (a areas) leads(p string) bool { return a.ancestors[p] }
