package learn

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// hostPaths completes the paths that no package owns: what a link leads to is listed beside it, and a directory of which most
// was used is listed in place of what is in it.
func (l *learner) hostPaths(ctx context.Context) error {
	w := walker{look: l.Host.Look, seen: map[string]step{}}
	for _, p := range slices.Sorted(maps.Keys(l.paths)) {
		if l.Host.Look(p).Kind != Link {
			continue
		}
		end, _ := w.walk(p, true)
		switch kind := l.Host.Look(end).Kind; {
		case kind != File && kind != Directory || l.tooWide(end) || inside(end, jailAreas):
			delete(l.paths, p)
		case l.paths[end] == "":
			l.paths[end] = "which " + p + " leads to"
		}
	}
	var parents []string
	for p := range l.paths {
		for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
			parents = append(parents, dir)
		}
	}
	slices.SortFunc(parents, func(a, b string) int {
		return cmp.Or(strings.Count(b, "/")-strings.Count(a, "/"), strings.Compare(a, b))
	})
	parents = slices.Compact(parents)
	owners, err := l.Host.Owners(ctx, parents)
	if err != nil {
		return err
	}
	for _, dir := range parents { // the deepest first, so that a whole directory counts for its parent
		if len(owners[dir]) == 0 && !l.tooWide(dir) && !below(dir, l.tree) {
			l.promote(dir)
		}
	}
	for p := range l.paths { // what a link leads to may be listed as a whole
		if l.Host.Look(p).Kind == Directory {
			l.addDirectory(p, l.paths[p])
		}
	}
	return nil
}

// promote lists a directory instead of its entries if the run used most of them.
func (l *learner) promote(dir string) {
	names := l.Host.List(dir)
	used, first := 0, ""
	for _, name := range names {
		if reason := l.paths[path.Join(dir, name)]; reason != "" {
			used++
			first = cmp.Or(first, path.Join(dir, name)+" "+reason)
		}
	}
	if len(names) < 2 || used*2 <= len(names) {
		return
	}
	l.addDirectory(dir, fmt.Sprintf("%d of its %d entries; %s", used, len(names), first))
}

func (l *learner) addDirectory(dir, reason string) {
	maps.DeleteFunc(l.paths, func(p, _ string) bool { return below(dir, p) })
	l.paths[dir] = reason
}

// directories makes sure that every directory that the run saw is there. Most come with the packages; for others it takes
// the package that brings least, or the directory itself.
func (l *learner) directories() {
	added := false
	wide := func(p string) int { return boolCompare(l.tooWide(p), false) }
	for _, p := range slices.SortedFunc(maps.Keys(l.uses), func(a, b string) int {
		return cmp.Or(wide(a)-wide(b), cmp.Compare(a, b)) // what is too wide may exist by what is below it
	}) {
		u := l.uses[p]
		owners := l.ownersOf(u)
		switch {
		case u.kind != Directory || path.Base(p) == "__pycache__" || l.there(p, owners):
		case len(owners) > 0:
			cheapest := slices.MinFunc(owners, func(a, b string) int { return cmp.Or(l.weight(a)-l.weight(b), cmp.Compare(a, b)) })
			l.need(cheapest, u)
			l.needs[cheapest].why = fmt.Sprintf("for the directory %s, %s", p, u.by)
			l.closure = l.closureOf(slices.Collect(maps.Keys(l.needs)))
			added = true
		case u.asked && !inside(p, systemDirs): // an environment leads there, like $OLDPWD; a build has another
		case l.tooWide(p):
			l.within(u)
		default:
			l.addDirectory(p, "a directory, "+u.by)
		}
	}
	if added {
		l.minimise()
	}
}

// systemDirs are where programs look without being told to.
var systemDirs = []string{"/bin", "/etc", "/lib", "/lib32", "/lib64", "/opt", "/sbin", "/usr", "/var"}

// there reports whether a directory exists in a jail of what was found so far.
func (l *learner) there(dir string, owners []string) bool {
	if slices.ContainsFunc(owners, func(o string) bool { return l.closure[o] }) {
		return true
	}
	for p := range l.paths {
		if below(p, dir) || below(dir, p) {
			return true
		}
	}
	return false
}

// weight is the number of packages that one adds.
func (l *learner) weight(name string) (n int) {
	for member := range l.closureOf([]string{name}) {
		if !l.closure[member] {
			n++
		}
	}
	return n
}

// within makes a directory exist that is too wide to be shown, by an empty one below it.
func (l *learner) within(u *use) {
	for _, name := range l.Host.List(u.path) {
		p := path.Join(u.path, name)
		if l.Host.Look(p).Kind == Directory && len(l.Host.List(p)) == 0 && !l.tooWide(p) {
			l.paths[p] = fmt.Sprintf("so that %s exists, %s", u.path, u.by)
			return
		}
	}
	l.edit("the run saw the directory %s (%s), which a build cannot see as a whole: list what it needs of it under host.paths", u.path, u.by)
}
