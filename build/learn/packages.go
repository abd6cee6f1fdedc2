package learn

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"

	"hdjail/hostpkgs"
	"hdjail/policies/audit"
)

// need is a package that has to be there, with the first use of it.
type need struct {
	files int
	first *use
	// why overrules what the uses say.
	why string
}

func (n *need) reason() string {
	first := n.first.by
	if n.first.process {
		first = "first " + first
	}
	switch {
	case n.why != "":
		return n.why
	case n.files > 2:
		return fmt.Sprintf("%s, and %d more files; %s", n.first.path, n.files-1, first)
	case n.files == 2:
		return fmt.Sprintf("%s, and another file; %s", n.first.path, first)
	}
	return n.first.path + ", " + n.first.by
}

// What every build gets by its environment, whatever the recorded run had.
const (
	buildLocale = "/usr/lib/locale/C.utf8/LC_CTYPE"
	localeAlias = "/usr/share/locale/locale.alias"
	buildZone   = "/usr/share/zoneinfo/UTC"
)

// base adds what the jail of a build asks for and the run may not have: the interpreter, and files that the build's own
// environment leads to.
func (l *learner) base() {
	add := func(p, by string) {
		w := walker{look: l.Host.Look, seen: map[string]step{}}
		end, links := w.walk(p, true)
		for _, name := range append(links, end) {
			if e := l.Host.Look(name); e.Kind != None && l.uses[name] == nil && path.Dir(name) != "/" {
				l.uses[name] = &use{path: name, kind: e.Kind, by: by, first: math.MaxInt64} // a use of the run's own tells more
			}
		}
	}
	if len(l.draft.Interpreter) == 0 {
		add("/bin/sh", "which runs the script")
	}
	for _, tool := range []string{"cp", "mkdir", "rm"} {
		if l.scriptUses(tool) {
			add("/usr/bin/"+tool, "which the script uses")
		}
	}
	add(buildLocale, "for LC_ALL=C.UTF-8, which a build has")
	add(localeAlias, "for LC_ALL=C.UTF-8, which a build has")
	for _, a := range l.Audit.Accesses {
		if a.Path == "/etc/localtime" || strings.HasPrefix(a.Path, "/usr/share/zoneinfo/") {
			add(buildZone, "for TZ=UTC, which a build has")
			return
		}
	}
}

