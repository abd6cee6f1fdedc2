package leaks

import (
	"path"
	"slices"
	"strings"
)

// linker resolves the needs of the ELF files of one tree.
type linker struct {
	*judge
	artifact  string
	cache     linkerCache // of the view
	hostCache linkerCache
	machines  map[string]machine // of files of the view, the zero one for what cannot be loaded
	programs  []*object
	// loaded are, by program, the names that it loads itself, with where they are.
	loaded map[*object]map[string]Need
	// paths are what was made of the RPATH and RUNPATH of the programs and of the object at hand.
	paths map[*object]searchPath
	// left is how many places may still be looked at, so that no tree makes this take long.
	left int
}

// searchPath is the RPATH and RUNPATH of an object.
type searchPath struct{ rpath, runpath []runpathEntry }

const (
	// maxPrograms bounds how many programs are asked for a library that another file of the tree does not find.
	maxPrograms = 16
	// maxRunpath bounds the entries of one RPATH.
	maxRunpath = 512
	// maxTries bounds how many places are looked at for all needs together.
	maxTries = 1 << 20
)

func newLinker(j *judge, o Options, objects []*object) (*linker, error) {
	l := &linker{judge: j, artifact: o.Artifact, machines: map[string]machine{}, loaded: map[*object]map[string]Need{},
		paths: map[*object]searchPath{}, left: maxTries}
	if len(objects) == 0 {
		return l, nil
	}
	for _, object := range objects {
		if object.interpreter != "" && len(l.programs) < maxPrograms {
			l.programs = append(l.programs, object)
		}
	}
	cache, err := j.view.content("/etc/ld.so.cache", maxCacheBytes)
	if err != nil {
		return nil, err
	}
	l.cache = decodeCache(cache)
	if o.HostCache != nil {
		l.hostCache = decodeCache(o.HostCache())
	}
	return l, nil
}

// search is a directory, or a file, in the order in which the linker tries them.
type search struct {
	path string
	via  string
}

// object resolves everything that an object loads and judges its RPATH and RUNPATH. Without an ok it has given up, as
// the objects have too many needs together.
func (l *linker) object(o *object) (needs []Need, runpaths []Runpath, ok bool) {
	needs, runpaths = l.needs(o), l.runpaths(o)
	if !slices.Contains(l.programs, o) {
		delete(l.paths, o)
	}
	return needs, runpaths, l.left > 0
}

func (l *linker) needs(o *object) []Need {
	var list []Need
	if o.interpreter != "" {
		n := Need{File: o.file, Kind: "interpreter", Name: o.interpreter, Origin: Origin{Belongs: Missing}}
		if path.IsAbs(o.interpreter) {
			l.first(o, &n, []search{{o.interpreter, "path"}})
		}
		list = append(list, n)
	}
	for _, name := range o.needed {
		if l.left <= 0 {
			break
		}
		n := l.need(o, name)
		if n.Belongs == Missing || n.Belongs == Leak {
			l.asLoaded(o, &n)
		}
		list = append(list, n)
	}
	return list
}

// need resolves a library by what the object itself says.
func (l *linker) need(o *object, name string) Need {
	n := Need{File: o.file, Kind: "needed", Name: name, Origin: Origin{Belongs: Missing}}
	p := o.machine.platform()
	if strings.Contains(name, "/") {
		var list []search
		for _, expanded := range p.expand(name, l.origin(o)) {
			if path.IsAbs(expanded) {
				list = append(list, search{expanded, "path"})
			}
		}
		l.first(o, &n, list)
		return n
	}
	var list []search
	if !o.hasRunpath {
		list = entries(list, l.pathsOf(o).rpath, "rpath", name)
	}
	list = entries(list, l.pathsOf(o).runpath, "runpath", name)
	mine := len(list)
	list = l.system(list, o, l.cache, name)
	if l.visible(o, &n, list) {
		return n
	}
	l.hidden(&n, l.system(list[:mine:mine], o, l.hostCache, name))
	return n
}

// entries adds the directories of a RPATH or RUNPATH.
func entries(list []search, runpath []runpathEntry, via, name string) []search {
	for _, e := range runpath {
		for _, dir := range e.paths {
			if path.IsAbs(dir) {
				list = append(list, search{dir + "/" + name, via})
			}
		}
	}
	return list
}

// system adds what a cache says and the default directories.
func (l *linker) system(list []search, o *object, cache linkerCache, name string) []search {
	defaults := o.machine.platform().defaults()
	for _, file := range cache[name] {
		if !o.noDefaultLib || !slices.Contains(defaults, path.Dir(file)) {
			list = append(list, search{file, "cache"})
		}
	}
	if o.noDefaultLib {
		return list
	}
	for _, dir := range defaults {
		list = append(list, search{dir + "/" + name, "default"})
	}
	return list
}

// first completes n by the first of the list, in the view or else on the host.
func (l *linker) first(o *object, n *Need, list []search) {
	if !l.visible(o, n, list) {
		l.hidden(n, list)
	}
}

// visible completes n by the first of the list that the view has for the object's machine.
func (l *linker) visible(o *object, n *Need, list []search) bool {
	l.left -= len(list)
	for _, s := range list {
		f := l.view.resolve(s.path)
		if f.ok && l.machineOf(f) == o.machine {
			n.Path, n.Via, n.Origin = path.Clean(s.path), s.via, l.origins(f)
			return true
		}
	}
	return false
}

// hidden completes n by the first of the list that the host has.
func (l *linker) hidden(n *Need, list []search) {
	l.left -= len(list)
	for _, s := range list {
		if p := path.Clean(s.path); l.onHost(p) {
			n.Path, n.Via, n.Origin = p, s.via, l.leak(p)
			return
		}
	}
}

func (l *linker) machineOf(f found) machine {
	m, ok := l.machines[f.path]
	if !ok {
		m, _ = l.view.machine(f) // what cannot be read cannot be loaded
		if len(l.machines) < maxMemory {
			l.machines[f.path] = m
		}
	}
	return m
}

// asLoaded completes the need of a library of the tree by a program of the tree that loads it: by the program's RPATH, which
// holds for what it loads, or because the program needs the same library, which is then loaded already.
func (l *linker) asLoaded(o *object, n *Need) {
	if o.interpreter != "" {
		return
	}
	for _, program := range l.programs {
		if program.machine != o.machine {
			continue
		}
		try := *n
		if !program.hasRunpath && !o.hasRunpath && l.visible(o, &try, entries(nil, l.pathsOf(program).rpath, "program", n.Name)) ||
			l.alreadyLoaded(program, &try) {
			try.Via, try.Program = "program", program.file
			*n = try
			return
		}
	}
}

func (l *linker) alreadyLoaded(program *object, n *Need) bool {
	names, ok := l.loaded[program]
	if !ok {
		names = map[string]Need{}
		for _, name := range program.needed {
			need := l.need(program, name)
			if need.Belongs == Missing || need.Belongs == Leak {
				continue
			}
			names[name] = need
			if strings.Contains(name, "/") { // the linker then knows it by its soname
				names[l.soname(need.Path)] = need
			}
		}
		l.loaded[program] = names
	}
	need, ok := names[n.Name]
	if ok {
		n.Path, n.Origin = need.Path, need.Origin
	}
	return ok
}

func (l *linker) soname(name string) string {
	file, err := l.view.read(l.view.resolve(name))
	if err != nil || file == nil {
		return ""
	}
	defer file.Close()
	o, _ := readObject(file) // one that cannot be read has no name
	return o.soname
}

// origin is the value of $ORIGIN.
func (l *linker) origin(o *object) string { return path.Dir(l.artifact + "/" + o.file) }

// runpathEntry is an entry of a RPATH or RUNPATH, with the values that it can have.
type runpathEntry struct {
	text  string
	paths []string
}

// pathsOf returns the entries of an object.
func (l *linker) pathsOf(o *object) searchPath {
	s, ok := l.paths[o]
	if !ok {
		s = searchPath{l.split(o, o.rpath), l.split(o, o.runpath)}
		l.paths[o] = s
	}
	return s
}

func (l *linker) split(o *object, text string) []runpathEntry {
	if text == "" {
		return nil // unlike an empty entry, it means nothing
	}
	var list []runpathEntry
	for entry := range strings.SplitSeq(text, ":") {
		if len(list) == maxRunpath {
			break
		}
		list = append(list, runpathEntry{entry, o.machine.platform().expand(entry, l.origin(o))})
	}
	return list
}

// runpaths judges the entries of RPATH and RUNPATH. A RPATH beside a RUNPATH is without effect and still judged.
func (l *linker) runpaths(o *object) []Runpath {
	var list []Runpath
	for _, tag := range []struct {
		name    string
		entries []runpathEntry
	}{{"RPATH", l.pathsOf(o).rpath}, {"RUNPATH", l.pathsOf(o).runpath}} {
		for _, e := range tag.entries {
			reason, at, origin := l.entry(e.paths)
			if reason != "" {
				list = append(list, Runpath{File: o.file, Tag: tag.name, Entry: e.text, Path: at, Reason: reason, Origin: origin})
			}
		}
	}
	return list
}

// entry judges one entry: the best of its values counts, as the others are of other distributions.
func (l *linker) entry(paths []string) (reason, at string, origin Origin) {
	for i, dir := range paths {
		r, o := l.directory(dir)
		if r == "" {
			return "", "", Origin{}
		}
		if i == 0 {
			reason, at, origin = r, dir, o
		}
	}
	return reason, at, origin
}

// worldWritable are directories that everybody can write to, also where the view has none.
var worldWritable = []string{"/tmp", "/var/tmp", "/dev/shm"}

func (l *linker) directory(dir string) (string, Origin) {
	if dir == "" {
		return "empty", Origin{Belongs: Missing}
	}
	if !path.IsAbs(dir) {
		return "relative", Origin{Belongs: Missing}
	}
	clean, f := path.Clean(dir), l.view.resolve(dir)
	if p := l.view.in(clean); p == nil || p.public == "/" { // a store may be below /tmp
		if _, ok := below(clean, l.buildDirs); ok {
			return "build", Origin{Belongs: BuildDir}
		}
		if _, ok := below(clean, worldWritable); ok {
			return "writable", l.outside(clean)
		}
		if !f.ok {
			return "outside", l.outside(clean)
		}
	} else if !f.ok {
		return "", p.origin // of the artifact or a dependency, which simply have no such directory
	}
	origin := l.origins(f)
	switch {
	case f.mode.IsDir() && f.mode.Perm()&0o002 != 0 && origin.Belongs != Output:
		return "writable", origin
	case origin.Belongs == Leak:
		return "outside", origin
	}
	return "", origin
}