// own finds the packages of all uses. What none owns goes into paths.
func (l *learner) own(ctx context.Context) error {
	var err error
	wanted := slices.Sorted(maps.Keys(l.uses))
	for _, p := range wanted {
		if source := compiledFrom(p); source != "" {
			wanted = append(wanted, source)
		}
	}
	if l.owners, err = l.Host.Owners(ctx, wanted); err != nil {
		return err
	}
	l.needs, l.paths = map[string]*need{}, map[string]string{}
	installed := map[string]hostpkgs.Package{}
	for _, p := range l.Installed {
		installed[p.Name+":"+p.Architecture] = p
	}
	for _, p := range wanted {
		u := l.uses[p]
		if u == nil || u.kind == Directory {
			continue
		}
		owners := l.ownersOf(u)
		if len(owners) == 0 {
			if !l.comesAlong(u) {
				l.paths[p] = u.by
			}
			continue
		}
		slices.SortFunc(owners, func(a, b string) int { // of one file in two architectures, the host's own
			return cmp.Or(boolCompare(installed[b].Native, installed[a].Native), cmp.Compare(a, b))
		})
		l.need(owners[0], u)
	}
	l.minimise()
	return nil
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func (l *learner) need(name string, u *use) {
	n := l.needs[name]
	if n == nil {
		n = &need{first: u}
		l.needs[name] = n
	}
	n.files++
	if u.first < n.first.first {
		n.first = u
	}
}

// ownersOf are the packages of a file: those that the host knows now, else those that the audit recorded.
func (l *learner) ownersOf(u *use) []string {
	if owners := l.owners[u.path]; len(owners) > 0 {
		return slices.Clone(owners)
	}
	if source := compiledFrom(u.path); source != "" && len(l.owners[source]) > 0 {
		return slices.Clone(l.owners[source])
	}
	var list []string
	for _, name := range hostpkgs.MadeFor(u.path) {
		for _, p := range l.Installed {
			if p.Name == name {
				list = append(list, p.Name+":"+p.Architecture)
			}
		}
	}
	if len(list) == 0 && len(u.recorded) > 0 {
		list = append(list, l.recorded(u.recorded[0]))
	}
	return list
}

// recorded is the name of a package that an audit mentions.
func (l *learner) recorded(o audit.Owner) string {
	name, arch, _ := strings.Cut(OwnerName(o), ":")
	for _, p := range l.Installed {
		if p.Name == name && (arch == p.Architecture || arch == "" && p.Native) {
			return p.Name + ":" + p.Architecture
		}
	}
	return name + ":" + arch
}

// compiledFrom is the Python source of a compiled file, which no package owns and no jail shows.
func compiledFrom(p string) string {
	dir, name := path.Split(p)
	if path.Base(path.Clean(dir)) != "__pycache__" {
		return ""
	}
	module, _, found := strings.Cut(name, ".")
	if !found || !strings.HasSuffix(name, ".pyc") {
		return ""
	}
	return path.Join(path.Dir(path.Clean(dir)), module+".py")
}

// comesAlong reports whether a composed tree has the unowned link because it has the target: alternatives, and the links
// that ldconfig makes.
func (l *learner) comesAlong(u *use) bool {
	if compiledFrom(u.path) != "" && !strings.HasPrefix(u.path, "/usr/local/") && strings.HasPrefix(u.path, "/usr/") {
		return true
	}
	if u.kind != Link {
		return false
	}
	target := l.Host.Look(u.path).Target
	if strings.HasPrefix(u.path, alternatives) || strings.HasPrefix(target, alternatives) {
		return true
	}
	return strings.Contains(path.Base(u.path), ".so") && !strings.Contains(target, "/") && len(l.owners[path.Join(path.Dir(u.path), target)]) > 0
}

const alternatives = "/etc/alternatives/"

// minimise drops what another needed package brings along, and sets the closure.
func (l *learner) minimise() {
	names := slices.SortedFunc(maps.Keys(l.needs), func(a, b string) int {
		return cmp.Or(cmp.Compare(l.needs[a].files, l.needs[b].files), cmp.Compare(a, b))
	})
	for _, name := range names {
		rest := slices.DeleteFunc(slices.Collect(maps.Keys(l.needs)), func(n string) bool { return n == name })
		if l.closureOf(rest)[name] {
			delete(l.needs, name)
		}
	}
	l.closure = l.closureOf(slices.Collect(maps.Keys(l.needs)))
}

// closureOf is the set of what packages bring along, themselves among it. One that is not installed brings itself.
func (l *learner) closureOf(names []string) map[string]bool {
	set := map[string]bool{}
	for _, name := range names {
		known, ok := l.closures[name]
		if !ok {
			known = []string{name}
			closure, _, _ := l.graph.Closure([]string{name})
			for _, p := range closure {
				known = append(known, p.Name+":"+p.Architecture)
			}
			l.closures[name] = known
		}
		for _, member := range known {
			set[member] = true
		}
	}
	return set
}

// spelled is a package as a spec names it: with its architecture only where the bare name means another.
func (l *learner) spelled(name string) string {
	i := strings.LastIndexByte(name, ':')
	closure, _, err := l.graph.Closure([]string{name[:i]})
	if err != nil || name[i+1:] == "" || slices.ContainsFunc(closure, func(p hostpkgs.Package) bool { return p.Name+":"+p.Architecture == name }) {
		return name[:i]
	}
	return name
}
